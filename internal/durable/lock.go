package durable

import (
	"errors"
	"os"
	"time"
)

// ErrLocked is what [Lock] gives when another process, or another part of this one, holds
// the lock until the patience is over.
var ErrLocked = errors.New("locked by another process")

// Lock takes the exclusive lock that the file at path stands for, making the file if need
// be, and waits for it as long as patience says; 0 does not wait. The lock ends with unlock
// and with the process, however it dies. The file stays.
func Lock(path string, patience time.Duration) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(patience)
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := tryLock(f)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, ErrLocked) || !time.Now().Before(end) {
			f.Close()
			return nil, err
		}
		time.Sleep(min(wait, time.Until(end)))
	}
}

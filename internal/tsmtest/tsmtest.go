//go:build unix

// Package tsmtest plays the kernel's side of configfs-tsm for tests: a directory in which a guest
// asks its processor for evidence (Documentation/ABI/testing/configfs-tsm-report). The processor
// is the test's. It is for no other use.
package tsmtest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Kernel shows one processor's evidence below Root, as the kernel does below "/". Close ends it.
type Kernel struct {
	Root string

	entry   string
	report  func(data [64]byte) []byte
	closing chan struct{}
	ended   sync.WaitGroup

	mu  sync.Mutex
	err error
}

// New makes a kernel's tree in an empty directory. provider is its driver ("sev_guest",
// "tdx_guest"), report makes the evidence for what the guest wrote, and aux is what the host
// gave beside it, nil where the driver shows no such file.
func New(dir, provider string, aux []byte, report func(data [64]byte) []byte) (*Kernel, error) {
	k := &Kernel{Root: dir, entry: filepath.Join(dir, "sys/kernel/config/tsm/report/strongroom"), report: report, closing: make(chan struct{})}
	if err := os.MkdirAll(k.entry, 0o700); err != nil {
		return nil, err
	}
	files := map[string][]byte{"provider": []byte(provider + "\n"), "inblob": nil, "generation": []byte("1\n")}
	if aux != nil {
		files["auxblob"] = aux
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(k.entry, name), data, 0o600); err != nil {
			return nil, err
		}
	}
	if err := syscall.Mkfifo(k.out(), 0o600); err != nil {
		return nil, err
	}
	k.ended.Add(1)
	go k.serve()
	return k, nil
}

func (k *Kernel) out() string { return filepath.Join(k.entry, "outblob") }

// serve answers each reading of outblob with evidence for what is in inblob then.
func (k *Kernel) serve() {
	defer k.ended.Done()
	for {
		f, err := os.OpenFile(k.out(), os.O_WRONLY, 0) // waits for a reader
		select {
		case <-k.closing:
			f.Close()
			return
		default:
		}
		if err == nil {
			err = k.answer(f)
		}
		if err != nil {
			k.mu.Lock()
			k.err = errors.Join(k.err, err)
			k.mu.Unlock()
			return
		}
	}
}

// answer puts a new file in the place of the one that is being read, so that the next reader
// gets an answer of its own, and answers.
func (k *Kernel) answer(f *os.File) error {
	defer f.Close()
	if err := os.Remove(k.out()); err != nil {
		return err
	}
	if err := syscall.Mkfifo(k.out(), 0o600); err != nil {
		return err
	}
	asked, err := os.ReadFile(filepath.Join(k.entry, "inblob"))
	if err != nil {
		return err
	}
	if len(asked) != 64 {
		return fs.ErrInvalid
	}
	_, err = f.Write(k.report([64]byte(asked)))
	return err
}

// Close ends the kernel, and says what went wrong in it.
func (k *Kernel) Close() error {
	close(k.closing)
	if f, err := os.OpenFile(k.out(), os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil { // frees who waits for a reader
		defer f.Close()
	}
	k.ended.Wait()
	return k.err
}

package machine

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Scratch makes a disk, by its serial number, one to write to that only this boot can read:
// everything on it is encrypted (AES-XTS, by dm-crypt) with a key that was never anywhere
// else and is gone with the machine. It is not authenticated: the host can change a sector,
// or give back an older one, so that nothing may rest on what is read unless its root is kept
// in memory.
func Scratch(serial string) (*os.File, error) {
	path, err := disk("/", serial)
	if err != nil {
		return nil, fmt.Errorf("scratch disk %s: %w", serial, err)
	}
	size, err := sectors(path)
	if err != nil {
		return nil, fmt.Errorf("scratch disk %s: %w", serial, err)
	}
	var key [64]byte // two keys of AES-256
	rand.Read(key[:])
	defer clear(key[:])
	mapped, err := mapped(serial, target{kind: "crypt", sectors: size, params: fmt.Sprintf("aes-xts-plain64 %s 0 %s 0", hex.EncodeToString(key[:]), path)})
	if err != nil {
		return nil, fmt.Errorf("scratch disk %s: %w", serial, err)
	}
	return os.OpenFile(mapped, os.O_RDWR, 0)
}

// sectors gives the size of a disk in sectors of 512 bytes.
func sectors(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Seek(0, unix.SEEK_END)
	return size / sector, err
}

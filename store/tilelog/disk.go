package tilelog

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"strongroom.dev/internal/durable"
)

// disk is the three calls on which durability rests, so that tests can make each of them
// fail, with and without its effect.
type disk struct {
	// writeFile replaces a file atomically and durably.
	writeFile func(path string, data []byte) error
	// append writes to the end of a file; durable only after sync.
	append func(f *os.File, data []byte) error
	// sync makes everything written to the file durable.
	sync func(f *os.File) error
}

func realDisk() disk {
	return disk{
		writeFile: func(path string, data []byte) error { return durable.WriteFile(path, data, 0o600) },
		append: func(f *os.File, data []byte) error {
			_, err := f.Write(data)
			return err
		},
		sync: (*os.File).Sync,
	}
}

// makeDir makes a directory and its parents, each name durable before anything is put in it.
func makeDir(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

package image

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"strongroom.dev/internal/durable"
	"strongroom.dev/verdict"
)

// Write puts an image into a directory that isn't there yet, or is empty. It appears under
// its name once every file is written.
func (i *Image) Write(dir string) error {
	if err := Free(dir); err != nil {
		return err
	}
	dir = filepath.Clean(dir)
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+"-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	for _, name := range slices.Sorted(maps.Keys(i.Files)) {
		if err := durable.WriteNew(filepath.Join(temp, name), i.Files[name], 0o644); err != nil {
			return err
		}
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(temp, dir); err != nil {
		return err
	}
	return durable.SyncDir(parent)
}

// Free reports whether an image can be written there: kind Usage if something is there.
func Free(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	got := "one with files in it"
	if err != nil {
		got = verdict.Short(err.Error())
	}
	return verdict.Misuse("-o", "a new or empty directory "+dir, got, "name another, or remove it first")
}

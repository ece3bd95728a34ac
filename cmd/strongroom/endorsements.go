package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
)

// endorsementFlags say where endorsements come from.
type endorsementFlags struct {
	paths []string
	keys  []string
}

func (f *endorsementFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.paths, "endorsements", nil, "file, directory or signed bundle of endorsements (repeatable)")
	cmd.Flags().StringArrayVar(&f.keys, "endorsements-key", nil, "key that may sign bundles: ed25519:..., or the file of one or of its signing key (repeatable)")
}

// endorsementSet reads everything the flags name. Directories may hold other things too, which
// are ignored; a file that was named must hold something.
func (a *app) endorsementSet(f endorsementFlags, now time.Time) (endorse.Set, error) {
	trusted, err := a.publicKeys("--endorsements-key", f.keys)
	if err != nil {
		return endorse.Set{}, err
	}
	var items []endorse.Item
	for _, path := range f.paths {
		var more []endorse.Item
		if isDirectory(path) {
			more, err = a.endorsementDir(path, trusted, now)
		} else {
			more, err = a.endorsementFile(path, trusted, now)
			if err == nil && len(more) == 0 {
				err = misfile(path, "endorsements: certificates, CRLs, TCB information, RIMs, or a bundle", "nothing that strongroom recognises", "name the right file")
			}
		}
		if err != nil {
			return endorse.Set{}, err
		}
		items = append(items, more...)
	}
	set, err := endorse.NewSet(items...)
	if err != nil {
		return endorse.Set{}, verdict.Misuse("--endorsements", "endorsements within their limits", verdict.Short(err.Error()), "name fewer, or correct the file")
	}
	return set, nil
}

func (a *app) endorsementDir(dir string, trusted []keys.PublicKey, now time.Time) ([]endorse.Item, error) {
	var items []endorse.Item
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fileError(path, "a directory of endorsements", err)
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > endorse.MaxFile {
			return nil
		}
		more, err := a.endorsementFile(path, trusted, now)
		if err != nil {
			return err
		}
		items = append(items, more...)
		return nil
	})
	return items, err
}

// endorsementFile reads one file. A bundle that is not signed by a trusted key is an error
// wherever it lies: somebody meant it to be used.
func (a *app) endorsementFile(path string, trusted []keys.PublicKey, now time.Time) ([]endorse.Item, error) {
	data, err := a.readLarge(path, "endorsements", endorse.MaxFile)
	if err != nil {
		return nil, err
	}
	if isBundle(data) {
		b, err := endorse.Open(data, trusted, now)
		return b.Items, inFile(path, err)
	}
	return endorse.Parse(filepath.Base(path), data), nil
}

func isBundle(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) && bytes.Contains(data, []byte(`"`+endorse.Type+`"`))
}

// readLarge reads a whole file of at most so many bytes.
func (a *app) readLarge(path, what string, most int64) ([]byte, error) {
	f, err := a.openFile(path, what)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fileError(path, what, err)
	}
	if int64(len(data)) > most {
		return nil, misfile(path, what, fmt.Sprintf("more than %d bytes", most), "name the right file")
	}
	return data, nil
}

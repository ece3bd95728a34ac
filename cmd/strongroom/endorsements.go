package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/lineage"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
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

// endorsementSet reads everything the flags name, bundles only if a trusted key signed them.
func (a *app) endorsementSet(f endorsementFlags, now time.Time) (endorse.Set, error) {
	set, _, err := a.trustedEndorsements(f, now)
	return set, err
}

func (a *app) trustedEndorsements(f endorsementFlags, now time.Time) (endorse.Set, []bundleView, error) {
	trusted, err := a.publicKeys("--endorsements-key", f.keys)
	if err != nil {
		return endorse.Set{}, nil, err
	}
	sources, err := a.endorsementSources(f.paths, func(data []byte) (endorse.Bundle, []keys.KeyID, error) { return trustedBundle(data, trusted, now) })
	if err != nil {
		return endorse.Set{}, nil, err
	}
	return oneSet(a.newestBundles(sources))
}

// endorsementSource is one file: plain, or a bundle.
type endorsementSource struct {
	items  []endorse.Item
	bundle *bundleView // nil for a plain file
}

// bundleView is a bundle for people and programs.
type bundleView struct {
	File    string    `json:"file"`
	Name    wire.ID   `json:"name,omitempty"`
	Created wire.Time `json:"created"`
	Expires wire.Time `json:"expires"`
	// SignedBy are the ids of the trusted keys that signed it; where nothing is verified, of
	// all keys whose signatures stand there.
	SignedBy []keys.KeyID `json:"signed_by"`
	// versions are those that it is of each signer's.
	versions []lineage.Version
}

// newestBundles leaves out bundles of which a newer one is there too: what its signer has taken out
// since must not come back.
func (a *app) newestBundles(sources []endorsementSource) (kept []endorsementSource) {
	newest := map[lineage.Line]*bundleView{}
	for _, s := range sources {
		if s.bundle == nil {
			continue
		}
		for _, v := range s.bundle.versions {
			if other := newest[v.Of]; other == nil || other.Created.Time().Before(s.bundle.Created.Time()) {
				newest[v.Of] = s.bundle
			}
		}
	}
	for _, s := range sources {
		if s.bundle != nil {
			if newer := s.bundle.behind(newest); newer != nil {
				a.say("%s of %s is left aside: %s of %s takes its place; who packs several side by side names each (endorsements pack --name)",
					verdict.Printable(s.bundle.File), s.bundle.Created, verdict.Printable(newer.File), newer.Created)
				continue
			}
		}
		kept = append(kept, s)
	}
	return kept
}

// behind gives a newer bundle of one of the same signers and name, nil if there is none.
func (b *bundleView) behind(newest map[lineage.Line]*bundleView) *bundleView {
	for _, v := range b.versions {
		if other := newest[v.Of]; b.Created.Time().Before(other.Created.Time()) {
			return other
		}
	}
	return nil
}

// opener reads a bundle, and says who signed it.
type opener func(data []byte) (endorse.Bundle, []keys.KeyID, error)

func trustedBundle(data []byte, trusted []keys.PublicKey, now time.Time) (endorse.Bundle, []keys.KeyID, error) {
	if len(trusted) == 0 {
		return endorse.Bundle{}, nil, verdict.Misuse("--endorsements-key", "the key of whoever signed this bundle", "none", "give --endorsements-key KEY: it must come from whoever packs endorsements for you, not with the bundle")
	}
	b, err := endorse.Open(data, trusted, now)
	if err != nil {
		return b, nil, err
	}
	_, doc, err := endorse.Show(data)
	if err != nil {
		return b, nil, err
	}
	var by []keys.KeyID
	for _, k := range trusted {
		if n, err := doc.SignedBy([]keys.PublicKey{k}); err == nil && n == 1 && !slices.Contains(by, k.ID()) {
			by = append(by, k.ID())
		}
	}
	return b, by, nil
}

// shownBundle verifies nothing.
func shownBundle(data []byte) (endorse.Bundle, []keys.KeyID, error) {
	b, doc, err := endorse.Show(data)
	if err != nil {
		return b, nil, err
	}
	by := []keys.KeyID{}
	for _, s := range doc.Signatures {
		by = append(by, s.Key)
	}
	return b, by, nil
}

// endorsementSources reads everything that the paths hold. Directories may hold other things too,
// which are ignored; a file that was named must hold something. A bundle that can't be opened
// is an error wherever it lies: somebody meant it to be used.
func (a *app) endorsementSources(paths []string, open opener) ([]endorsementSource, error) {
	var sources []endorsementSource
	read := func(path string, named bool) error {
		data, err := a.readLarge(path, "endorsements", endorse.MaxFile)
		if err != nil {
			return err
		}
		if isBundle(data) {
			b, by, err := open(data)
			if err != nil {
				return inFile(path, err)
			}
			view := &bundleView{File: path, Name: b.Name, Created: b.Created, Expires: b.Expires, SignedBy: by}
			for _, signer := range by {
				view.versions = append(view.versions, b.Version(signer))
			}
			sources = append(sources, endorsementSource{b.Items, view})
			return nil
		}
		more := endorse.Parse(filepath.Base(path), data)
		if named && len(more) == 0 {
			return misfile(path, "endorsements: certificates, CRLs, TCB information, RIMs, or a bundle", "nothing that strongroom recognises", "name the right file")
		}
		sources = append(sources, endorsementSource{more, nil})
		return nil
	}
	for _, path := range paths {
		var err error
		if isDirectory(path) {
			err = eachEndorsementFile(path, func(file string) error { return read(file, false) })
		} else {
			err = read(path, true)
		}
		if err != nil {
			return nil, err
		}
	}
	return sources, nil
}

// oneSet puts files together, with the bundles among them.
func oneSet(sources []endorsementSource) (endorse.Set, []bundleView, error) {
	var items []endorse.Item
	bundles := []bundleView{}
	for _, s := range sources {
		items = append(items, s.items...)
		if s.bundle != nil {
			bundles = append(bundles, *s.bundle)
		}
	}
	set, err := endorse.NewSet(items...)
	if err != nil {
		return endorse.Set{}, nil, verdict.Misuse("--endorsements", "endorsements within their limits", verdict.Short(err.Error()), "name fewer, or correct the file")
	}
	return set, bundles, nil
}

func eachEndorsementFile(dir string, read func(file string) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fileError(path, "a directory of endorsements", err)
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > endorse.MaxFile {
			return nil
		}
		return read(path)
	})
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

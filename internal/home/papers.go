package home

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// SaveAgreement keeps a copy of an agreement as it stands, by its digest. A copy that was
// there is replaced: the later one usually has more signatures.
func (h *Home) SaveAgreement(a *agreement.SignedAgreement) error {
	data, err := a.Document.Encode()
	if err != nil {
		return err
	}
	unlock, err := h.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	return h.write(false, data, "agreements", hexName(a.Digest()))
}

// Agreement gives the copy of an agreement kept here; its form is checked, its signatures
// are not.
func (h *Home) Agreement(digest wire.Digest) (*agreement.SignedAgreement, error) {
	a, err := h.agreement(hexName(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, verdict.Misuse("agreement.known", "an agreement kept here", digest.String(), "strongroom agreement show lists them; give the file instead")
	}
	return a, err
}

// Agreements gives every agreement kept here, sorted by id and version.
func (h *Home) Agreements() ([]*agreement.SignedAgreement, error) {
	names, err := h.files("agreements")
	if err != nil {
		return nil, err
	}
	var out []*agreement.SignedAgreement
	for _, name := range names {
		a, err := h.agreement(name)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b *agreement.SignedAgreement) int {
		if a.ID != b.ID {
			return int(max(-1, min(1, compare(a.ID, b.ID))))
		}
		return int(a.Version - b.Version)
	})
	return out, nil
}

func compare(a, b wire.ID) int {
	if a < b {
		return -1
	}
	return 1
}

// FindAgreement gives the agreement kept here that text means: its digest, at least the
// first 12 digits of it, or its id, which means the highest version.
func (h *Home) FindAgreement(text string) (*agreement.SignedAgreement, error) {
	all, err := h.Agreements()
	if err != nil {
		return nil, err
	}
	var found *agreement.SignedAgreement
	for _, a := range all {
		if isDigest(a.Digest(), text) || string(a.ID) == text {
			found = a
		}
	}
	if found == nil {
		return nil, verdict.Misuse("agreement.known", "a file, or an agreement kept here", verdict.Short(text), "strongroom agreement show lists them")
	}
	return found, nil
}

func (h *Home) agreement(name string) (*agreement.SignedAgreement, error) {
	path := h.Path("agreements", name)
	data, err := h.read("agreements", name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, readError("home", err)
	}
	a, err := agreement.ParseAgreement(data)
	if err != nil {
		return nil, damaged(path, "a signed agreement", err)
	}
	if hexName(a.Digest()) != name {
		return nil, damaged(path, "the agreement its name says", fmt.Errorf("%s", a.Digest()))
	}
	return a, nil
}

// SaveStatement keeps one of the party's own dataset statements. A version is written once:
// if it is there, nothing changes and the error is a refusal.
func (h *Home) SaveStatement(d *agreement.SignedDataset) error {
	data, err := d.Document.Encode()
	if err != nil {
		return err
	}
	err = h.write(true, data, "datasets", string(d.Dataset.Dataset), strconv.FormatInt(d.Version, 10)+".json")
	if errors.Is(err, fs.ErrExist) {
		return verdict.Refuse("dataset.version", "a version not published yet", fmt.Sprintf("version %d of %s", d.Version, d.Dataset.Dataset), "publish again: the next version follows the last")
	}
	return err
}

// Statements gives the party's own statements about a dataset, version 1 first.
func (h *Home) Statements(name wire.ID) ([]*agreement.SignedDataset, error) {
	names, err := h.files("datasets", string(name))
	if err != nil {
		return nil, err
	}
	var out []*agreement.SignedDataset
	for _, n := range names {
		data, err := h.read("datasets", string(name), n)
		if err != nil {
			return nil, readError("home", err)
		}
		d, err := agreement.ParseDataset(data)
		if err != nil {
			return nil, damaged(h.Path("datasets", string(name), n), "a dataset statement", err)
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b *agreement.SignedDataset) int { return int(a.Version - b.Version) })
	return out, nil
}

// Datasets gives the names of the party's own datasets, sorted.
func (h *Home) Datasets() ([]wire.ID, error) {
	entries, err := os.ReadDir(h.Path("datasets"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, readError("home", err)
	}
	var names []wire.ID
	for _, e := range entries {
		if id := wire.ID(e.Name()); e.IsDir() && id.Valid() {
			names = append(names, id)
		}
	}
	return names, nil
}

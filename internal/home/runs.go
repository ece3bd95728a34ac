package home

import (
	"errors"
	"io/fs"
	"path/filepath"

	"strongroom.dev/agreement"
)

// SaveRun keeps a run request that is about to be asked, by its run id, so that its result can
// be fetched, and told from another's, later.
func (h *Home) SaveRun(run *agreement.SignedRun) error {
	data, err := run.Document.Encode()
	if err != nil {
		return err
	}
	return h.write(false, data, "runs", run.RunID+".json")
}

// Run gives the request kept here of a run id, nil if there is none. Its form is checked, its
// signatures are not.
func (h *Home) Run(id string) (*agreement.SignedRun, error) {
	if id == "" || filepath.Base(id) != id {
		return nil, nil
	}
	data, err := h.read("runs", id+".json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, readError("home", err)
	}
	run, err := agreement.ParseRun(data)
	if err == nil && run.RunID != id {
		err = errors.New("the request of run " + run.RunID)
	}
	if err != nil {
		return nil, damaged(h.Path("runs", id+".json"), "the request of run "+id, err)
	}
	return run, nil
}

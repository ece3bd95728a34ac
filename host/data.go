package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// A data directory holds each sealed file as NAME.age with its signed statement beside it as
// NAME.statement.json. What stands in it is believed no more than the rest of a host: a room
// checks every byte against the statement that the run names.

const (
	sealedSuffix    = ".age"
	statementSuffix = ".statement.json"
	// maxStatements bounds how many statements of a directory are read.
	maxStatements = 4096
	// maxStatement is far above any: a statement is 1 KiB and its signatures.
	maxStatement = 256 << 10
)

// Sealed is a sealed file of a data directory.
type Sealed struct {
	Path      string
	Statement json.RawMessage
	Dataset   *agreement.SignedDataset
}

// List gives the sealed files of a data directory. Statements that can't be read are passed
// over: they can't be what a run names.
func List(dir string) ([]Sealed, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, verdict.Misuse("host.data", "a directory of sealed files", reason(err), "name it with --data") // a caller of a host reads this: no paths
	}
	var found []Sealed
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), statementSuffix)
		if !ok || len(found) == maxStatements {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Size() > maxStatement {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if d, err := agreement.ParseDataset(data); err == nil {
			found = append(found, Sealed{filepath.Join(dir, base+sealedSuffix), data, d})
		}
	}
	return found, nil
}

// Find gives the sealed files that a run names, in its order.
func Find(dir string, run agreement.Run) ([]Input, error) {
	list, err := List(dir)
	if err != nil {
		return nil, err
	}
	byDigest := map[wire.Digest]Sealed{}
	for _, s := range list {
		byDigest[s.Dataset.Digest()] = s
	}
	var inputs []Input
	for _, want := range run.Datasets {
		s, found := byDigest[want.Statement]
		if !found {
			return nil, verdict.Refuse("host.data", fmt.Sprintf("the sealed file of input %s, statement %s", want.Input, want.Statement.Short()),
				"no such statement in the host's data directory", "bring the owner's .age file and its .statement.json there")
		}
		in := Input{want.Input, s.Statement, s.Path}
		f, err := in.open()
		if err != nil {
			return nil, err
		}
		f.Close()
		inputs = append(inputs, in)
	}
	return inputs, nil
}

// open opens the sealed file. Who asked for the run reads the error: it names no path.
func (in Input) open() (*os.File, error) {
	f, err := os.Open(in.Path)
	if err == nil {
		return f, nil
	}
	e := verdict.Refuse("host.data", "the sealed file of input "+string(in.Name), "its statement in the host's data directory, and the .age file beside it: "+reason(err), "bring the owner's .age file there, under the statement's name")
	e.Err = err
	return nil, e
}

// reason is why a file could not be used, without its path.
func reason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return "it can't be read"
}

// Latest gives the statement with the highest version of each input that a work reads, as a
// data directory has them: what a requester names in its run request. Owners' brokers refuse
// what is not current.
func Latest(list []Sealed, a *agreement.SignedAgreement, parties []*agreement.SignedParty, work agreement.Work) ([]agreement.RunDataset, error) {
	out := []agreement.RunDataset{} // a document has no null
	for _, in := range a.InputsOf(work) {
		owner := ownerName(a, parties, in.Owner)
		var best *agreement.SignedDataset
		for _, s := range list {
			d := s.Dataset
			pinned := in.Statement == nil || d.Digest() == *in.Statement
			if d.Owner == owner && d.Dataset.Dataset == in.Dataset && pinned && (best == nil || d.Version > best.Version) {
				best = d
			}
		}
		if best == nil {
			return nil, verdict.Refuse("host.data", fmt.Sprintf("a sealed file of dataset %s of %s", in.Dataset, owner), "none in the host's data directory",
				"bring the owner's .age file and its .statement.json there")
		}
		out = append(out, agreement.RunDataset{Input: in.Name, Statement: best.Digest()})
	}
	return out, nil
}

// ownerName gives the name in the descriptor of a party of an agreement.
func ownerName(a *agreement.SignedAgreement, parties []*agreement.SignedParty, id wire.ID) wire.ID {
	if p := descriptorOf(a, parties, id); p != nil {
		return p.Name
	}
	return ""
}

// open opens a container's disk. Who asked for the run reads the error: it names no path.
func (d Disk) open() (*os.File, error) {
	f, err := os.Open(d.Path)
	if err != nil {
		return nil, d.missing(reason(err))
	}
	return f, nil
}

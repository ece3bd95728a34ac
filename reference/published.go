package reference

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// EntryKind is the kind of the log entry that records a set.
const EntryKind = "reference"

// Published is a set as it is handed on: the signed document, with the proof that a log
// recorded it beside it once there is one. Nothing in it is verified but its form.
type Published struct {
	Values   Values
	Document *keys.Document
	// Receipt is nil for a set that is in no log yet.
	Receipt *ledger.Receipt
}

// Recorded is what a log's entry says in public: which document, by digest, so that the log's
// reader sees every set of a product, also one that was made for a single victim.
type Recorded struct {
	Digest  wire.Digest `json:"digest"`
	Product wire.ID     `json:"product"`
	Version int64       `json:"version"`
}

func (p *Published) recorded() Recorded {
	return Recorded{p.Document.Digest(), p.Values.Product, p.Values.Version}
}

// ReadEntry gives what a log's entry says of a set; false if it is an entry about something
// else.
func ReadEntry(e ledger.Entry) (Recorded, bool) {
	var r Recorded
	ok := e.Kind == EntryKind && wire.Unmarshal(e.Public, &r) == nil
	return r, ok
}

// Name says which set it is.
func (p *Published) Name() Name {
	v := p.Values
	return Name{v.Product, v.Version, v.SecurityVersion, p.Document.Digest()}
}

// Entry gives the log entry that records the set.
func (p *Published) Entry(now time.Time) (ledger.Entry, error) {
	public, err := wire.Marshal(p.recorded())
	return ledger.Entry{Kind: EntryKind, TimeMS: now.UnixMilli(), Public: public}, err
}

// published is a set with its receipt, as it stands in a file.
type published struct {
	Document json.RawMessage `json:"document"`
	Receipt  ledger.Receipt  `json:"receipt"`
}

// Encode gives the set as a file: canonical JSON and a newline.
func (p *Published) Encode() ([]byte, error) {
	data, err := p.Document.Encode()
	if err != nil || p.Receipt == nil {
		return data, err
	}
	data, err = wire.Marshal(published{bytes.TrimRight(data, "\n"), *p.Receipt})
	return append(data, '\n'), err
}

// Parse reads a set without checking any signature, date or proof, for looking at one. The
// error is a [verdict.Error] of kind Invalid.
func Parse(data []byte) (*Published, error) {
	p, err := parse(data)
	if err == nil {
		err = p.Values.Check()
	}
	if err != nil {
		e := verdict.NotGenuine("reference.form", "a set of reference values", verdict.Short(err.Error()), "ask whoever publishes it for the file as it was made")
		e.Err = err
		return nil, e
	}
	return p, nil
}

func parse(data []byte) (*Published, error) {
	canonical, err := wire.Canonical(bytes.TrimRight(data, "\n"))
	if err != nil {
		return nil, err
	}
	p := &Published{}
	document := canonical
	if bytes.HasPrefix(canonical, []byte(`{"document":`)) {
		parts, err := wire.Object(canonical, "document", "receipt")
		if err != nil {
			return nil, err
		}
		p.Receipt = &ledger.Receipt{}
		if err := wire.UnmarshalCanonical(parts[1], p.Receipt); err != nil {
			return nil, fmt.Errorf("receipt: %w", err)
		}
		document = parts[0]
	}
	p.Document, err = keys.ParseDocument(document, Type, &p.Values)
	return p, err
}

// Is reports whether data looks like a set, well-formed or not, so that a directory may hold
// other files beside them.
func Is(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) && bytes.Contains(data, []byte(`"`+Type+`"`))
}

package ledger

import (
	"encoding/json"
	"fmt"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// EntryFormat names the encoding of entries, in every entry.
const EntryFormat = "strongroom/entry/v1"

// Entry is one record in a log (spec/ledger.md, section 2): what happened, when, under which
// agreement and run, a part everybody may read, and a part for each owner that only that
// owner can (R19).
type Entry struct {
	// Kind says what happened and so what Public holds: grant, refusal, output, activate,
	// retire, revoke, publish, confirm, run, ...
	Kind wire.ID `json:"kind"`
	// TimeMS is the recorder's time, Unix milliseconds, 1 to the end of the year 9999.
	TimeMS int64 `json:"time_ms"`
	// Agreement and Run are digests; absent where the event has none.
	Agreement *wire.Digest `json:"agreement,omitempty"`
	Run       *wire.Digest `json:"run,omitempty"`
	// RunID is 32 lower-case hex digits, or empty where the event has none.
	RunID string `json:"run_id,omitempty"`
	// Public is a JSON object whose shape the kind decides and the data never does.
	Public json.RawMessage `json:"public"`
	// Sealed holds at most one part for each owner, at most MaxSealed of them.
	Sealed []SealedPart `json:"sealed,omitempty"`
}

// SealedPart is what only one owner may read: an age file sealed to that owner's recipients.
type SealedPart struct {
	Party  wire.ID    `json:"party"` // the owner's party id in the agreement
	Sealed wire.Bytes `json:"sealed"`
}

// formatted is an Entry as it stands in the log.
type formatted struct {
	Format string `json:"format"`
	Entry
}

// Encode gives the entry's bytes, canonical JSON, after checking it as [ParseEntry] would.
func (e Entry) Encode() ([]byte, error) {
	if err := e.validate(); err != nil {
		return nil, malformedEntry(err)
	}
	out, err := wire.Marshal(formatted{EntryFormat, e})
	if err != nil {
		return nil, malformedEntry(err)
	}
	if len(out) > MaxEntry {
		return nil, malformedEntry(fmt.Errorf("%d bytes, at most %d", len(out), MaxEntry))
	}
	return out, nil
}

// ParseEntry reads an entry's bytes. It checks form and limits, not what the entry says. The
// error is a [verdict.Error] of kind Usage.
func ParseEntry(data []byte) (Entry, error) {
	if len(data) > MaxEntry {
		return Entry{}, malformedEntry(fmt.Errorf("%d bytes, at most %d", len(data), MaxEntry))
	}
	var f formatted
	if err := wire.Unmarshal(data, &f); err != nil {
		return Entry{}, malformedEntry(err)
	}
	if f.Format != EntryFormat {
		return Entry{}, malformedEntry(fmt.Errorf("format %.60q, expected %q", f.Format, EntryFormat))
	}
	if err := f.validate(); err != nil {
		return Entry{}, malformedEntry(err)
	}
	return f.Entry, nil
}

func (e Entry) validate() error {
	const maxTimeMS = maxSeconds*1000 + 999
	switch {
	case !e.Kind.Valid():
		return fmt.Errorf("kind %.70q is not a name", string(e.Kind))
	case e.TimeMS < 1 || e.TimeMS > maxTimeMS:
		return fmt.Errorf("time_ms %d is no time", e.TimeMS)
	case e.RunID != "" && !validRunID(e.RunID):
		return fmt.Errorf("run_id %.70q, expected 32 lower-case hex digits", e.RunID)
	case len(e.Public) == 0 || e.Public[0] != '{':
		return fmt.Errorf("public is not a JSON object")
	case len(e.Sealed) > MaxSealed:
		return fmt.Errorf("%d sealed parts, at most %d", len(e.Sealed), MaxSealed)
	}
	seen := make(map[wire.ID]bool, len(e.Sealed))
	for _, part := range e.Sealed {
		if !part.Party.Valid() || seen[part.Party] || len(part.Sealed) == 0 {
			return fmt.Errorf("sealed part for %.70q is empty, a second one, or for nobody", string(part.Party))
		}
		seen[part.Party] = true
	}
	return nil
}

func validRunID(id string) bool {
	if len(id) != 32 {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func malformedEntry(err error) error {
	return &verdict.Error{Kind: verdict.Usage, Check: "ledger.entry", Expected: "a well-formed ledger entry", Got: verdict.Short(err.Error()),
		Fix: "see spec/ledger.md, section 2", Err: err}
}

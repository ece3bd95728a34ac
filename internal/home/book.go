package home

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Entry is a party in the address book.
type Entry struct {
	Party *agreement.SignedParty
	// Label is the reader's own name for the party; screens show it, never the proposer's.
	Label string
	// Checked says in the reader's words how the descriptor was found to be the party's.
	Checked string
	Added   wire.Time
	// Revoked is when the reader stopped trusting the descriptor; nil if never.
	Revoked *wire.Time
}

// entryFile is an Entry as it stands in book/.
type entryFile struct {
	Descriptor json.RawMessage `json:"descriptor"`
	Label      string          `json:"label"`
	Checked    string          `json:"checked"`
	Added      wire.Time       `json:"added"`
	Revoked    *wire.Time      `json:"revoked,omitempty"`
}

// Book gives the address book, sorted by label and version, revoked entries included.
func (h *Home) Book() ([]Entry, error) {
	names, err := h.files("book")
	if err != nil {
		return nil, err
	}
	book := make([]Entry, 0, len(names))
	for _, name := range names {
		e, err := h.entry(name)
		if err != nil {
			return nil, err
		}
		book = append(book, e)
	}
	slices.SortFunc(book, func(a, b Entry) int {
		if c := strings.Compare(a.Label, b.Label); c != 0 {
			return c
		}
		return int(a.Party.Version - b.Party.Version)
	})
	return book, nil
}

func (h *Home) entry(name string) (e Entry, err error) {
	path := h.Path("book", name)
	data, err := h.read("book", name)
	if err != nil {
		return e, readError("home.book", err)
	}
	if e, err = parseEntry(data); err != nil {
		return e, damaged(path, "an entry of the address book", err)
	}
	if hexName(e.Party.Digest()) != name {
		return e, damaged(path, "the descriptor its name says", fmt.Errorf("%s", e.Party.Digest()))
	}
	return e, nil
}

func parseEntry(data []byte) (e Entry, err error) {
	var f entryFile
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return e, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return e, errors.New("bytes after the entry")
	}
	party, err := agreement.ParseParty(f.Descriptor)
	if err != nil {
		return e, err
	}
	return Entry{party, f.Label, f.Checked, f.Added, f.Revoked}, nil
}

func (e Entry) encode() ([]byte, error) {
	doc, err := e.Party.Document.Encode()
	if err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(entryFile{bytes.TrimSpace(doc), e.Label, e.Checked, e.Added, e.Revoked}, "", "  ")
	return append(data, '\n'), err
}

func (h *Home) writeEntry(e Entry) error {
	data, err := e.encode()
	if err != nil {
		return err
	}
	return h.write(false, data, "book", hexName(e.Party.Digest()))
}

// Pin puts a party into the address book. The descriptor must be signed as its own rules
// ask at the time now; if a version of the party is pinned already, it must follow that
// one. checked says how the reader checked it; label is the reader's name for the party,
// "" for the label it has, or else its own name, marked as its own (R1).
func (h *Home) Pin(party *agreement.SignedParty, label, checked string, now time.Time) (Entry, error) {
	if err := remark("--checked", checked, true); err != nil {
		return Entry{}, err
	}
	if err := remark("--label", label, false); err != nil {
		return Entry{}, err
	}
	unlock, err := h.Lock()
	if err != nil {
		return Entry{}, err
	}
	defer unlock()
	book, err := h.Book()
	if err != nil {
		return Entry{}, err
	}
	if own, err := h.Descriptor(); err == nil && own.Name == party.Name {
		if own.Digest() == party.Digest() || own.Keys[0].Public == party.Keys[0].Public {
			return Entry{}, verdict.Refuse("party.name", "another party's descriptor", string(party.Name)+", which is your own", "nobody pins itself: give this file to the others, and pin theirs")
		}
		return Entry{}, verdict.Refuse("party.name", "a party of another name than your own", string(party.Name), "names must differ; ask one of the two to take another")
	}
	previous, err := follows(book, party)
	if err != nil {
		return Entry{}, err
	}
	if err := verify(party, previous, now); err != nil {
		return Entry{}, err
	}
	if label == "" && previous != nil {
		label = previous.Label
	}
	own := label
	if label == "" {
		label, own = string(party.Name)+ownNameMark, string(party.Name)
	}
	if label == "you" || strings.HasPrefix(label, "you (") {
		return Entry{}, verdict.Misuse("party.label", "a label for somebody else", label, "that is how screens name you: give another with --label")
	}
	for _, e := range book {
		if e.Party.Name != party.Name && (e.Label == label || e.Label == own || own == string(e.Party.Name)) {
			return Entry{}, verdict.Misuse("party.label", "a label nobody else has", fmt.Sprintf("%q is %s", own, e.Party.Name), "give another with --label")
		}
	}
	entry := Entry{Party: party, Label: label, Checked: checked, Added: wire.At(now)}
	return entry, h.writeEntry(entry)
}

// ownNameMark follows a label that the party chose itself, where the reader gave none.
const ownNameMark = " (its own name)"

// follows finds the pinned version that a descriptor must continue, nil if the party is
// new. A party whose every version was revoked is new again.
func follows(book []Entry, party *agreement.SignedParty) (*Entry, error) {
	var latest *Entry
	for i, e := range book {
		if e.Party.Digest() == party.Digest() {
			if e.Revoked != nil {
				return nil, verdict.Refuse("party.revoked", "a descriptor you have not revoked", "revoked "+e.Revoked.String(), "ask the party for its next version")
			}
			return nil, verdict.Misuse("party.pinned", "a party not in the address book", "pinned "+e.Added.String()+" as "+e.Label, "nothing is left to do")
		}
		if e.Party.Name == party.Name && e.Revoked == nil && (latest == nil || e.Party.Version > latest.Party.Version) {
			latest = &book[i]
		}
	}
	if latest == nil {
		return nil, nil
	}
	want := latest.Party.Version + 1
	if party.Version != want || party.Previous == nil || *party.Previous != latest.Party.Digest() {
		return nil, verdict.Refuse("party.chain", fmt.Sprintf("version %d of %s, following %s", want, party.Name, latest.Party.Digest().Short()),
			fmt.Sprintf("version %d, following %s", party.Version, followed(party)),
			"add the versions between in order; if this is another party, revoke the pinned one first")
	}
	return latest, nil
}

// verify checks the signatures of a descriptor about to be pinned. The first one of a party
// may be of any version: the reader vouches for its digest.
func verify(party *agreement.SignedParty, previous *Entry, now time.Time) error {
	if previous == nil {
		return party.VerifyOwn(now)
	}
	return party.Verify(now, previous.Party)
}

func followed(p *agreement.SignedParty) string {
	if p.Previous == nil {
		return "nothing"
	}
	return p.Previous.Short()
}

// remark checks a short text for the address book.
func remark(what, text string, required bool) error {
	if required && strings.TrimSpace(text) == "" {
		return verdict.Misuse("party.checked", "words on how the fingerprint was checked", "none", `say it with --checked "read aloud on the phone with Dr. Meier"`)
	}
	if len(text) > MaxNote || !utf8.ValidString(text) || verdict.Printable(text) != text {
		return verdict.Misuse("party.note", fmt.Sprintf("one line of at most %d bytes", MaxNote), verdict.Short(text), "shorten "+what)
	}
	return nil
}

// Lookup finds a pinned party by label, name, digest or the first 12 or more digits of it;
// of several versions, the latest that is not revoked. A revoked party is refused.
func (h *Home) Lookup(text string) (Entry, error) {
	found, err := h.find(text)
	if err != nil {
		return Entry{}, err
	}
	best := found[len(found)-1]
	for _, e := range found {
		if e.Revoked == nil {
			best = e
		}
	}
	if best.Revoked != nil {
		return Entry{}, verdict.Refuse("party.revoked", "a party you trust", text+" was revoked "+best.Revoked.String(), "pin its next version with strongroom party add")
	}
	return best, nil
}

// find gives the entries of the one party that text means, by rising version.
func (h *Home) find(text string) ([]Entry, error) {
	book, err := h.Book()
	if err != nil {
		return nil, err
	}
	var found []Entry
	for _, e := range book {
		if e.Label == text || string(e.Party.Name) == text || isDigest(e.Party.Digest(), text) {
			found = append(found, e)
		}
	}
	if len(found) == 0 {
		return nil, verdict.Misuse("party.pinned", "a party of your address book", verdict.Short(text), "strongroom party list shows it; strongroom party add pins a party")
	}
	for _, e := range found {
		if e.Party.Name != found[0].Party.Name {
			return nil, verdict.Misuse("party.ambiguous", "one party", fmt.Sprintf("%s or %s", found[0].Party.Name, e.Party.Name), "give the digest")
		}
	}
	slices.SortFunc(found, func(a, b Entry) int { return int(a.Party.Version - b.Party.Version) })
	return found, nil
}

// isDigest reports whether text is d or at least its first 12 hex digits.
func isDigest(d wire.Digest, text string) bool {
	digits := strings.TrimPrefix(text, "sha384:")
	return len(digits) >= 12 && strings.HasPrefix(strings.TrimPrefix(d.String(), "sha384:"), digits)
}

// Revoke stops trusting a pinned party: every version of it when named by name or label,
// one version when named by digest. It gives the digests revoked, with again also those
// that were revoked before.
func (h *Home) Revoke(text string, again bool, now time.Time) ([]wire.Digest, error) {
	unlock, err := h.Lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	found, err := h.find(text)
	if err != nil {
		return nil, err
	}
	var revoked []wire.Digest
	for _, e := range found {
		if e.Revoked != nil {
			if again {
				revoked = append(revoked, e.Party.Digest())
			}
			continue
		}
		at := wire.At(now)
		e.Revoked = &at
		if err := h.writeEntry(e); err != nil {
			return revoked, err
		}
		revoked = append(revoked, e.Party.Digest())
	}
	if len(revoked) == 0 {
		return nil, verdict.Misuse("party.revoked", "a party not revoked yet", text+" was revoked before", "nothing is left to do; --again tells your broker once more")
	}
	return revoked, nil
}

// Party gives the descriptor of a digest and the reader's label for it, from the party's
// own versions or the address book. Unpinned and revoked descriptors are refused (R1).
func (h *Home) Party(digest wire.Digest) (*agreement.SignedParty, string, error) {
	if own, err := h.ownVersion(digest); err == nil {
		return own, "you (" + string(own.Name) + ")", nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	e, err := h.entry(hexName(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", verdict.Refuse("party.pinned", "a descriptor in your address book", digest.String(), "check it with the party, then pin it: strongroom party add FILE --checked HOW")
	}
	if err != nil {
		return nil, "", err
	}
	if e.Revoked != nil {
		return nil, "", verdict.Refuse("party.revoked", "a descriptor you trust", e.Label+" was revoked "+e.Revoked.String(), "agree anew with the party's next version")
	}
	return e.Party, e.Label, nil
}

// Parties gives the descriptors of all parties of an agreement, in its order, and the
// reader's labels for them. It refuses if one is unpinned, revoked or of another name than
// its descriptor.
func (h *Home) Parties(a agreement.Agreement) ([]*agreement.SignedParty, map[wire.ID]string, error) {
	parties, labels := make([]*agreement.SignedParty, 0, len(a.Parties)), make(map[wire.ID]string)
	for _, p := range a.Parties {
		party, label, err := h.Party(p.Descriptor)
		if err != nil {
			e := *verdict.As(err)
			e.Where = "party " + string(p.ID)
			return nil, nil, &e
		}
		parties, labels[p.ID] = append(parties, party), label
	}
	return parties, labels, nil
}

package agreement

import (
	"fmt"
	"strings"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// parse reads a signed document's form into body.
func parse(data []byte, docType, check string, body any) (*keys.Document, error) {
	d, err := keys.ParseDocument(data, docType, body)
	if err != nil {
		return nil, &verdict.Error{Kind: verdict.Usage, Check: check, Expected: "a document of type " + docType,
			Got: strings.TrimSuffix(err.Error(), fmt.Sprintf(", expected %q", docType)), Fix: "take the file as its author wrote it", Err: err}
	}
	return d, nil
}

// create makes an unsigned document of a body that was validated.
func create(docType, check string, body any) (*keys.Document, error) {
	d, err := keys.NewDocument(docType, body)
	if err != nil {
		return nil, &verdict.Error{Kind: verdict.Usage, Check: check, Expected: "a body with a canonical form", Got: err.Error(), Err: err}
	}
	return d, nil
}

// same checks that a body still is what its document's digest covers, so that no caller can
// have a changed copy verified.
func same(d *keys.Document, docType, check string, body any) error {
	if d == nil || d.Type != docType {
		return verdict.Refuse(check, "a document of type "+docType, "none", "read it with the parser of its type")
	}
	canonical, err := wire.Marshal(body)
	if err != nil || string(canonical) != string(d.Body) {
		return verdict.NotGenuine(check, "the body that was signed", "another one", "read the document again")
	}
	return nil
}

// signers is a set of keys of which some number must have signed.
type signers struct {
	name      string // of the party, for people
	keys      []PartyKey
	threshold int64
}

func (d Descriptor) signers(name string) signers { return signers{name, d.Keys, d.Threshold} }

// valid gives the keys that count at now.
func (s signers) valid(now time.Time) []keys.PublicKey {
	var valid []keys.PublicKey
	for _, k := range s.keys {
		if !now.Before(k.NotBefore.Time()) && now.Before(k.NotAfter.Time()) {
			valid = append(valid, k.Public)
		}
	}
	return valid
}

// signed checks that the threshold of keys valid at now has signed d.
func (s signers) signed(check string, d *keys.Document, now time.Time) error {
	if s.threshold < 1 { // only an unvalidated descriptor
		return verdict.Refuse(check, "a threshold of at least 1 for "+s.name, "none", "")
	}
	all := make([]keys.PublicKey, len(s.keys))
	for i, k := range s.keys {
		all[i] = k.Public
	}
	total, err := d.SignedBy(all)
	if err != nil {
		return &verdict.Error{Kind: verdict.Invalid, Check: check, Expected: "a genuine signature of " + s.name,
			Got: err.Error(), Fix: "get the document from " + s.name + " again: it or the signature was changed", Err: err}
	}
	count, err := d.SignedBy(s.valid(now))
	if err != nil {
		return err
	}
	if int64(count) >= s.threshold {
		return nil
	}
	got, fix := fmt.Sprintf("%d", count), "have "+s.name+" sign"
	if total > count {
		got += fmt.Sprintf(" and %d by keys that are not valid at %s", total-count, wire.At(now))
		fix = "have " + s.name + " sign with a valid key"
	}
	return verdict.Refuse(check, fmt.Sprintf("%d signature(s) of %s by keys valid now", s.threshold, s.name), got, fix)
}

// noStrangers refuses signatures by keys of nobody in the list: they would look like
// somebody's consent and mean nothing.
func noStrangers(check string, d *keys.Document, known ...signers) error {
	ids := make(map[keys.KeyID]bool)
	for _, s := range known {
		for _, k := range s.keys {
			ids[k.Public.ID()] = true
		}
	}
	for _, s := range d.Signatures {
		if !ids[s.Key] {
			return verdict.Refuse(check, "only signatures of the parties named", "one by key "+s.Key.Short()+", which belongs to none of them",
				"remove that signature, or use the party descriptors the document names")
		}
	}
	return nil
}

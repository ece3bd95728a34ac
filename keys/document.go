package keys

import (
	"bytes"
	"encoding/json"
	"fmt"

	"strongroom.dev/wire"
)

// MaxSignatures bounds the signatures on one document: more parties than any agreement has.
const MaxSignatures = 64

// Document is a signed document as it stands in files and messages (spec/keys.md, section
// 4): its type, its body, and signatures over the type and the body's digest. Reading one
// checks its form, never a signature: see [Document.SignedBy].
type Document struct {
	Type       string          `json:"type"`
	Body       json.RawMessage `json:"body"`
	Signatures []Signature     `json:"signatures"`
}

// NewDocument makes an unsigned document: body becomes canonical JSON.
func NewDocument(docType string, body any) (*Document, error) {
	canonical, err := wire.Marshal(body)
	if err != nil {
		return nil, err
	}
	return &Document{Type: docType, Body: canonical, Signatures: []Signature{}}, nil
}

// ParseDocument reads a document of the wanted type and its body into the struct v points
// to (nil to leave the body). The file may be spaced freely and end in a newline; the body
// that counts, and that v is read from, is its canonical form.
func ParseDocument(data []byte, docType string, v any) (*Document, error) {
	canonical, err := wire.Canonical(bytes.TrimRight(data, "\n"))
	if err != nil {
		return nil, err
	}
	parts, err := wire.Object(canonical, "body", "signatures", "type")
	if err != nil {
		return nil, err
	}
	d := &Document{Body: parts[0]}
	if err := wire.UnmarshalCanonical(parts[2], &d.Type); err != nil {
		return nil, err
	}
	if d.Type != docType {
		return nil, fmt.Errorf("document is %.60q, expected %q", d.Type, docType)
	}
	if err := wire.UnmarshalCanonical(parts[1], &d.Signatures); err != nil {
		return nil, err
	}
	if len(d.Signatures) > MaxSignatures {
		return nil, fmt.Errorf("%d signatures, at most %d", len(d.Signatures), MaxSignatures)
	}
	seen := make(map[KeyID]bool, len(d.Signatures))
	for _, s := range d.Signatures {
		if seen[s.Key] { // which of the two counts would depend on the reader
			return nil, fmt.Errorf("two signatures by key %s", s.Key.Short())
		}
		seen[s.Key] = true
	}
	if v == nil {
		return d, nil
	}
	if err := wire.UnmarshalCanonical(d.Body, v); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	return d, nil
}

// Digest names the document: SHA-384 over its type and canonical body.
func (d *Document) Digest() wire.Digest { return wire.SHA384(d.Type, d.Body) }

// Sign adds s's signature, replacing one by the same key.
func (d *Document) Sign(s Signer) error {
	signature, err := s.Sign(d.Type, d.Digest())
	if err != nil {
		return err
	}
	d.Add(signature)
	return nil
}

// Add adds a signature made elsewhere, replacing one by the same key.
func (d *Document) Add(signature Signature) {
	for i := range d.Signatures {
		if d.Signatures[i].Key == signature.Key {
			d.Signatures[i] = signature
			return
		}
	}
	d.Signatures = append(d.Signatures, signature)
}

// SignedBy counts how many of the given distinct keys have a genuine signature on the
// document. A key whose signature stands there but does not verify is an error: somebody
// changed something, and that is never a smaller count.
func (d *Document) SignedBy(trusted []PublicKey) (int, error) {
	count, digest := 0, d.Digest()
	seen := make(map[KeyID]bool, len(trusted))
	for _, key := range trusted {
		id := key.ID()
		if seen[id] {
			continue
		}
		seen[id] = true
		for _, s := range d.Signatures {
			if s.Key != id {
				continue
			}
			if err := key.Verify(d.Type, digest, s); err != nil {
				return 0, fmt.Errorf("key %s: %w", id.Short(), err)
			}
			count++
			break
		}
	}
	return count, nil
}

// Encode gives the document as a file: canonical JSON and a newline.
func (d *Document) Encode() ([]byte, error) {
	out, err := wire.Marshal(d)
	return append(out, '\n'), err
}

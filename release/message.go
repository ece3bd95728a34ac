package release

import (
	"fmt"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// signed makes a signed document, no longer than the reader will accept.
func signed(signer keys.Signer, docType string, body any, most int) ([]byte, error) {
	doc, err := keys.NewDocument(docType, body)
	if err != nil {
		return nil, malformed(docType, err)
	}
	if err := doc.Sign(signer); err != nil {
		return nil, fmt.Errorf("signing %s: %w", docType, err)
	}
	data, err := doc.Encode()
	if err != nil {
		return nil, malformed(docType, err)
	}
	if err := sized(data, most); err != nil {
		return nil, malformed(docType, err)
	}
	return data, nil
}

// parsed reads a document with exactly one signature, which is not checked yet.
func parsed(data []byte, docType string, most int, body any) (*keys.Document, error) {
	if err := sized(data, most); err != nil {
		return nil, malformed(docType, err)
	}
	doc, err := keys.ParseDocument(data, docType, body)
	if err != nil {
		return nil, malformed(docType, err)
	}
	if len(doc.Signatures) != 1 {
		return nil, malformed(docType, fmt.Errorf("%d signatures, expected one", len(doc.Signatures)))
	}
	return doc, nil
}

// formed reads a document as parsed does, and refuses another version and a body beyond its own
// limits, before any signature is looked at. version is the body's.
func formed(data []byte, docType, what string, most int, body interface{ check() error }, version *string) (*keys.Document, error) {
	doc, err := parsed(data, docType, most, body)
	if err != nil {
		return nil, err
	}
	if *version != Version {
		return nil, otherVersion(*version)
	}
	if err := body.check(); err != nil {
		return nil, malformed(what, err)
	}
	return doc, nil
}

// opened reads a document signed by exactly this key.
func opened(data []byte, docType string, most int, key keys.PublicKey, body any) (*keys.Document, error) {
	doc, err := parsed(data, docType, most, body)
	if err != nil {
		return nil, err
	}
	return doc, signedBy(doc, key)
}

func signedBy(doc *keys.Document, key keys.PublicKey) error {
	if key.Verify(doc.Type, doc.Digest(), doc.Signatures[0]) != nil {
		return verdict.NotGenuine("message.signature", "a "+doc.Type+" signed by key "+key.ID().Short(), "no such signature", "somebody on the way changed it, or the sender's key is not the one in its descriptor")
	}
	return nil
}

func sized(data []byte, most int) error {
	if len(data) == 0 || len(data) > most {
		return fmt.Errorf("%d bytes, expected 1 to %d", len(data), most)
	}
	return nil
}

func malformed(what string, err error) error {
	return &verdict.Error{Kind: verdict.Usage, Check: "message.form", Expected: "a well-formed " + what, Got: verdict.Short(err.Error()),
		Fix: "send what this version of the protocol says", Err: err}
}

func otherVersion(got string) error {
	return verdict.Misuse("message.version", Version, verdict.Short(fmt.Sprintf("%q", got)), "run the same version on both sides")
}

// hexID checks an id of 32 lower-case hex digits.
func hexID(what, id string) error {
	if len(id) != 32 {
		return fmt.Errorf("%s of %d characters, expected 32 lower-case hex digits", what, len(id))
	}
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("%s is not 32 lower-case hex digits", what)
		}
	}
	return nil
}

// sameDigest compares two that may be absent.
func sameDigest(a, b *wire.Digest) bool {
	return (a == nil) == (b == nil) && (a == nil || *a == *b)
}

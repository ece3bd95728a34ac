package seal

import (
	"fmt"
	"strings"

	"filippo.io/age"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Recipient is a public key that files are sealed to. The zero Recipient seals nothing.
type Recipient struct {
	hybrid  *age.HybridRecipient
	classic *age.X25519Recipient
}

// ParseRecipient reads a recipient as age writes it: "age1pq1..." (X-Wing, the default:
// what is recorded today stays closed to the quantum computers of tomorrow) or "age1..."
// (X25519). Hardware, plug-in and SSH recipients are refused. The error never quotes text
// that might be a private key.
func ParseRecipient(text string) (Recipient, error) {
	if err := refuseFIPS(); err != nil {
		return Recipient{}, err
	}
	if len(text) > maxRecipient {
		return Recipient{}, badRecipient(fmt.Sprintf("%d characters", len(text)))
	}
	var r Recipient
	var err error
	switch kind := text[:max(0, strings.LastIndexByte(text, '1'))]; {
	case kind == "age1pq":
		r.hybrid, err = age.ParseHybridRecipient(text)
	case kind == "age":
		r.classic, err = age.ParseX25519Recipient(text)
	case strings.HasPrefix(kind, "age1"):
		return Recipient{}, badRecipient("one of hardware or a plug-in: " + verdict.Short(kind+"1..."))
	case strings.HasPrefix(strings.ToUpper(text), "AGE-"):
		return Recipient{}, badRecipient("a private key")
	default:
		return Recipient{}, badRecipient("something else")
	}
	if err != nil {
		return Recipient{}, badRecipient("one that is damaged: " + verdict.Short(text))
	}
	return r, nil
}

func badRecipient(got string) error {
	return verdict.Misuse("sealed.recipient", "a recipient age1pq1... or age1...", got,
		"take the recipient from the party's descriptor or the identity file's \"public key\" line")
}

// String gives the recipient as age writes it.
func (r Recipient) String() string {
	switch {
	case r.hybrid != nil:
		return r.hybrid.String()
	case r.classic != nil:
		return r.classic.String()
	}
	return "no recipient"
}

// PostQuantum reports whether the recipient is a hybrid one.
func (r Recipient) PostQuantum() bool { return r.hybrid != nil }

// Fingerprint is the SHA-256 of the recipient's text, what people compare: the text of a
// hybrid recipient has 2,000 characters.
func (r Recipient) Fingerprint() wire.Hash { return wire.HashOf([]byte(r.String())) }

// capture is a recipient of age's that keeps the file key it wraps. age makes the key and
// the header; the payload is encrypted here, on all cores. The labels are passed on, so
// that age refuses to mix recipients as it does for its own command.
type capture struct {
	to  Recipient
	key *[]byte
}

// Wrap wraps the file key.
func (c capture) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	stanzas, _, err := c.WrapWithLabels(fileKey)
	return stanzas, err
}

// WrapWithLabels wraps the file key and gives the labels of the recipient's kind.
func (c capture) WrapWithLabels(fileKey []byte) ([]*age.Stanza, []string, error) {
	*c.key = fileKey
	if c.to.hybrid != nil {
		return c.to.hybrid.WrapWithLabels(fileKey)
	}
	stanzas, err := c.to.classic.Wrap(fileKey)
	return stanzas, nil, err
}

// checkRecipients refuses lists that age would refuse too, in words for people.
func checkRecipients(recipients []Recipient) error {
	const fix = "seal to the recipients of one party's descriptor, each once"
	if len(recipients) == 0 || len(recipients) > MaxRecipients {
		return verdict.Misuse("sealed.recipient", fmt.Sprintf("1 to %d recipients", MaxRecipients), fmt.Sprint(len(recipients)), fix)
	}
	seen := map[string]bool{}
	for _, r := range recipients {
		switch text := r.String(); {
		case r.hybrid == nil && r.classic == nil:
			return verdict.Misuse("sealed.recipient", "a recipient", "an empty one", fix)
		case seen[text]:
			return verdict.Misuse("sealed.recipient", "every recipient once", "twice "+verdict.Short(text), fix)
		case r.PostQuantum() != recipients[0].PostQuantum():
			return verdict.Misuse("sealed.mixed", "recipients that are all post-quantum (age1pq1...) or all classic (age1...)", "both in one file",
				"leave out the classic ones, which would open the file to a quantum computer, or seal two files")
		default:
			seen[text] = true
		}
	}
	return nil
}

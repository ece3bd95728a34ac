package seal

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"filippo.io/age"
	"strongroom.dev/verdict"
)

// Purpose says what an identity may open (spec/sealed.md, section 4). It is the command
// that enforces it; the zero Purpose is not valid.
type Purpose string

const (
	// Data identities open any sealed file: they are a broker's and an owner's.
	Data Purpose = "data"
	// Result identities open only results that come with their proof.
	Result Purpose = "result"
)

// Valid reports whether the purpose is one of the two.
func (p Purpose) Valid() bool { return p == Data || p == Result }

// Identity is a private key that opens sealed files. It is held by pointer, never compared,
// and prints as "redacted". The zero Identity opens nothing.
type Identity struct {
	_       [0]func() // not comparable: == is not constant-time
	purpose Purpose
	hybrid  *age.HybridIdentity
	classic *age.X25519Identity
}

// GenerateIdentity makes a hybrid post-quantum identity from the system's randomness.
func GenerateIdentity(p Purpose) (*Identity, error) {
	if err := checkGenerate(p); err != nil {
		return nil, err
	}
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return nil, &verdict.Error{Kind: verdict.Broken, Check: "sealed.identity", Expected: "a new key", Got: err.Error(), Err: err}
	}
	return &Identity{purpose: p, hybrid: id}, nil
}

// GenerateClassicIdentity makes an X25519 identity, for peers whose age command is older
// than hybrid keys. What is sealed to it is open to a future quantum computer.
func GenerateClassicIdentity(p Purpose) (*Identity, error) {
	if err := checkGenerate(p); err != nil {
		return nil, err
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, &verdict.Error{Kind: verdict.Broken, Check: "sealed.identity", Expected: "a new key", Got: err.Error(), Err: err}
	}
	return &Identity{purpose: p, classic: id}, nil
}

func checkGenerate(p Purpose) error {
	if err := refuseFIPS(); err != nil {
		return err
	}
	if !p.Valid() {
		return verdict.Misuse("sealed.purpose", "purpose data or result", verdict.Short(string(p)), "say what the identity is for")
	}
	return nil
}

// Purpose says what the identity may open.
func (id *Identity) Purpose() Purpose { return id.purpose }

// PostQuantum reports whether the identity is a hybrid one.
func (id *Identity) PostQuantum() bool { return id.hybrid != nil }

// Recipient gives the public key. The zero Identity has a zero Recipient.
func (id *Identity) Recipient() Recipient {
	switch {
	case id.hybrid != nil:
		return Recipient{hybrid: id.hybrid.Recipient()}
	case id.classic != nil:
		return Recipient{classic: id.classic.Recipient()}
	}
	return Recipient{}
}

// Format redacts the identity under every verb.
func (id Identity) Format(f fmt.State, _ rune) { fmt.Fprint(f, "identity (redacted)") }

// MarshalText refuses, so that a key can't slip into a document; see MarshalSecret.
func (id Identity) MarshalText() ([]byte, error) { return nil, fmt.Errorf("an identity has no text") }

const (
	purposeComment = "# purpose:"
	publicComment  = "# public key:"
)

// MarshalSecret gives the text of an identity file, which age's own command reads too.
// Whoever reads it can open the files: keep it in a file with mode 0600.
func (id *Identity) MarshalSecret() (string, error) {
	if id.age() == nil {
		return "", noIdentity()
	}
	secret := ""
	if id.hybrid != nil {
		secret = id.hybrid.String()
	} else {
		secret = id.classic.String()
	}
	return fmt.Sprintf("%s %s\n%s %s\n%s\n", purposeComment, id.purpose, publicComment, id.Recipient(), secret), nil
}

// age gives the identity as age takes it; nil for the zero Identity.
func (id *Identity) age() age.Identity {
	switch {
	case id == nil:
	case id.hybrid != nil:
		return id.hybrid
	case id.classic != nil:
		return id.classic
	}
	return nil
}

func noIdentity() error {
	return verdict.Refuse("sealed.identity", "an identity", "none", "name an identity file")
}

// ParseIdentityFile reads an identity file: age's syntax with exactly one native key and
// one line "# purpose: data" or "# purpose: result". A file made by age-keygen becomes one
// by adding that line. A "# public key:" line must be of the key. No error quotes the text.
func ParseIdentityFile(text string) (*Identity, error) {
	if err := refuseFIPS(); err != nil {
		return nil, err
	}
	if len(text) > MaxIdentityFile || !utf8.ValidString(text) {
		return nil, badIdentityFile("", "bytes that are too long or not text")
	}
	file, err := scanIdentityFile(text)
	if err != nil {
		return nil, err
	}
	id := &Identity{purpose: file.purpose}
	if strings.HasPrefix(file.secret, "AGE-SECRET-KEY-PQ-1") {
		id.hybrid, err = age.ParseHybridIdentity(file.secret)
	} else {
		id.classic, err = age.ParseX25519Identity(file.secret)
	}
	if err != nil {
		// age's error might quote the key.
		return nil, badIdentityFile(file.secretLine, "a key that is damaged")
	}
	if file.public != "" && file.public != id.Recipient().String() {
		return nil, badIdentityFile(file.publicLine, "the public key of another identity")
	}
	return id, nil
}

func badIdentityFile(where, got string) error {
	e := verdict.Misuse("sealed.identity", "an identity file: a line \"# purpose: data\" or \"# purpose: result\" and one line AGE-SECRET-KEY-...", got,
		"make one with strongroom keygen, or add the purpose line to a file of age-keygen's")
	e.Where = where
	return e
}

type identityFile struct {
	purpose                Purpose
	public, secret         string
	publicLine, secretLine string
}

func scanIdentityFile(text string) (f identityFile, err error) {
	number := 0
	for line := range strings.Lines(text) {
		number++
		where := fmt.Sprintf("line %d", number)
		line = strings.TrimRight(line, "\r\n")
		switch purpose, found := strings.CutPrefix(line, purposeComment); {
		case found && f.purpose != "":
			return f, badIdentityFile(where, "a second purpose")
		case found:
			if f.purpose = Purpose(strings.TrimSpace(purpose)); !f.purpose.Valid() {
				return f, badIdentityFile(where, "purpose "+verdict.Short(string(f.purpose)))
			}
		case strings.HasPrefix(line, publicComment):
			if f.public != "" {
				return f, badIdentityFile(where, "a second public key")
			}
			f.public, f.publicLine = strings.TrimSpace(strings.TrimPrefix(line, publicComment)), where
		case line == "" || strings.HasPrefix(line, "#"):
		case f.secret != "":
			return f, badIdentityFile(where, "a second key")
		case !strings.HasPrefix(line, "AGE-SECRET-KEY-"):
			return f, badIdentityFile(where, "a line that is no native age key")
		default:
			f.secret, f.secretLine = line, where
		}
	}
	switch {
	case f.secret == "":
		return f, badIdentityFile("", "no key")
	case f.purpose == "":
		return f, badIdentityFile("", "no purpose line")
	}
	return f, nil
}

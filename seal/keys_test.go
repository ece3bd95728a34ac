package seal_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
)

func TestParseRecipientRefuses(t *testing.T) {
	hybrid, x25519 := identity(t, seal.Data), classic(t)
	secret, err := x25519.MarshalSecret()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(secret), "\n")
	private := lines[len(lines)-1]
	good := x25519.Recipient().String()
	for name, text := range map[string]string{
		"empty":       "",
		"space":       " " + good,
		"line":        good + "\n",
		"upper case":  strings.ToUpper(good),
		"cut":         good[:len(good)-1],
		"cut hybrid":  hybrid.Recipient().String()[:1000],
		"one letter":  flipLetter(good),
		"tag":         "age1tag1qwjhgxh7fzrl9g2pqmstt4fpwtgy30c3ep3a3d4k3yyshxkqwz7vznv8l8f",
		"plug-in":     "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
		"ssh":         "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2jN5ZI",
		"private key": private,
		"too long":    "age1pq1" + strings.Repeat("q", 5000),
		"low order":   lowOrder(t),
	} {
		r, err := seal.ParseRecipient(text)
		if name == "low order" && err == nil {
			_, err = seal.Seal(io.Discard, strings.NewReader(""), []seal.Recipient{r}, seal.Options{})
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		check(t, err, verdict.Usage, "sealed.recipient")
		if strings.Contains(err.Error(), private[20:]) {
			t.Errorf("%s: the error quotes a private key", name)
		}
	}
}

// flipLetter changes one character of a bech32 text.
func flipLetter(text string) string {
	other := "q"
	if text[20] == 'q' {
		other = "p"
	}
	return text[:20] + other + text[21:]
}

// lowOrder is the recipient whose point is zero, which age's parser takes.
func lowOrder(t *testing.T) string {
	const charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	text := "age1" + strings.Repeat("q", 52)
	// 6 characters of checksum by BIP 173.
	polymod := func(values []byte) uint32 {
		c := uint32(1)
		for _, v := range values {
			top := c >> 25
			c = (c&0x1ffffff)<<5 ^ uint32(v)
			for i, g := range []uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
				if top>>i&1 == 1 {
					c ^= g
				}
			}
		}
		return c
	}
	values := []byte{'a' >> 5, 'g' >> 5, 'e' >> 5, 0, 'a' & 31, 'g' & 31, 'e' & 31}
	values = append(values, make([]byte, 58)...)
	sum := polymod(values) ^ 1
	for i := range 6 {
		text += string(charset[sum>>(5*(5-i))&31])
	}
	if _, err := age.ParseX25519Recipient(text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return text
}

func TestParseRecipient(t *testing.T) {
	for _, id := range []*seal.Identity{identity(t, seal.Data), classic(t)} {
		r, err := seal.ParseRecipient(id.Recipient().String())
		if err != nil || r.String() != id.Recipient().String() || r.PostQuantum() != id.PostQuantum() || r.Fingerprint() != id.Recipient().Fingerprint() {
			t.Errorf("%v: %v", r, err)
		}
	}
}

func TestSealRefusesRecipients(t *testing.T) {
	hybrid, x25519 := identity(t, seal.Data).Recipient(), classic(t).Recipient()
	many := make([]seal.Recipient, seal.MaxRecipients+1)
	var long []seal.Recipient
	for range 43 {
		long = append(long, identity(t, seal.Data).Recipient())
	}
	for name, test := range map[string]struct {
		to    []seal.Recipient
		kind  verdict.Kind
		check string
	}{
		"none":      {nil, verdict.Usage, "sealed.recipient"},
		"too many":  {many, verdict.Usage, "sealed.recipient"},
		"zero":      {[]seal.Recipient{{}}, verdict.Usage, "sealed.recipient"},
		"twice":     {[]seal.Recipient{hybrid, hybrid}, verdict.Usage, "sealed.recipient"},
		"mixed":     {[]seal.Recipient{hybrid, x25519}, verdict.Usage, "sealed.mixed"},
		"mixed too": {[]seal.Recipient{x25519, hybrid}, verdict.Usage, "sealed.mixed"},
		"header":    {long, verdict.Refused, "sealed.header"},
	} {
		var out bytes.Buffer
		_, err := seal.Seal(&out, strings.NewReader("plain"), test.to, seal.Options{})
		if out.Len() > 0 {
			t.Errorf("%s: %d bytes written", name, out.Len())
		}
		check(t, err, test.kind, test.check)
	}
}

func TestIdentityFileRefuses(t *testing.T) {
	id := classic(t)
	good, err := id.MarshalSecret()
	if err != nil {
		t.Fatal(err)
	}
	other := classic(t)
	lines := strings.SplitAfter(good, "\n")
	purpose, public, private := lines[0], lines[1], lines[2]
	for name, text := range map[string]string{
		"empty":               "",
		"no purpose":          public + private,
		"unknown purpose":     "# purpose: signing\n" + private,
		"empty purpose":       "# purpose:\n" + private,
		"two purposes":        purpose + purpose + private,
		"contradictory":       purpose + "# purpose: result\n" + private,
		"no key":              purpose + public,
		"two keys":            purpose + private + private,
		"damaged key":         purpose + private[:len(private)-2] + "\n",
		"lower case":          purpose + strings.ToLower(private),
		"other public key":    purpose + "# public key: " + other.Recipient().String() + "\n" + private,
		"two public keys":     purpose + public + public + private,
		"plug-in":             purpose + "AGE-PLUGIN-YUBIKEY-1QQQQ\n",
		"something else":      purpose + "hello\n" + private,
		"indented":            purpose + " " + private,
		"too long":            purpose + private + strings.Repeat("# \n", seal.MaxIdentityFile),
		"not text":            purpose + private + "# \xff\n",
		"another name of key": purpose + "AGE-SECRET-KEY-TAG-1QQQQ\n",
	} {
		_, err := seal.ParseIdentityFile(text)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		check(t, err, verdict.Usage, "sealed.identity")
		if strings.Contains(err.Error(), private[20:40]) {
			t.Errorf("%s: the error quotes the key", name)
		}
	}
	if _, err := seal.GenerateIdentity("signing"); err == nil {
		t.Error("an identity for an unknown purpose")
	}
	if _, err := seal.GenerateClassicIdentity(""); err == nil {
		t.Error("an identity for no purpose")
	}
}

func TestIdentityFile(t *testing.T) {
	for _, id := range []*seal.Identity{identity(t, seal.Data), identity(t, seal.Result), classic(t)} {
		text, err := id.MarshalSecret()
		if err != nil {
			t.Fatal(err)
		}
		for name, file := range map[string]string{
			"ours":       text,
			"CRLF":       strings.ReplaceAll(text, "\n", "\r\n"),
			"age-keygen": "# created: 2026-11-24T09:30:00Z\n\n" + text + "\n",
		} {
			back, err := seal.ParseIdentityFile(file)
			if err != nil || back.Purpose() != id.Purpose() || back.Recipient().String() != id.Recipient().String() {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestRedacted prints keys in every way a program prints things by accident.
func TestRedacted(t *testing.T) {
	id := identity(t, seal.Data)
	text, err := id.MarshalSecret()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	file, _ := sealed(t, nil, id)
	key, _, err := unwrap(file, []*seal.Identity{id})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := key.MarshalSecret()
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{lines[len(lines)-1][20:], string(raw), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), fmt.Sprint(raw), strings.Trim(fmt.Sprintf("%#v", raw), "[]byte{}")}
	type holder struct {
		Key      any
		unlisted any
	}
	for _, v := range []any{key, *key, id, *id, holder{key, id}, &holder{*key, *id}, []*seal.FileKey{key}, []seal.FileKey{*key}, map[string]any{"id": id}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%t", "%c"} {
			got := fmt.Sprintf(verb, v)
			for _, secret := range secrets {
				if strings.Contains(got, secret) {
					t.Errorf("%s of %T prints the key", verb, v)
				}
			}
		}
		if got, err := json.Marshal(v); err == nil && !bytes.Equal(got, []byte("{}")) {
			t.Errorf("JSON of %T: %s", v, got)
		}
	}
}

func TestZeroValuesRefuse(t *testing.T) {
	id := identity(t, seal.Data)
	file, _ := sealed(t, []byte("plain"), id)
	header, err := seal.ReadHeader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, zero := range []*seal.Identity{nil, {}} {
		_, err := seal.UnwrapHeader(header, zero)
		check(t, err, verdict.Refused, "sealed.identity")
	}
	_, err = seal.Open(io.Discard, bytes.NewReader(file), nil, seal.Options{})
	check(t, err, verdict.Refused, "sealed.identity")
	_, err = (&seal.Identity{}).MarshalSecret()
	check(t, err, verdict.Refused, "sealed.identity")
	for _, zero := range []*seal.FileKey{nil, {}} {
		_, err := seal.OpenWithKey(io.Discard, bytes.NewReader(file), zero, seal.Options{})
		check(t, err, verdict.Refused, "sealed.key")
		_, err = zero.MarshalSecret()
		check(t, err, verdict.Refused, "sealed.key")
		zero.Wipe()
	}
	for _, n := range []int{0, 15, 17, 32} {
		_, err := seal.NewFileKey(make([]byte, n))
		check(t, err, verdict.Invalid, "sealed.key")
	}
	if (seal.Recipient{}).String() == "" || (seal.Recipient{}).PostQuantum() {
		t.Error("the zero Recipient")
	}
}

func TestSeveralRecipients(t *testing.T) {
	a, b, c := identity(t, seal.Data), identity(t, seal.Result), identity(t, seal.Data)
	file, sum := sealed(t, []byte("plain"), a, b)
	if sum.Recipients != 2 {
		t.Errorf("%d recipients", sum.Recipients)
	}
	types, err := seal.CheckHeader(sum.Header)
	if err != nil || len(types) != 2 || types[0] != "mlkem768x25519" {
		t.Errorf("stanzas %v: %v", types, err)
	}
	for _, id := range []*seal.Identity{a, b} {
		if _, err := seal.Open(io.Discard, bytes.NewReader(file), []*seal.Identity{c, id}, seal.Options{}); err != nil {
			t.Error(err)
		}
	}
	_, err = seal.Open(io.Discard, bytes.NewReader(file), []*seal.Identity{c}, seal.Options{})
	check(t, err, verdict.Refused, "sealed.recipient")
}

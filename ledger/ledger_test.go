package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"strongroom.dev/ledger"
	"strongroom.dev/wire"
)

const alpha = "log.example/alpha"

func TestSignerHidesItsKey(t *testing.T) {
	s := signerOf(alpha)
	secret := secretOf(alpha)
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%#v", s), fmt.Sprintf("%x", s), fmt.Sprintf("%+v", s), fmt.Sprintf("%s", s), fmt.Sprintf("%v", *s)} {
		if shown != "log key (redacted)" {
			t.Errorf("shown as %q", shown)
		}
	}
	if data, err := json.Marshal(s); err == nil {
		t.Errorf("written as %s", data)
	}
	for _, text := range []string{"", "x", secret + "\n" + secret, secret[:len(secret)-4], secret + "AAAA",
		strings.Replace(secret, "PRIVATE", "PUBLIC", 1), strings.Replace(secret, "log.example/alpha", "log.example/beta", 1), strings.Repeat("a", 1000)} {
		_, err := ledger.ParseSigner(text)
		if err == nil {
			t.Errorf("%q was taken for a key", text)
		} else if i := strings.LastIndex(secret, "+"); strings.Contains(err.Error(), secret[i+1:i+12]) {
			t.Errorf("error quotes the key: %v", err)
		}
	}
	if got := must(ledger.ParseSigner("# the log's key\n\n" + secret + "\n")).Verifier(); got != keyOf(alpha) {
		t.Errorf("with comments: %s", got)
	}
}

func TestZeroSignerSignsNothing(t *testing.T) {
	for name, f := range map[string]func(s *ledger.Signer){
		"verifier":   func(s *ledger.Signer) { s.Verifier() },
		"checkpoint": func(s *ledger.Signer) { s.SignCheckpoint(0, wire.HashOf(nil)) },
		"cosign":     func(s *ledger.Signer) { s.Cosign(newMemory(alpha, 1).checkpoint(1), noon) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: a zero Signer signed", name)
				}
			}()
			f(new(ledger.Signer))
		}()
	}
}

func TestGenerateKey(t *testing.T) {
	for _, origin := range []string{"", "a b", "a+b", "a\nb", "ä", strings.Repeat("a", 129), "cosignature/v1", "strongroom/statement/witnessed/v1"} {
		if _, _, err := ledger.GenerateKey(origin); err == nil {
			t.Errorf("origin %q was taken", origin)
		}
	}
	secret, verifier, err := ledger.GenerateKey(alpha)
	if err != nil {
		t.Fatal(err)
	}
	again, _, _ := ledger.GenerateKey(alpha)
	if again == secret {
		t.Fatal("the same key twice")
	}
	if got, err := ledger.VerifierOf(secret); err != nil || got != verifier {
		t.Errorf("VerifierOf: %q, %v", got, err)
	}
	if origin, err := ledger.OriginOf(verifier); err != nil || origin != alpha {
		t.Errorf("OriginOf: %q, %v", origin, err)
	}
	// Anybody's tools read our keys, and verify our checkpoints.
	if _, err := note.NewSigner(secret); err != nil {
		t.Errorf("signer key: %v", err)
	}
	v, err := note.NewVerifier(verifier)
	if err != nil {
		t.Fatal(err)
	}
	signed := must(must(ledger.ParseSigner(secret)).SignCheckpoint(3, wire.HashOf([]byte("root"))))
	n, err := note.Open([]byte(signed), note.VerifierList(v))
	root := wire.HashOf([]byte("root"))
	if want := alpha + "\n3\n" + base64.StdEncoding.EncodeToString(root[:]) + "\n"; err != nil || n.Text != want {
		t.Errorf("checkpoint %q: %v", signed, err)
	}
}

// TestCosignatureAsSpecified verifies a cosignature by the letter of C2SP tlog-cosignature,
// without this package.
func TestCosignatureAsSpecified(t *testing.T) {
	c := newMemory(alpha, 5).checkpoint(5)
	line := must(signerOf("ledger.example").Cosign(c, noon))
	rest, found := strings.CutPrefix(line, "— ledger.example ")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(rest, "\n"))
	if !found || err != nil || len(raw) != 4+8+64 {
		t.Fatalf("line %q: %v", line, err)
	}
	seed := wire.SHA256("strongroom/test/log", []byte("ledger.example"))
	public := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	id := wire.HashOf(append([]byte("ledger.example\n\x04"), public...))
	if !bytes.Equal(raw[:4], id[:4]) {
		t.Errorf("key id %x, expected %x", raw[:4], id[:4])
	}
	if got := int64(binary.BigEndian.Uint64(raw[4:])); got != noon.Unix() {
		t.Errorf("time %d", got)
	}
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", noon.Unix(), c.Note[:strings.Index(c.Note, "\n\n")+1])
	if !ed25519.Verify(public, []byte(message), raw[12:]) {
		t.Error("the signature does not verify")
	}
}

func TestCosignRefusesWhatWasNotOpened(t *testing.T) {
	c := newMemory(alpha, 5).checkpoint(5)
	s := signerOf("ledger.example")
	for name, change := range map[string]func(*ledger.Checkpoint){
		"size": func(c *ledger.Checkpoint) { c.Size++ },
		"root": func(c *ledger.Checkpoint) { c.Root[0]++ },
		"note": func(c *ledger.Checkpoint) { c.Note = "" },
	} {
		changed := c
		change(&changed)
		if _, err := s.Cosign(changed, noon); err == nil {
			t.Errorf("cosigned with a changed %s", name)
		}
	}
	if _, err := s.Cosign(c, time.Time{}); err == nil {
		t.Error("cosigned before 1970")
	}
	if _, err := s.SignCheckpoint(ledger.MaxSize+1, c.Root); err == nil {
		t.Error("signed a size over the limit")
	}
	if _, err := s.SignWitnessed(wire.Hash{1}, "a b", nil, noon); err == nil {
		t.Error("signed a statement about no log")
	}
}

func TestAddSignatures(t *testing.T) {
	m := newMemory(alpha, 5)
	signed := cosign(m.note(5), "ledger.example")
	c := m.checkpoint(5)
	later := must(ledger.AddSignatures(signed, must(signerOf("ledger.example").Cosign(c, noon.Add(time.Hour)))))
	c.Note = later
	have, err := ledger.Cosignatures(c, []ledger.Witness{witness("ledger.example")})
	if err != nil || len(have) != 1 || !have[0].Time.Equal(noon.Add(time.Hour)) {
		t.Errorf("a newer signature does not replace the older: %v, %v", have, err)
	}
	for _, lines := range []string{"x\n", "— \n", "— a AAAA\n", "— a AAAAAAAA", "\n", strings.Repeat(must(signerOf("ledger.example").Cosign(m.checkpoint(5), noon)), 2)} {
		if out, err := ledger.AddSignatures(signed, lines); err == nil {
			t.Errorf("%q was added: %q", lines, out)
		}
	}
	many := signed
	for i := range ledger.MaxSignatures - 2 {
		many = cosign(many, fmt.Sprintf("w%d", i))
	}
	if _, err := ledger.AddSignatures(many, must(signerOf("one-more").Cosign(m.checkpoint(5), noon))); err == nil {
		t.Error("more signatures than the limit")
	}
	alone, err := ledger.KeepSignature(many, keyOf(alpha))
	if err != nil || alone != m.note(5) {
		t.Errorf("kept %q, %v", alone, err)
	}
	_, err = ledger.KeepSignature(many, keyOf("log.example/beta"))
	wantClass(t, err, "invalid evidence", "ledger.checkpoint")
}

func TestCheckCosignature(t *testing.T) {
	m := newMemory(alpha, 5)
	c, w := m.checkpoint(5), witness("ledger.example")
	line := must(signerOf("ledger.example").Cosign(c, noon))
	if got, err := ledger.CheckCosignature(c, line, w); err != nil || !got.Time.Equal(noon) {
		t.Errorf("%v, %v", got, err)
	}
	other := must(signerOf("ledger.two").Cosign(c, noon))
	for name, lines := range map[string]string{
		"nothing":          "",
		"another's":        other,
		"one more":         line + other,
		"another's text":   must(signerOf("ledger.example").Cosign(m.checkpoint(4), noon)),
		"the log's":        strings.SplitAfter(c.Note, "\n\n")[1],
		"bytes afterwards": line + "x",
	} {
		if _, err := ledger.CheckCosignature(c, lines, w); err == nil {
			t.Errorf("%s passed for a cosignature", name)
		} else if expect, _ := class(err); expect != "invalid evidence" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReceiptLimits(t *testing.T) {
	r := newMemory(alpha, 3).receipt(1, 3)
	large := r
	large.Entry = make([]byte, ledger.MaxEntry+1)
	_, _, err := large.Verify(keyOf(alpha), nil, 0)
	wantClass(t, err, "invalid evidence", "ledger.receipt")
	long := r
	long.Proof = make([]wire.Hash, ledger.MaxProof+1)
	_, _, err = long.Verify(keyOf(alpha), nil, 0)
	wantClass(t, err, "invalid evidence", "ledger.receipt")
	long.Proof, long.Checkpoint = r.Proof, r.Checkpoint+strings.Repeat("— a AAAAAAAA\n", 2000)
	_, _, err = long.Verify(keyOf(alpha), nil, 0)
	wantClass(t, err, "invalid evidence", "ledger.checkpoint")
	_, _, err = ledger.Receipt{}.Verify(keyOf(alpha), nil, 0)
	wantClass(t, err, "invalid evidence", "ledger.checkpoint")
	_, _, err = r.Verify("", nil, 0)
	wantClass(t, err, "usage", "ledger.key")
	e, c, err := r.Verify(keyOf(alpha), nil, 0)
	if err != nil || e.Kind != "test" || c.Size != 3 || c.Origin != alpha {
		t.Errorf("%+v %+v %v", e, c, err)
	}
}

func TestConsistencyAcrossLogs(t *testing.T) {
	a, b := newMemory(alpha, 5), newMemory("log.example/beta", 5)
	wantClass(t, ledger.CheckConsistency(nil, a.checkpoint(5), b.checkpoint(5)), "invalid evidence", "ledger.consistency")
	wantClass(t, ledger.CheckConsistency(make([]wire.Hash, 65), a.checkpoint(4), a.checkpoint(5)), "invalid evidence", "ledger.consistency")
	// Sizes nobody signed must not make the check run for ever.
	huge := a.checkpoint(5)
	huge.Size = 1<<62 + 1
	wantClass(t, ledger.CheckConsistency(make([]wire.Hash, 64), a.checkpoint(5), huge), "invalid evidence", "ledger.consistency")
}

func TestEntryLimits(t *testing.T) {
	e := ledger.Entry{Kind: "test", TimeMS: 1, Public: json.RawMessage(`{}`)}
	for i := range ledger.MaxSealed + 1 {
		e.Sealed = append(e.Sealed, ledger.SealedPart{Party: wire.ID(fmt.Sprintf("p%d", i)), Sealed: []byte("x")})
	}
	_, err := e.Encode()
	wantClass(t, err, "usage", "ledger.entry")
	e.Sealed = []ledger.SealedPart{{Party: "alpha", Sealed: make([]byte, ledger.MaxEntry)}}
	_, err = e.Encode()
	wantClass(t, err, "usage", "ledger.entry")
	_, err = ledger.ParseEntry(make([]byte, ledger.MaxEntry+1))
	wantClass(t, err, "usage", "ledger.entry")
	for _, bad := range []ledger.Entry{{}, {Kind: "test", TimeMS: 1}, {Kind: "test", TimeMS: 1, Public: json.RawMessage(`"x"`)}, {Kind: "test", TimeMS: 1, Public: json.RawMessage(`{"a":1`)}} {
		_, err := bad.Encode()
		wantClass(t, err, "usage", "ledger.entry")
	}
}

// TestEveryProof checks every inclusion and consistency proof of a small log, and that no
// proof serves for anything else.
func TestEveryProof(t *testing.T) {
	m := newMemory(alpha, 13)
	for size := int64(1); size <= 13; size++ {
		for i := range size {
			r := m.receipt(i, size)
			if _, _, err := r.Verify(keyOf(alpha), nil, 0); err != nil {
				t.Fatalf("entry %d of %d: %v", i, size, err)
			}
			for j := range size {
				r.Index = j
				if _, _, err := r.Verify(keyOf(alpha), nil, 0); (err == nil) != (i == j) {
					t.Fatalf("entry %d of %d passes as %d", i, size, j)
				}
			}
		}
		for from := range size + 1 {
			if err := ledger.CheckConsistency(m.consistency(from, size), m.checkpoint(from), m.checkpoint(size)); err != nil {
				t.Fatalf("from %d to %d: %v", from, size, err)
			}
		}
	}
}

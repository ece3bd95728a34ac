package seal_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/cryptotest"

	"strongroom.dev/seal"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var update = flag.Bool("update", false, "write the vectors again")

// outcome is how every vector says what must come of it.
type outcome struct {
	Comment string `json:"comment"`
	Expect  string `json:"expect"` // "success" or the kind of the refusal
	Check   string `json:"check,omitempty"`
}

// compare fails unless err is what the vector says.
func (o outcome) compare(t *testing.T, err error) {
	t.Helper()
	var e *verdict.Error
	switch {
	case o.Expect == "success" && err != nil, o.Expect != "success" && !errors.As(err, &e):
		t.Errorf("expected %s, got %v", o.Expect, err)
	case err != nil && (e.Kind.String() != o.Expect || e.Check != o.Check):
		t.Errorf("expected %s by %s, got %v", o.Expect, o.Check, err)
	}
}

func vectorDir(format string) string { return filepath.Join("..", "spec", "vectors", format) }

// writeVectors replaces the vectors of a format.
func writeVectors[V any](t *testing.T, format string, vectors map[string]V) {
	t.Helper()
	dir := vectorDir(format)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	for name, v := range vectors {
		var data bytes.Buffer
		enc := json.NewEncoder(&data)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := errors.Join(enc.Encode(v), os.WriteFile(filepath.Join(dir, name+".json"), data.Bytes(), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// eachVector runs every vector of a format.
func eachVector[V any](t *testing.T, format string, least int, run func(*testing.T, V)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(vectorDir(format), "*.json"))
	if err != nil || len(files) < least {
		t.Fatalf("%d vectors of %s, expected at least %d: %v", len(files), format, least, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			var v V
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dec := json.NewDecoder(bytes.NewReader(data))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&v); err != nil {
				t.Fatal(err)
			}
			run(t, v)
		})
	}
}

type rootVector struct {
	Comment string    `json:"comment"`
	Size    int       `json:"size"` // of the file whose byte i is i mod 251
	Root    wire.Hash `json:"root"`
}

func TestRootVectors(t *testing.T) {
	if *update {
		made := map[string]rootVector{}
		for name, v := range map[string]rootVector{
			"empty":          {"No byte: one leaf, of the empty chunk.", 0, wire.Hash{}},
			"one-byte":       {"One short leaf.", 1, wire.Hash{}},
			"leaf-minus-1":   {"One leaf, a byte short.", 65535, wire.Hash{}},
			"leaf":           {"One whole leaf.", 65536, wire.Hash{}},
			"leaf-plus-1":    {"Two leaves, the second of one byte.", 65537, wire.Hash{}},
			"two-leaves":     {"Two whole leaves.", 2 * 65536, wire.Hash{}},
			"three-leaves":   {"Three leaves: the left subtree has two.", 3 * 65536, wire.Hash{}},
			"five-leaves":    {"Five leaves, the last of 100 bytes: the left subtree has four.", 4*65536 + 100, wire.Hash{}},
			"seven-leaves":   {"Seven whole leaves.", 7 * 65536, wire.Hash{}},
			"eight-leaves":   {"A whole tree.", 8 * 65536, wire.Hash{}},
			"hundred-leaves": {"100 leaves, the last a byte short.", 100*65536 - 1, wire.Hash{}},
		} {
			v.Root = merkle(pattern(v.Size))
			made[name] = v
		}
		writeVectors(t, "root", made)
	}
	eachVector(t, "root", 11, func(t *testing.T, v rootVector) {
		root, size, err := seal.Root(bytes.NewReader(pattern(v.Size)), seal.Options{})
		if err != nil || root != v.Root || size != int64(v.Size) {
			t.Errorf("%s: %v, %d, %v", v.Comment, root, size, err)
		}
	})
}

type identityVector struct {
	outcome
	File      string       `json:"file"` // text of the identity file
	Purpose   seal.Purpose `json:"purpose,omitempty"`
	Recipient string       `json:"recipient,omitempty"`
}

func TestIdentityVectors(t *testing.T) {
	if *update {
		writeVectors(t, "identity", makeIdentityVectors(t))
	}
	eachVector(t, "identity", 10, func(t *testing.T, v identityVector) {
		id, err := seal.ParseIdentityFile(v.File)
		v.compare(t, err)
		if err == nil && (id.Purpose() != v.Purpose || id.Recipient().String() != v.Recipient) {
			t.Errorf("%s identity of %v", id.Purpose(), id.Recipient())
		}
	})
}

func makeIdentityVectors(t *testing.T) map[string]identityVector {
	cryptotest.SetGlobalRandom(t, 1)
	hybrid, x25519, other := identity(t, seal.Data), classic(t), classic(t)
	text := func(id *seal.Identity) string {
		s, err := id.MarshalSecret()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	lines := strings.SplitAfter(text(x25519), "\n")
	purpose, public, private := lines[0], lines[1], lines[2]
	good := func(comment, file string, id *seal.Identity, p seal.Purpose) identityVector {
		return identityVector{outcome{comment, "success", ""}, file, p, id.Recipient().String()}
	}
	bad := func(comment, file string) identityVector {
		return identityVector{outcome{comment, "usage", "sealed.identity"}, file, "", ""}
	}
	return map[string]identityVector{
		"hybrid":           good("As it is written for a hybrid key.", text(hybrid), hybrid, seal.Data),
		"x25519":           good("As it is written for an X25519 key.", text(x25519), x25519, seal.Data),
		"result":           good("For results.", "# purpose: result\n"+private, x25519, seal.Result),
		"age-keygen":       good("Of age-keygen, with a purpose added below.", "# created: 2026-11-24T09:30:00Z\n"+public+private+"# purpose: data\n", x25519, seal.Data),
		"no-purpose":       bad("Of age-keygen, as it is.", public+private),
		"unknown-purpose":  bad("A purpose that doesn't exist.", "# purpose: signing\n"+private),
		"two-purposes":     bad("For data and results.", purpose+"# purpose: result\n"+private),
		"two-keys":         bad("Two keys.", text(x25519)+private),
		"no-key":           bad("No key.", purpose+public),
		"other-public-key": bad("The public key of another identity.", purpose+"# public key: "+other.Recipient().String()+"\n"+private),
		"damaged":          bad("A checksum that doesn't match.", purpose+private[:len(private)-2]+"\n"),
		"plug-in":          bad("A plug-in identity.", purpose+"AGE-PLUGIN-YUBIKEY-1QQQQ\n"),
	}
}

// sealedVector is one sealed file and one identity. With a statement the file is held
// against it, without one it is just opened.
type sealedVector struct {
	outcome
	Identity string `json:"identity"` // text of an identity file
	File     string `json:"file"`     // beside the vector
	// What is done to the file first.
	Cut    *int       `json:"cut,omitempty"`  // to this many bytes
	Flip   *int       `json:"flip,omitempty"` // the lowest bit of the byte at this offset
	Append wire.Bytes `json:"append,omitempty"`
	// Statement is what a dataset statement says.
	Statement *statementVector `json:"statement,omitempty"`
	Plain     *wire.Hash       `json:"plain,omitempty"` // SHA-256 of the plaintext
}

type statementVector struct {
	Header     wire.Hash `json:"header"`
	Root       wire.Hash `json:"root"`
	Size       int64     `json:"size"`
	Recipients int64     `json:"recipients"`
}

func TestSealedVectors(t *testing.T) {
	if *update {
		makeSealedVectors(t)
	}
	eachVector(t, "sealed", 20, runSealedVector)
}

func runSealedVector(t *testing.T, v sealedVector) {
	file, err := os.ReadFile(filepath.Join(vectorDir("sealed"), v.File))
	if err != nil {
		t.Fatal(err)
	}
	if v.Cut != nil {
		file = file[:*v.Cut]
	}
	if v.Flip != nil {
		file[*v.Flip] ^= 1
	}
	file = append(file, v.Append...)
	id, err := seal.ParseIdentityFile(v.Identity)
	if err != nil {
		t.Fatal(err)
	}
	open := entries(id)
	if v.Statement != nil {
		open = map[string]opener{"statement": func(dst io.Writer, file []byte) error {
			key, _, err := unwrap(file, []*seal.Identity{id})
			if err != nil {
				return err
			}
			_, err = seal.OpenVerified(dst, bytes.NewReader(file), key, seal.Expectation(*v.Statement), seal.Options{})
			return err
		}}
	}
	for name, open := range open {
		t.Run(name, func(t *testing.T) {
			hash := sha256.New()
			v.compare(t, open(hash, file))
			if v.Plain != nil && [32]byte(hash.Sum(nil)) != *v.Plain {
				t.Error("another plaintext")
			}
		})
	}
}

// vectorMaker writes sealed files and their cases.
type vectorMaker struct {
	t     *testing.T
	cases map[string]sealedVector
	files map[string][]byte
}

func (m vectorMaker) text(id *seal.Identity) string {
	s, err := id.MarshalSecret()
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

// good seals and adds the file's own case.
func (m vectorMaker) good(name, comment string, plain []byte, ids ...*seal.Identity) seal.Summary {
	file, sum := sealed(m.t, plain, ids...)
	m.files[name+".age"] = file
	hash := wire.HashOf(plain)
	m.cases[name] = sealedVector{outcome: outcome{comment, "success", ""}, Identity: m.text(ids[len(ids)-1]), File: name + ".age",
		Statement: &statementVector{sum.HeaderHash, sum.Root, sum.Size, int64(sum.Recipients)}, Plain: &hash}
	return sum
}

// bad adds a case that differs from another in what change does.
func (m vectorMaker) bad(name, from, comment, expect, check string, change func(*sealedVector)) {
	v := m.cases[from]
	v.outcome, v.Plain = outcome{comment, expect, check}, nil
	if v.Statement != nil {
		copied := *v.Statement
		v.Statement = &copied
	}
	change(&v)
	m.cases[name] = v
}

func makeSealedVectors(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 2)
	m := vectorMaker{t, map[string]sealedVector{}, map[string][]byte{}}
	hybrid, second, x25519 := identity(t, seal.Data), identity(t, seal.Result), classic(t)
	m.good("hybrid", "One hybrid recipient.", []byte("patient,radius\n1,17.99\n"), hybrid)
	m.good("hybrid-two", "Two hybrid recipients; opened by the second.", []byte("patient,radius\n"), hybrid, second)
	m.good("empty", "An empty plaintext is one empty chunk.", nil, x25519)
	m.good("whole-chunk", "The last chunk is a whole one.", pattern(65536), x25519)
	sum := m.good("two-chunks", "Two chunks, the second of 10 bytes.", pattern(65546), x25519)
	start := len(sum.Header) + 16
	makeBadCases(m, sum, start)

	// A former reader's forgery: another payload under the same header.
	file := m.files["two-chunks.age"]
	key, _, err := unwrap(file, []*seal.Identity{x25519})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := key.MarshalSecret()
	if err != nil {
		t.Fatal(err)
	}
	m.files["forged.age"] = append(bytes.Clone(file[:start]), encrypt(t, raw, file[start-16:start], make([]byte, 65546), 0)...)
	m.bad("forged", "two-chunks", "Another payload under the same header, by someone who has the file key.", "invalid evidence", "sealed.root",
		func(v *sealedVector) { v.File = "forged.age" })

	writeVectors(t, "sealed", m.cases)
	for name, data := range m.files {
		if err := os.WriteFile(filepath.Join(vectorDir("sealed"), name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func makeBadCases(m vectorMaker, sum seal.Summary, start int) {
	at := func(n int) *int { return &n }
	const invalid = "invalid evidence"
	bare := func(change func(*sealedVector)) func(*sealedVector) {
		return func(v *sealedVector) { v.Statement = nil; change(v) }
	}
	m.bad("other-identity", "hybrid", "Sealed to others only.", "refused", "sealed.recipient",
		bare(func(v *sealedVector) { v.Identity = m.cases["two-chunks"].Identity }))
	m.bad("header-altered", "two-chunks", "A bit of the header's MAC differs.", invalid, "sealed.mac",
		bare(func(v *sealedVector) { v.Flip = at(len(sum.Header) - 10) }))
	m.bad("header-cut", "two-chunks", "The file ends inside its header.", invalid, "sealed.truncated",
		bare(func(v *sealedVector) { v.Cut = at(len(sum.Header) - 1) }))
	m.bad("nonce-cut", "two-chunks", "The file ends inside its nonce.", invalid, "sealed.truncated",
		bare(func(v *sealedVector) { v.Cut = at(start - 1) }))
	m.bad("no-chunk", "two-chunks", "The file ends behind its nonce.", invalid, "sealed.truncated",
		bare(func(v *sealedVector) { v.Cut = at(start) }))
	m.bad("cut-at-chunk", "two-chunks", "The file ends behind a chunk that is not the last.", invalid, "sealed.truncated",
		bare(func(v *sealedVector) { v.Cut = at(start + seal.SealedChunk) }))
	m.bad("cut-in-chunk", "two-chunks", "The file ends inside its last chunk.", invalid, "sealed.chunk",
		bare(func(v *sealedVector) { v.Cut = at(int(sum.Size) - 1) }))
	m.bad("nonce-altered", "two-chunks", "A bit of the nonce differs.", invalid, "sealed.chunk",
		bare(func(v *sealedVector) { v.Flip = at(start - 1) }))
	m.bad("chunk-altered", "two-chunks", "A bit of the first chunk differs.", invalid, "sealed.chunk",
		bare(func(v *sealedVector) { v.Flip = at(start + 1000) }))
	m.bad("tag-altered", "two-chunks", "A bit of the last chunk's tag differs.", invalid, "sealed.chunk",
		bare(func(v *sealedVector) { v.Flip = at(int(sum.Size) - 1) }))
	m.bad("byte-appended", "two-chunks", "A byte follows the last chunk.", invalid, "sealed.chunk",
		bare(func(v *sealedVector) { v.Append = []byte{0} }))
	m.bad("statement-header", "two-chunks", "The statement names another header.", invalid, "sealed.header",
		func(v *sealedVector) { v.Statement.Header[0] ^= 1 })
	m.bad("statement-root", "two-chunks", "The statement names another root.", invalid, "sealed.root",
		func(v *sealedVector) { v.Statement.Root[0] ^= 1 })
	m.bad("statement-recipients", "two-chunks", "The statement counts one recipient more.", invalid, "sealed.recipients",
		func(v *sealedVector) { v.Statement.Recipients++ })
	m.bad("statement-size", "two-chunks", "The file is cut against its statement.", invalid, "sealed.size",
		func(v *sealedVector) { v.Cut = at(int(sum.Size) - 1) })
	m.bad("statement-more", "two-chunks", "The file goes on behind the statement's size.", invalid, "sealed.size",
		func(v *sealedVector) { v.Append = []byte{0} })
	m.bad("statement-other-file", "two-chunks", "Another file of the same owner under the statement.", invalid, "sealed.header",
		func(v *sealedVector) { v.File = "whole-chunk.age" })
	m.bad("statement-zero", "two-chunks", "A statement without a root.", "refused", "sealed.statement",
		func(v *sealedVector) { v.Statement.Root = wire.Hash{} })
}

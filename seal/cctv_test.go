package seal_test

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	agetest "c2sp.org/CCTV/age"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
)

// cctv is one of the age community's test vectors.
type cctv struct {
	expect      string
	payload     [32]byte // SHA-256 of the plaintext a reader of a stream gives out
	ids         []*seal.Identity
	passphrase  bool
	armored     bool
	file        []byte
	description string
}

func parseCCTV(t *testing.T, test []byte) (v cctv) {
	t.Helper()
	head, file, found := bytes.Cut(test, []byte("\n\n"))
	if !found {
		t.Fatal("no file in the vector")
	}
	v.file = file
	for line := range strings.Lines(string(head)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch key {
		case "expect":
			v.expect = value
		case "payload":
			b, err := hex.DecodeString(value)
			if err != nil {
				t.Fatal(err)
			}
			v.payload = [32]byte(b)
		case "identity":
			id, err := seal.ParseIdentityFile("# purpose: data\n" + value + "\n")
			if err != nil {
				t.Fatal(err)
			}
			v.ids = append(v.ids, id)
		case "passphrase":
			v.passphrase = true
		case "armored":
			v.armored = true
		case "compressed":
			r, err := zlib.NewReader(bytes.NewReader(v.file))
			if err != nil {
				t.Fatal(err)
			}
			if v.file, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		case "comment":
			v.description = value
		case "file key":
		default:
			t.Fatalf("unknown member %q of the vector", key)
		}
	}
	if len(v.ids) == 0 {
		v.ids = []*seal.Identity{classic(t)}
	}
	return v
}

// classes are the checks that may refuse a vector of each expected failure.
var classes = map[string][]string{
	"HMAC failure":    {"sealed.mac"},
	"no match":        {"sealed.recipient"},
	"header failure":  {"sealed.header", "sealed.truncated"},
	"payload failure": {"sealed.chunk", "sealed.truncated", "sealed.trailing"},
}

// TestCCTV runs every vector of the age community through every way to open a file. Armor
// and passphrases are refused whatever the vector is about.
func TestCCTV(t *testing.T) {
	files, err := fs.ReadDir(agetest.Vectors, ".")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d vectors: %v", len(files), err)
	}
	for _, file := range files {
		test, err := fs.ReadFile(agetest.Vectors, file.Name())
		if err != nil {
			t.Fatal(err)
		}
		v := parseCCTV(t, test)
		for entry, open := range entries(v.ids...) {
			t.Run(file.Name()+"/"+entry, func(t *testing.T) { runCCTV(t, v, entry, open) })
		}
	}
}

func runCCTV(t *testing.T, v cctv, entry string, open opener) {
	allowed := classes[v.expect]
	switch {
	case v.armored:
		// Some vectors are about what stands before the armor.
		allowed = []string{"sealed.armor", "sealed.header"}
	case v.passphrase:
		allowed = []string{"sealed.passphrase", "sealed.header"}
		if v.expect == "no match" && strings.Contains(string(v.file), "-> Scrypt") {
			allowed = []string{"sealed.recipient"} // an unknown kind of stanza is no passphrase
		}
	}
	var out bytes.Buffer
	err := open(&out, v.file)
	if v.expect == "success" && allowed == nil {
		if err != nil || sha256.Sum256(out.Bytes()) != v.payload {
			t.Fatalf("%s: %d bytes, %v", v.description, out.Len(), err)
		}
		return
	}
	var e *verdict.Error
	if !errors.As(err, &e) || !slices.Contains(allowed, e.Check) || e.Fix == "" {
		t.Fatalf("%s: expected one of %v, got %v", v.description, allowed, err)
	}
	if v.expect != "payload failure" || v.armored {
		if out.Len() != 0 {
			t.Fatalf("%d bytes written before %v", out.Len(), err)
		}
		return
	}
	// A reader of a stream gives out every chunk before the one that fails; OpenAt sees some
	// failures before it starts.
	if got := sha256.Sum256(out.Bytes()); got != v.payload && (entry != "OpenAt" || out.Len() != 0) {
		t.Fatalf("%d bytes written before %v, not what the vector says", out.Len(), err)
	}
}

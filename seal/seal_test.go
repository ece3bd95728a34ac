package seal_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand"
	"testing"

	"filippo.io/age"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// sizes are plaintext lengths round every boundary: chunk, job, several jobs.
var sizes = []int{0, 1, 15, 16, 65535, 65536, 65537, 131072, 8*65536 - 1, 8 * 65536, 8*65536 + 1, 16 * 65536, 40*65536 + 77}

func plaintext(n int) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(b)
	return b
}

func identity(t testing.TB, p seal.Purpose) *seal.Identity {
	t.Helper()
	id, err := seal.GenerateIdentity(p)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func classic(t testing.TB) *seal.Identity {
	t.Helper()
	id, err := seal.GenerateClassicIdentity(seal.Data)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func sealed(t testing.TB, plain []byte, to ...*seal.Identity) ([]byte, seal.Summary) {
	t.Helper()
	var recipients []seal.Recipient
	for _, id := range to {
		recipients = append(recipients, id.Recipient())
	}
	var out bytes.Buffer
	sum, err := seal.Seal(&out, bytes.NewReader(plain), recipients, seal.Options{Root: true})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), sum
}

// check fails unless err is a verdict with the given check id.
func check(t testing.TB, err error, kind verdict.Kind, id string) {
	t.Helper()
	var e *verdict.Error
	if !errors.As(err, &e) || e.Check != id || e.Kind != kind {
		t.Fatalf("error %v, expected %s of kind %v", err, id, kind)
	}
}

// ageIdentity gives the identity as age's own API reads it.
func ageIdentity(t testing.TB, id *seal.Identity) age.Identity {
	t.Helper()
	text, err := id.MarshalSecret()
	if err != nil {
		t.Fatal(err)
	}
	ids, err := age.ParseIdentities(bytes.NewReader([]byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	return ids[0]
}

func TestSealAgainstAge(t *testing.T) {
	for name, id := range map[string]*seal.Identity{"hybrid": identity(t, seal.Data), "classic": classic(t)} {
		for _, n := range sizes {
			plain := plaintext(n)
			file, sum := sealed(t, plain, id)
			r, err := age.Decrypt(bytes.NewReader(file), ageIdentity(t, id))
			if err != nil {
				t.Fatalf("%s %d: %v", name, n, err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%s %d: age reads other bytes: %v", name, n, err)
			}
			if sum.Size != int64(len(file)) || sum.Plain != int64(n) || sum.Recipients != 1 || !bytes.HasPrefix(file, sum.Header) || sum.HeaderHash != wire.HashOf(sum.Header) {
				t.Fatalf("%s %d: summary is wrong: %+v", name, n, sum)
			}
		}
	}
}

func TestOpenAgainstAge(t *testing.T) {
	for name, id := range map[string]*seal.Identity{"hybrid": identity(t, seal.Data), "classic": classic(t)} {
		for _, n := range sizes {
			plain := plaintext(n)
			var file bytes.Buffer
			var to age.Recipient
			switch key := ageIdentity(t, id).(type) {
			case *age.HybridIdentity:
				to = key.Recipient()
			case *age.X25519Identity:
				to = key.Recipient()
			}
			w, err := age.Encrypt(&file, to)
			if err != nil {
				t.Fatal(err)
			}
			w.Write(plain)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			for entry, open := range entries(id) {
				var out bytes.Buffer
				if err := open(&out, file.Bytes()); err != nil || !bytes.Equal(out.Bytes(), plain) {
					t.Fatalf("%s %d %s: %v", name, n, entry, err)
				}
			}
		}
	}
}

type opener func(dst io.Writer, file []byte) error

// entries are all ways to open a file. Those that need a statement make it from the file
// itself, so that what they refuse is refused by the payload's own checks.
func entries(ids ...*seal.Identity) map[string]opener {
	return map[string]opener{
		"Open": func(dst io.Writer, file []byte) error {
			_, err := seal.Open(dst, bytes.NewReader(file), ids, seal.Options{})
			return err
		},
		"OpenAt": func(dst io.Writer, file []byte) error {
			_, err := seal.OpenAt(dst, bytes.NewReader(file), int64(len(file)), ids, seal.Options{})
			return err
		},
		"OpenWithKey": func(dst io.Writer, file []byte) error {
			key, _, err := unwrap(file, ids)
			if err != nil {
				return err
			}
			_, err = seal.OpenWithKey(dst, bytes.NewReader(file), key, seal.Options{Root: true})
			return err
		},
		"OpenVerified": func(dst io.Writer, file []byte) error {
			key, header, err := unwrap(file, ids)
			if err != nil {
				return err
			}
			want, err := statement(file, header)
			if err != nil {
				return err
			}
			_, err = seal.OpenVerified(dst, bytes.NewReader(file), key, want, seal.Options{})
			return err
		},
	}
}

func unwrap(file []byte, ids []*seal.Identity) (key *seal.FileKey, header []byte, err error) {
	if header, err = seal.ReadHeader(bytes.NewReader(file)); err != nil {
		return nil, nil, err
	}
	for _, id := range ids {
		key, err = seal.UnwrapHeader(header, id)
		if e := (*verdict.Error)(nil); !errors.As(err, &e) || e.Check != "sealed.recipient" {
			break
		}
	}
	return key, header, err
}

func statement(file, header []byte) (seal.Expectation, error) {
	root, size, err := seal.Root(bytes.NewReader(file), seal.Options{})
	if err != nil {
		return seal.Expectation{}, err
	}
	n, err := seal.CountStanzas(header)
	return seal.Expectation{Header: wire.HashOf(header), Root: root, Size: size, Recipients: int64(n)}, err
}

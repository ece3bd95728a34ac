package seal_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"strongroom.dev/seal"
)

// fuzzKey is a fixed identity of age's test vectors, so that a finding can be replayed.
const fuzzKey = "# purpose: data\nAGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0\n"

func fuzzIdentity(f *testing.F) (*seal.Identity, age.Identity) {
	id, err := seal.ParseIdentityFile(fuzzKey)
	if err != nil {
		f.Fatal(err)
	}
	return id, ageIdentity(f, id)
}

// FuzzHeader compares what is taken for a header with what age takes for one.
func FuzzHeader(f *testing.F) {
	id, theirs := fuzzIdentity(f)
	file, sum := sealed(f, []byte("plain"), id)
	f.Add(file)
	f.Add(sum.Header)
	f.Add([]byte("age-encryption.org/v1\n-> scrypt AAAA 10\nAAAA\n--- AAAA\n"))
	f.Add([]byte("-----BEGIN AGE ENCRYPTED FILE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		header, err := seal.ReadHeader(bytes.NewReader(data))
		back, ageErr := age.ExtractHeader(bytes.NewReader(data))
		if err != nil {
			if ageErr == nil && len(back) <= seal.MaxHeader && !bytes.Contains(back, []byte("\n-> scrypt")) {
				t.Fatalf("age reads a header that we refuse: %v", err)
			}
			return
		}
		if ageErr != nil || !bytes.Equal(header, back) || !bytes.HasPrefix(data, header) {
			t.Fatalf("we read a header that age doesn't: %v", ageErr)
		}
		if n, err := seal.CountStanzas(header); err != nil || n < 1 {
			t.Fatalf("%d stanzas: %v", n, err)
		}
		key, err := seal.UnwrapHeader(header, id)
		theirKey, ageErr := age.DecryptHeader(header, theirs)
		if (err == nil) != (ageErr == nil) {
			t.Fatalf("we unwrap: %v; age: %v", err, ageErr)
		}
		if err == nil {
			if raw, err := key.MarshalSecret(); err != nil || !bytes.Equal(raw, theirKey) {
				t.Fatalf("another file key: %v", err)
			}
		}
	})
}

// FuzzOpen compares what is opened, in every way, with what age opens.
func FuzzOpen(f *testing.F) {
	id, theirs := fuzzIdentity(f)
	for _, n := range []int{0, 5, 65536, 70000} {
		file, sum := sealed(f, plaintext(n), id)
		f.Add(file)
		f.Add(file[:len(sum.Header)+16])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want []byte
		r, ageErr := age.Decrypt(bytes.NewReader(data), theirs)
		if ageErr == nil {
			want, ageErr = io.ReadAll(r)
		}
		for name, open := range entries(id) {
			var out bytes.Buffer
			if err := open(&out, data); (err == nil) != (ageErr == nil) {
				t.Fatalf("%s: %v; age: %v", name, err, ageErr)
			}
			if !bytes.HasPrefix(want, out.Bytes()) || ageErr == nil && out.Len() != len(want) {
				t.Fatalf("%s gives %d bytes, age %d", name, out.Len(), len(want))
			}
		}
	})
}

// FuzzPayload puts any bytes behind a header and a nonce that are genuine: chunks built by
// whoever has the file key, in any arrangement.
func FuzzPayload(f *testing.F) {
	id, theirs := fuzzIdentity(f)
	file, sum := sealed(f, plaintext(70000), id)
	start := len(sum.Header) + 16
	f.Add(uint8(1), uint16(0), []byte{})
	f.Add(uint8(2), uint16(16), []byte("more"))
	f.Fuzz(func(t *testing.T, repeat uint8, cut uint16, more []byte) {
		data := bytes.Clone(file[:start])
		for range repeat % 4 {
			data = append(data, file[start:len(file)-min(len(file)-start, int(cut))]...)
		}
		data = append(data, more...)
		var out bytes.Buffer
		_, err := seal.Open(&out, bytes.NewReader(data), []*seal.Identity{id}, seal.Options{})
		r, ageErr := age.Decrypt(bytes.NewReader(data), theirs)
		var want []byte
		if ageErr == nil {
			want, ageErr = io.ReadAll(r)
		}
		if (err == nil) != (ageErr == nil) || !bytes.Equal(want, out.Bytes()) {
			t.Fatalf("we give %d bytes and %v; age %d and %v", out.Len(), err, len(want), ageErr)
		}
	})
}

func FuzzRecipient(f *testing.F) {
	id, _ := fuzzIdentity(f)
	f.Add(id.Recipient().String())
	f.Add("age1pq1qqqqqqqqq")
	f.Add("age1tag1qqqq")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := seal.ParseRecipient(text)
		if err == nil && r.String() != text {
			t.Fatalf("%q is read as %q", text, r)
		}
		if _, ageErr := age.ParseRecipients(strings.NewReader(text)); err == nil && ageErr != nil {
			t.Fatalf("age refuses %q: %v", text, ageErr)
		}
	})
}

func FuzzIdentityFile(f *testing.F) {
	f.Add(fuzzKey)
	f.Add("# purpose: result\n# public key: age1\nAGE-SECRET-KEY-PQ-1QQQ\n")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := seal.ParseIdentityFile(text)
		if err != nil {
			return
		}
		secret, err := id.MarshalSecret()
		if err != nil || !id.Purpose().Valid() {
			t.Fatalf("%v, %q", err, id.Purpose())
		}
		back, err := seal.ParseIdentityFile(secret)
		if err != nil || back.Recipient().String() != id.Recipient().String() || back.Purpose() != id.Purpose() {
			t.Fatalf("what it writes it doesn't read: %v", err)
		}
		if ids, err := age.ParseIdentities(strings.NewReader(text)); err != nil || len(ids) != 1 {
			t.Fatalf("age refuses the file: %v", err)
		}
	})
}

// FuzzRoot writes a file in pieces.
func FuzzRoot(f *testing.F) {
	f.Add(uint32(200000), uint16(1), uint16(65535))
	f.Add(uint32(0), uint16(0), uint16(0))
	f.Fuzz(func(t *testing.T, size uint32, a, b uint16) {
		file := pattern(int(size % (9 * seal.LeafSize)))
		h := seal.NewRootHasher()
		for rest, n := file, int(a)+1; len(rest) > 0; n = int(b)*3 + 1 {
			n = min(n, len(rest))
			h.Write(rest[:n])
			rest = rest[n:]
			a, b = b, a
		}
		if h.Sum() != merkle(file) {
			t.Fatalf("another root of %d bytes", len(file))
		}
	})
}

// pattern is the file that vectors speak of: byte i is i mod 251.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

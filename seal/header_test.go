package seal_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/age"
	"filippo.io/age/armor"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
)

// padded makes a header of exactly n bytes: that of a real file with a stanza nobody knows
// of the length that is missing.
func padded(t *testing.T, n int) []byte {
	t.Helper()
	id := classic(t)
	_, sum := sealed(t, nil, id)
	footer := bytes.Index(sum.Header, []byte("---"))
	missing := n - len(sum.Header) - len("-> x\n") - len("\n")
	body := missing / 65 * 48
	var filler strings.Builder
	filler.WriteString("-> x")
	// What whole lines don't fill, arguments do.
	if rest := missing - missing/65*65; rest > 1 {
		filler.WriteString(" " + strings.Repeat("y", rest-1))
	} else if rest == 1 {
		t.Fatalf("no header of %d bytes", n)
	}
	filler.WriteString("\n")
	for line := base64.RawStdEncoding.EncodeToString(make([]byte, body)); line != ""; line = line[64:] {
		filler.WriteString(line[:64] + "\n")
	}
	filler.WriteString("\n")
	header := bytes.Join([][]byte{sum.Header[:footer], []byte(filler.String()), sum.Header[footer:]}, nil)
	if len(header) != n {
		t.Fatalf("made %d bytes, expected %d", len(header), n)
	}
	return header
}

func TestHeaderLimit(t *testing.T) {
	for _, n := range []int{seal.MaxHeader - 1, seal.MaxHeader} {
		header := padded(t, n)
		got, err := seal.ReadHeader(bytes.NewReader(append(header, make([]byte, 100)...)))
		if err != nil || !bytes.Equal(got, header) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if stanzas, err := seal.CountStanzas(header); err != nil || stanzas != 2 {
			t.Errorf("%d stanzas: %v", stanzas, err)
		}
	}
	for _, n := range []int{seal.MaxHeader + 1, seal.MaxHeader + 80, 3 * seal.MaxHeader} {
		header := padded(t, n)
		_, err := seal.ReadHeader(bytes.NewReader(header))
		check(t, err, verdict.Refused, "sealed.header")
		_, err = seal.CheckHeader(header)
		check(t, err, verdict.Refused, "sealed.header")
	}
	// A footer that never ends.
	header := padded(t, seal.MaxHeader)
	_, err := seal.ReadHeader(bytes.NewReader(append(header[:len(header)-1], bytes.Repeat([]byte("A"), 100)...)))
	check(t, err, verdict.Refused, "sealed.header")
}

// TestReadHeaderReadsLittle gives a source that never ends.
func TestReadHeaderReadsLittle(t *testing.T) {
	endless := &countingReader{r: io.MultiReader(strings.NewReader("age-encryption.org/v1\n"), zeros{})}
	_, err := seal.ReadHeader(endless)
	check(t, err, verdict.Refused, "sealed.header")
	if endless.n > seal.MaxHeader+1 {
		t.Errorf("%d bytes read", endless.n)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func TestHeaderRefuses(t *testing.T) {
	id := classic(t)
	file, sum := sealed(t, []byte("plain"), id)
	var armored bytes.Buffer
	w := armor.NewWriter(&armored)
	w.Write(file)
	w.Close()
	passphrase, err := age.NewScryptRecipient("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	passphrase.SetWorkFactor(2)
	var scrypt bytes.Buffer
	e, err := age.Encrypt(&scrypt, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	for name, test := range map[string]struct {
		data  []byte
		kind  verdict.Kind
		check string
	}{
		"empty":      {nil, verdict.Invalid, "sealed.header"},
		"text":       {[]byte("hello\n"), verdict.Invalid, "sealed.header"},
		"armor":      {armored.Bytes(), verdict.Refused, "sealed.armor"},
		"passphrase": {scrypt.Bytes(), verdict.Refused, "sealed.passphrase"},
		"cut":        {sum.Header[:len(sum.Header)-1], verdict.Invalid, "sealed.truncated"},
		"no stanza":  {[]byte("age-encryption.org/v1\n--- WyJp9F/9FOZh7gJdheq2WIJcwHgYc8NIVh3ddwhrcNg\n"), verdict.Invalid, "sealed.header"},
	} {
		_, err := seal.ReadHeader(bytes.NewReader(test.data))
		t.Run(name, func(t *testing.T) { check(t, err, test.kind, test.check) })
	}
	// A header that travels alone is nothing but the header.
	_, err = seal.CheckHeader(file)
	check(t, err, verdict.Invalid, "sealed.header")
	_, err = seal.UnwrapHeader(file, id)
	check(t, err, verdict.Invalid, "sealed.header")
	broken := errors.New("broken disk")
	_, err = seal.ReadHeader(iotest.ErrReader(broken))
	check(t, err, verdict.Broken, "sealed.read")
	if !errors.Is(err, broken) {
		t.Error("the cause is lost")
	}
}

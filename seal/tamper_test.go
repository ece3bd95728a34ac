package seal_test

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"slices"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
)

// chunks is a file of 40 chunks, that is several jobs, and a bit.
const chunks = 40

type victim struct {
	id    *seal.Identity
	plain []byte
	file  []byte
	want  seal.Expectation
	start int // of the first chunk
}

func newVictim(t *testing.T) victim {
	v := victim{id: classic(t), plain: plaintext(chunks*65536 + 77)}
	file, sum := sealed(t, v.plain, v.id)
	v.file, v.start = file, len(sum.Header)+16
	v.want = seal.Expectation{Header: sum.HeaderHash, Root: sum.Root, Size: sum.Size, Recipients: 1}
	return v
}

// openers are all entries, and the one that holds the file against the statement of the
// file that was sealed.
func (v victim) openers() map[string]opener {
	all := entries(v.id)
	all["the owner's statement"] = v.verified
	return all
}

func (v victim) verified(dst io.Writer, file []byte) error {
	key, err := seal.UnwrapHeader(v.file[:v.start-16], v.id)
	if err != nil {
		return err
	}
	_, err = seal.OpenVerified(dst, bytes.NewReader(file), key, v.want, seal.Options{})
	return err
}

// refused fails unless every way to open file is refused with a verdict of invalid
// evidence, and gives out nothing but a beginning of the plaintext.
func (v victim) refused(t *testing.T, what string, file []byte) {
	t.Helper()
	for entry, open := range v.openers() {
		var out bytes.Buffer
		err := open(&out, file)
		var e *verdict.Error
		if !errors.As(err, &e) {
			t.Fatalf("%s, %s: %d bytes, error %v", what, entry, out.Len(), err)
		}
		if !bytes.HasPrefix(v.plain, out.Bytes()) {
			t.Fatalf("%s, %s: bytes given out that were never sealed", what, entry)
		}
		if entry == "OpenAt" && e.Check == "sealed.truncated" && out.Len() > 0 {
			t.Fatalf("%s, %s: %d bytes given out of a cut file", what, entry, out.Len())
		}
	}
}

func TestTruncated(t *testing.T) {
	v := newVictim(t)
	for i := range chunks + 1 {
		v.refused(t, fmt.Sprintf("cut at chunk %d", i), v.file[:v.start+i*seal.SealedChunk])
	}
	r := rand.New(rand.NewSource(1))
	for range 60 {
		n := r.Intn(len(v.file))
		v.refused(t, fmt.Sprintf("cut at byte %d", n), v.file[:n])
	}
	for n := range v.start + 20 {
		v.refused(t, fmt.Sprintf("cut at byte %d", n), v.file[:n])
	}
}

func TestAltered(t *testing.T) {
	v := newVictim(t)
	r := rand.New(rand.NewSource(2))
	var places []int
	for i := range v.start {
		places = append(places, i) // every byte of header and nonce
	}
	for i := range chunks + 1 { // both ends of every chunk
		places = append(places, v.start+i*seal.SealedChunk, min(len(v.file), v.start+(i+1)*seal.SealedChunk)-1)
	}
	for range 40 {
		places = append(places, r.Intn(len(v.file)))
	}
	for _, i := range places {
		file := bytes.Clone(v.file)
		file[i] ^= 1 << r.Intn(8)
		v.refused(t, fmt.Sprintf("byte %d altered", i), file)
	}
}

func TestAppended(t *testing.T) {
	v := newVictim(t)
	for _, more := range [][]byte{{0}, make([]byte, 15), make([]byte, 16), v.file[v.start : v.start+seal.SealedChunk], v.file} {
		v.refused(t, fmt.Sprintf("%d bytes appended", len(more)), append(bytes.Clone(v.file), more...))
	}
	// A last chunk that is whole, and the last of a job: nothing but the end of the file
	// tells that it is the last.
	v.plain = plaintext(seal.JobChunks * 65536)
	file, sum := sealed(t, v.plain, v.id)
	v.file, v.start = file, len(sum.Header)+16
	v.want = seal.Expectation{Header: sum.HeaderHash, Root: sum.Root, Size: sum.Size, Recipients: 1}
	for entry, open := range v.openers() {
		if err := open(io.Discard, v.file); err != nil {
			t.Fatalf("%s: %v", entry, err)
		}
	}
	for _, more := range [][]byte{{0}, make([]byte, 16), v.file[v.start : v.start+seal.SealedChunk]} {
		v.refused(t, fmt.Sprintf("%d bytes appended to a whole chunk", len(more)), append(bytes.Clone(v.file), more...))
	}
	check(t, entries(v.id)["Open"](io.Discard, append(bytes.Clone(v.file), 0)), verdict.Invalid, "sealed.trailing")
}

func TestChunksMoved(t *testing.T) {
	v := newVictim(t)
	part := func(i int) []byte { return v.file[v.start+i*seal.SealedChunk:][:seal.SealedChunk] }
	swapped := bytes.Clone(v.file)
	copy(swapped[v.start:], part(17))
	copy(swapped[v.start+17*seal.SealedChunk:], part(0))
	v.refused(t, "two chunks swapped", swapped)
	v.refused(t, "a chunk left out", slices.Concat(v.file[:v.start+3*seal.SealedChunk], v.file[v.start+4*seal.SealedChunk:]))
	v.refused(t, "a chunk twice", slices.Concat(v.file[:v.start+4*seal.SealedChunk], v.file[v.start+3*seal.SealedChunk:]))
	v.refused(t, "only the last chunk", slices.Concat(v.file[:v.start], v.file[v.start+chunks*seal.SealedChunk:]))
}

func TestStatement(t *testing.T) {
	v := newVictim(t)
	if err := v.verified(io.Discard, v.file); err != nil {
		t.Fatal(err)
	}
	other, _ := sealed(t, v.plain, v.id)
	check(t, v.verified(io.Discard, other), verdict.Invalid, "sealed.header")
	check(t, v.verified(io.Discard, v.file[:len(v.file)-1]), verdict.Invalid, "sealed.size")
	check(t, v.verified(io.Discard, append(bytes.Clone(v.file), 0)), verdict.Invalid, "sealed.size")
	check(t, v.verified(io.Discard, append(bytes.Clone(v.file), v.file...)), verdict.Invalid, "sealed.size")
	flipped := bytes.Clone(v.file)
	flipped[len(flipped)/2]++
	check(t, v.verified(io.Discard, flipped), verdict.Invalid, "sealed.chunk")

	want := v.want
	for name, change := range map[string]func(){
		"header":     func() { v.want.Header = seal.Expectation{}.Header },
		"root":       func() { v.want.Root = seal.Expectation{}.Root },
		"size":       func() { v.want.Size = 0 },
		"recipients": func() { v.want.Recipients = 0 },
	} {
		change()
		var out bytes.Buffer
		err := v.verified(&out, v.file)
		if out.Len() > 0 {
			t.Errorf("plaintext without %s in the statement", name)
		}
		check(t, err, verdict.Refused, "sealed.statement")
		v.want = want
	}
	v.want.Root[31]++
	check(t, v.verified(io.Discard, v.file), verdict.Invalid, "sealed.root")
	v.want = want
	v.want.Recipients = 2
	check(t, v.verified(io.Discard, v.file), verdict.Invalid, "sealed.recipients")
}

// TestForgedPayload has a former reader, who knows the file key, write another payload of
// the same length behind the same header: every chunk is authentic, and only the root tells.
func TestForgedPayload(t *testing.T) {
	v := newVictim(t)
	key, err := seal.UnwrapHeader(v.file[:v.start-16], v.id)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := key.MarshalSecret()
	if err != nil {
		t.Fatal(err)
	}
	forged := append(bytes.Clone(v.file[:v.start]), encrypt(t, raw, v.file[v.start-16:v.start], plaintext(len(v.plain)-1), 0)...)
	check(t, v.verified(io.Discard, forged), verdict.Invalid, "sealed.size")
	forged = append(bytes.Clone(v.file[:v.start]), encrypt(t, raw, v.file[v.start-16:v.start], make([]byte, len(v.plain)), 0)...)
	if err := entries(v.id)["Open"](io.Discard, forged); err != nil {
		t.Fatalf("the forgery is not good enough for the test: %v", err)
	}
	check(t, v.verified(io.Discard, forged), verdict.Invalid, "sealed.root")
}

// encrypt is a payload's chunks, written the plain way.
func encrypt(t *testing.T, fileKey, nonce, plain []byte, from byte) (out []byte) {
	key, err := hkdf.Key(sha256.New, fileKey, nonce, "payload", 32)
	if err != nil {
		t.Fatal(err)
	}
	var aead cipher.AEAD
	if aead, err = chacha20poly1305.New(key); err != nil {
		t.Fatal(err)
	}
	counter := make([]byte, 12)
	counter[10] = from
	for len(plain) > 65536 {
		out = aead.Seal(out, counter, plain[:65536], nil)
		plain = plain[65536:]
		counter[10]++ // enough for 256 chunks
	}
	counter[11] = 1
	return aead.Seal(out, counter, plain, nil)
}

func TestKeyOfAnotherFile(t *testing.T) {
	id := identity(t, seal.Data)
	one, _ := sealed(t, []byte("one"), id)
	two, _ := sealed(t, []byte("two"), id)
	key, _, err := unwrap(one, []*seal.Identity{id})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	_, err = seal.OpenWithKey(&out, bytes.NewReader(two), key, seal.Options{})
	check(t, err, verdict.Invalid, "sealed.mac")
	header, _ := seal.ReadHeader(bytes.NewReader(two))
	want, err := statement(two, header)
	if err != nil {
		t.Fatal(err)
	}
	_, err = seal.OpenVerified(&out, bytes.NewReader(two), key, want, seal.Options{})
	check(t, err, verdict.Invalid, "sealed.mac")
	if out.Len() > 0 {
		t.Error("plaintext under the wrong key")
	}
	key.Wipe()
	_, err = seal.OpenWithKey(&out, bytes.NewReader(one), key, seal.Options{})
	check(t, err, verdict.Refused, "sealed.key")
}

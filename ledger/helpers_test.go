package ledger_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"

	"crypto/ed25519"

	"golang.org/x/mod/sumdb/tlog"
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// secretOf is the key file of a test's log: its seed is a hash of the name.
func secretOf(name string) string {
	seed := wire.SHA256("strongroom/test/log", []byte(name))
	public := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	id := wire.HashOf(append([]byte(name+"\n\x01"), public...))
	return fmt.Sprintf("PRIVATE+KEY+%s+%x+%s", name, id[:4], base64.StdEncoding.EncodeToString(append([]byte{1}, seed[:]...)))
}

func signerOf(name string) *ledger.Signer { return must(ledger.ParseSigner(secretOf(name))) }

func keyOf(name string) string { return signerOf(name).Verifier() }

// witnessKeyOf is the same key under the signature type of witnesses.
func witnessKeyOf(name string) string {
	seed := wire.SHA256("strongroom/test/log", []byte(name))
	public := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	id := wire.HashOf(append([]byte(name+"\n\x04"), public...))
	return fmt.Sprintf("%s+%x+%s", name, id[:4], base64.StdEncoding.EncodeToString(append([]byte{4}, public...)))
}

// memory is a log in memory.
type memory struct {
	signer  *ledger.Signer
	entries [][]byte
	hashes  []tlog.Hash
}

func (m *memory) ReadHashes(indexes []int64) (out []tlog.Hash, err error) {
	for _, i := range indexes {
		out = append(out, m.hashes[i])
	}
	return out, nil
}

func newMemory(name string, entries int) *memory {
	m := &memory{signer: signerOf(name)}
	for i := range entries {
		m.add(testEntry(i))
	}
	return m
}

func (m *memory) add(entry []byte) {
	m.hashes = append(m.hashes, must(tlog.StoredHashes(int64(len(m.entries)), entry, m))...)
	m.entries = append(m.entries, entry)
}

func (m *memory) note(size int64) string {
	root := must(tlog.TreeHash(size, m))
	return must(m.signer.SignCheckpoint(size, wire.Hash(root)))
}

func (m *memory) checkpoint(size int64) ledger.Checkpoint {
	return must(ledger.OpenCheckpoint(m.note(size), m.signer.Verifier()))
}

func (m *memory) receipt(index, size int64) ledger.Receipt {
	return ledger.Receipt{Entry: m.entries[index], Index: index, Proof: toWire(must(tlog.ProveRecord(size, index, m))), Checkpoint: m.note(size)}
}

func (m *memory) consistency(from, to int64) []wire.Hash {
	if from == 0 || from == to {
		return []wire.Hash{}
	}
	return toWire(must(tlog.ProveTree(to, from, m)))
}

func toWire(in []tlog.Hash) []wire.Hash {
	out := make([]wire.Hash, len(in))
	for i, h := range in {
		out[i] = wire.Hash(h)
	}
	return out
}

func testEntry(i int) []byte {
	agreement := wire.SHA384("strongroom/test/agreement")
	return must(ledger.Entry{Kind: "test", TimeMS: 1795500000000 + int64(i), Agreement: &agreement, Public: fmt.Appendf(nil, `{"number":%d}`, i)}.Encode())
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// cosign adds cosignatures of the named witnesses.
func cosign(note string, names ...string) string {
	c := must(ledger.ReadCheckpoint(note))
	for _, n := range names {
		note = must(ledger.AddSignatures(note, must(signerOf(n).Cosign(c, noon))))
	}
	return note
}

func witness(name string) ledger.Witness { return ledger.Witness{Name: "w", Key: keyOf(name)} }

// class gives what an error is to a caller: "success", or its kind and check.
func class(err error) (expect, check string) {
	if err == nil {
		return "success", ""
	}
	var e *verdict.Error
	if !errors.As(err, &e) {
		return "unexplained: " + err.Error(), ""
	}
	return e.Kind.String(), e.Check
}

func wantClass(t *testing.T, err error, expect, check string) {
	t.Helper()
	if gotExpect, gotCheck := class(err); gotExpect != expect || gotCheck != check {
		t.Errorf("%v: expected %s %s", err, expect, check)
	}
}

// rawSignature is a log's signature line over a text that may be no checkpoint.
func rawSignature(name, text string) string { return signerOf(name).SignText(text) }

// retimed changes the time in a note's last signature, a cosignature.
func retimed(note string) string {
	head, line, _ := cutLast(note)
	name, encoded, _ := cutSpace(line)
	raw := must(base64.StdEncoding.DecodeString(encoded))
	raw[11]++
	return head + name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
}

func cutLast(note string) (head, line string, ok bool) {
	i := len(note) - 2
	for note[i] != '\n' {
		i--
	}
	return note[:i+1], note[i+1 : len(note)-1], true
}

func cutSpace(line string) (name, encoded string, ok bool) {
	i := len(line) - 1
	for line[i] != ' ' {
		i--
	}
	return line[:i], line[i+1:], true
}

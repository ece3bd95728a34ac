package reference_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/reference"
	"strongroom.dev/wire"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func testKey(name string) *keys.SigningKey {
	seed := wire.SHA256("strongroom/test/key", []byte(name))
	return must(keys.ParseSigningKey("STRONGROOM-SIGNING-KEY-1:ed25519:" + base64.StdEncoding.EncodeToString(seed[:]) + "\n"))
}

func public(names ...string) []keys.PublicKey {
	var out []keys.PublicKey
	for _, n := range names {
		out = append(out, testKey(n).Public())
	}
	return out
}

func moment(text string) wire.Time { return wire.At(must(time.Parse(time.RFC3339, text))) }

// memory is a log in memory.
type memory struct {
	signer *ledger.Signer
	size   int64
	hashes []tlog.Hash
}

func (m *memory) ReadHashes(indexes []int64) (out []tlog.Hash, err error) {
	for _, i := range indexes {
		out = append(out, m.hashes[i])
	}
	return out, nil
}

// newLog is a log whose seed is a hash of its name, with two entries of another kind in it.
func newLog(name string) *memory {
	seed := wire.SHA256("strongroom/test/log", []byte(name))
	pub := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	id := wire.HashOf(append([]byte(name+"\n\x01"), pub...))
	secret := fmt.Sprintf("PRIVATE+KEY+%s+%x+%s", name, id[:4], base64.StdEncoding.EncodeToString(append([]byte{1}, seed[:]...)))
	m := &memory{signer: must(ledger.ParseSigner(secret))}
	for range 2 {
		m.receipt(ledger.Entry{Kind: "publish", TimeMS: 1, Public: []byte(`{}`)})
	}
	return m
}

// receipt records an entry and proves it.
func (m *memory) receipt(e ledger.Entry) *ledger.Receipt {
	data := must(e.Encode())
	m.hashes = append(m.hashes, must(tlog.StoredHashes(m.size, data, m))...)
	index := m.size
	m.size++
	r := &ledger.Receipt{Entry: data, Index: index, Proof: []wire.Hash{}, Checkpoint: must(m.signer.SignCheckpoint(m.size, wire.Hash(must(tlog.TreeHash(m.size, m)))))}
	for _, h := range must(tlog.ProveRecord(m.size, index, m)) {
		r.Proof = append(r.Proof, wire.Hash(h))
	}
	return r
}

func hex48(digit string) string { return strings.Repeat(digit, 96) }

func testValues() reference.Values {
	return reference.Values{
		Product: "room", Version: 7, SecurityVersion: 3, Created: moment("2026-11-01T00:00:00Z"), Expires: moment("2027-04-30T00:00:00Z"),
		Groups: []reference.Group{
			{Name: "four-cpus", Platform: "snp", Measurements: map[string]string{"measurement": hex48("a")}},
			{Name: "eight-cpus", Platform: "snp", Measurements: map[string]string{"measurement": hex48("b")}},
			{Name: "four-cpus", Platform: "tdx", Measurements: map[string]string{"mrtd": hex48("c"), "rtmr0": hex48("d"), "rtmr1": hex48("e")},
				Claims: map[string]string{"td_attributes": "0000001000000000"}, Minimum: map[string]int64{"tdx_components[0]": 6}},
		},
	}
}

// signed makes a set of any values, also of those that Document refuses.
func signed(v any, signers ...string) *reference.Published {
	p := &reference.Published{Document: must(keys.NewDocument(reference.Type, v))}
	if values, ok := v.(reference.Values); ok {
		p.Values = values
	}
	for _, s := range signers {
		if err := p.Document.Sign(testKey(s)); err != nil {
			panic(err)
		}
	}
	return p
}

func logged(p *reference.Published, log string) *reference.Published {
	p.Receipt = newLog(log).receipt(must(p.Entry(moment("2026-11-02T00:00:00Z").Time())))
	return p
}

const testLog = "releases.example/log"

func good() *reference.Published { return logged(signed(testValues(), "one", "two"), testLog) }

func text(p *reference.Published) string { return string(must(p.Encode())) }

func testLine() reference.Line {
	return reference.Line{Product: "room", Keys: public("one", "two", "three"), Threshold: 2, LeastSecurityVersion: 3, Log: newLog(testLog).signer.Verifier()}
}

var now = moment("2026-11-24T09:30:00Z").Time() // constant: the time of most tests

package ledger_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/ledger"
	"strongroom.dev/wire"
)

var update = flag.Bool("update", false, "write the vectors again")

// vector is one case of spec/vectors/ledger. Kind says which members there are: entry,
// checkpoint, cosignature, consistency, receipt, witnessed or add-checkpoint.
type vector struct {
	Comment string `json:"comment"`
	Kind    string `json:"kind"`
	// Expect is "success" or the class of failure: usage, refused, invalid evidence. Check
	// names the check that fails.
	Expect string `json:"expect"`
	Check  string `json:"check,omitempty"`

	Entry     string           `json:"entry,omitempty"` // the bytes, as text
	Leaf      *wire.Hash       `json:"leaf,omitempty"`
	Secret    string           `json:"secret,omitempty"` // key file that made the note
	Key       string           `json:"key,omitempty"`    // the log's verifier key
	Note      string           `json:"note,omitempty"`
	Origin    string           `json:"origin,omitempty"`
	Size      int64            `json:"size,omitempty"`
	Root      *wire.Hash       `json:"root,omitempty"`
	Witnesses []ledger.Witness `json:"witnesses,omitempty"`
	Quorum    int              `json:"quorum,omitempty"`
	Time      int64            `json:"time,omitempty"` // of the cosignature or statement, Unix seconds
	Old       string           `json:"old,omitempty"`  // the older checkpoint
	OldSize   int64            `json:"old_size,omitempty"`
	Proof     []wire.Hash      `json:"proof,omitempty"`
	Receipt   *ledger.Receipt  `json:"receipt,omitempty"`
	Nonce     *wire.Hash       `json:"nonce,omitempty"`
	Body      string           `json:"body,omitempty"`

	name string
}

const vectorDir = "../spec/vectors/ledger"

func vectors() []vector {
	return slices.Concat(entryVectors(), checkpointVectors(), cosignatureVectors(), consistencyVectors(), receiptVectors(), witnessedVectors(), requestVectors())
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	var names []string
	for _, want := range vectors() {
		names = append(names, want.name+".json")
		t.Run(want.name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(vectorDir, want.name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var v vector
			dec := json.NewDecoder(bytes.NewReader(data))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&v); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want.encode()), string(data)); diff != "" {
				t.Errorf("the file is not what this code makes (-update writes it):\n%s", diff)
			}
			run(t, v)
		})
	}
	files, err := filepath.Glob(filepath.Join(vectorDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains(names, filepath.Base(f)) {
			t.Errorf("%s belongs to no case", f)
		}
	}
}

func (v vector) encode() []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func writeVectors(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(vectorDir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(vectorDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors() {
		if err := os.WriteFile(filepath.Join(vectorDir, v.name+".json"), v.encode(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// run does what a verifier does with a vector.
func run(t *testing.T, v vector) {
	t.Helper()
	var err error
	switch v.Kind {
	case "entry":
		err = runEntry(t, v)
	case "checkpoint":
		err = runCheckpoint(t, v)
	case "cosignature":
		var c ledger.Checkpoint
		if c, err = ledger.OpenCheckpoint(v.Note, v.Key); err == nil {
			var have []ledger.Cosignature
			have, err = ledger.Cosignatures(c, v.Witnesses)
			if err == nil && (len(have) != v.Quorum || v.Quorum > 0 && have[0].Time.Unix() != v.Time) {
				t.Errorf("cosignatures %v, expected %d at %d", have, v.Quorum, v.Time)
			}
		}
	case "consistency":
		err = ledger.CheckConsistency(v.Proof, must(ledger.OpenCheckpoint(v.Old, v.Key)), must(ledger.OpenCheckpoint(v.Note, v.Key)))
	case "receipt":
		_, _, err = v.Receipt.Verify(v.Key, v.Witnesses, v.Quorum)
	case "witnessed":
		var w ledger.Witnessed
		w, err = ledger.OpenWitnessed(v.Note, v.Key, *v.Nonce, v.Origin)
		if err == nil && (w.Known != (v.Root != nil) || w.Size != v.Size || w.Time.Unix() != v.Time) {
			t.Errorf("statement says %+v", w)
		}
	case "add-checkpoint":
		var a ledger.AddCheckpoint
		a, err = ledger.ParseAddCheckpoint(v.Body)
		if err == nil && (a.Old != v.OldSize || a.Checkpoint != v.Note || len(a.Proof) != len(v.Proof) || a.Text() != v.Body) {
			t.Errorf("request %+v", a)
		}
	default:
		t.Fatalf("unknown kind %q", v.Kind)
	}
	wantClass(t, err, v.Expect, v.Check)
}

func runEntry(t *testing.T, v vector) error {
	e, err := ledger.ParseEntry([]byte(v.Entry))
	if err != nil {
		return err
	}
	if back := must(e.Encode()); string(back) != v.Entry {
		t.Errorf("the entry is written back as %s", back)
	}
	if leaf := ledger.LeafHash([]byte(v.Entry)); leaf != *v.Leaf {
		t.Errorf("leaf hash %s, expected %s", leaf, v.Leaf)
	}
	return nil
}

func runCheckpoint(t *testing.T, v vector) error {
	c, err := ledger.OpenCheckpoint(v.Note, v.Key)
	if err != nil {
		return err
	}
	if c.Origin != v.Origin || c.Size != v.Size || c.Root != *v.Root {
		t.Errorf("checkpoint %+v", c)
	}
	if v.Secret == "" {
		return nil
	}
	signer := must(ledger.ParseSigner(v.Secret))
	if made := must(signer.SignCheckpoint(v.Size, *v.Root)); made != v.Note || signer.Verifier() != v.Key {
		t.Errorf("the key makes\n%sand is\n%s", made, signer.Verifier())
	}
	return nil
}

func entryVectors() (out []vector) {
	add := func(name, comment, entry string) {
		v := vector{name: "entry-" + name, Comment: comment, Kind: "entry", Entry: entry}
		if v.Expect, v.Check = class(parsed(entry)); v.Expect == "success" {
			leaf := ledger.LeafHash([]byte(entry))
			v.Leaf = &leaf
		}
		out = append(out, v)
	}
	d, r := wire.SHA384("strongroom/test/agreement"), wire.SHA384("strongroom/test/run")
	full := string(must(ledger.Entry{Kind: "grant", TimeMS: 1795500000000, Agreement: &d, Run: &r, RunID: strings.Repeat("0f", 16), Public: []byte(`{"release_id":"x"}`),
		Sealed: []ledger.SealedPart{{Party: "alpha", Sealed: []byte("age")}, {Party: "beta", Sealed: []byte("age")}}}.Encode()))
	least := string(must(ledger.Entry{Kind: "confirm", TimeMS: 1, Public: []byte(`{}`)}.Encode()))
	replace := func(s, old, new string) string {
		if !strings.Contains(s, old) {
			panic(old)
		}
		return strings.Replace(s, old, new, 1)
	}
	add("full", "Every member.", full)
	add("least", "No more than must be.", least)
	add("format", "Another version of the format.", replace(least, "entry/v1", "entry/v2"))
	add("no-format", "No format.", replace(least, `"format":"strongroom/entry/v1",`, ""))
	add("kind", "A kind that is not a name.", replace(least, "confirm", "Confirm"))
	add("time-zero", "No time.", replace(least, `"time_ms":1`, `"time_ms":0`))
	add("time-far", "A time after the year 9999.", replace(least, `"time_ms":1`, `"time_ms":253402300800000`))
	add("public-list", "A public part that is not an object.", replace(least, `"public":{}`, `"public":[]`))
	add("public-null", "A public part that is null.", replace(least, `"public":{}`, `"public":null`))
	add("run-id-upper", "A run id in upper case.", replace(full, "0f0f", "0F0F"))
	add("run-id-short", "A run id of 30 digits.", replace(full, strings.Repeat("0f", 16), strings.Repeat("0f", 15)))
	add("sealed-empty", "An empty list in place of no member.", replace(least, `"public":{}`, `"public":{},"sealed":[]`))
	add("sealed-twice", "Two sealed parts for one owner.", replace(full, "beta", "alpha"))
	add("sealed-nothing", "A sealed part of no bytes.", replace(full, `"YWdl"`, `""`))
	add("agreement-null", "A digest that is null.", `{"agreement":null,`+least[1:])
	add("unknown-member", "A member nobody knows.", replace(least, `"kind"`, `"extra":1,"kind"`))
	add("twice", "A member that stands twice.", replace(least, `"public":{}`, `"public":{},"public":{}`))
	add("spaced", "Not in canonical form.", replace(least, `,"kind"`, `, "kind"`))
	add("newline", "A newline after the entry.", least+"\n")
	add("cut", "Cut off.", least[:len(least)-1])
	return out
}

func parsed(entry string) error {
	_, err := ledger.ParseEntry([]byte(entry))
	return err
}

// checkpointCase fills in what a verifier finds.
func checkpointCase(name, comment, note, key string) vector {
	v := vector{name: "checkpoint-" + name, Comment: comment, Kind: "checkpoint", Note: note, Key: key}
	c, err := ledger.OpenCheckpoint(note, key)
	if v.Expect, v.Check = class(err); err == nil {
		v.Origin, v.Size, v.Root = c.Origin, c.Size, &c.Root
	}
	return v
}

func checkpointVectors() (out []vector) {
	const origin = "log.example/alpha"
	m, key := newMemory(origin, 7), keyOf(origin)
	for _, size := range []int64{0, 1, 7} {
		v := checkpointCase(map[int64]string{0: "empty", 1: "one", 7: "seven"}[size], "As the key makes it.", m.note(size), key)
		v.Secret = secretOf(origin)
		out = append(out, v)
	}
	note := m.note(7)
	lines := strings.SplitAfter(note, "\n")
	add := func(name, comment, note string) { out = append(out, checkpointCase(name, comment, note, key)) }
	add("cosigned", "With a signature by somebody else, which is passed over.", cosign(note, "ledger.example"))
	add("size-changed", "The size was changed.", lines[0]+"6\n"+strings.Join(lines[2:], ""))
	add("root-changed", "The root was changed.", lines[0]+lines[1]+strings.SplitAfter(m.note(6), "\n")[2]+strings.Join(lines[3:], ""))
	add("unsigned", "No signature at all.", strings.Join(lines[:4], ""))
	add("others-only", "A signature by somebody else only.", must(signerOf("log.example/beta").SignCheckpoint(7, m.checkpoint(7).Root)))
	add("cosigned-only", "A witness's signature and not the log's.", strings.Join(lines[:4], "")+strings.SplitAfter(cosign(note, "ledger.example"), "\n")[5])
	add("trailing", "A byte after the signatures.", note+"x")
	add("trailing-line", "An empty line after the signatures.", note+"\n")
	add("signed-twice", "The signature stands twice.", note+lines[4])
	add("base64", "Base64 with spare bits set.", respell(note))
	add("crlf", "Lines that end in CR and LF.", strings.ReplaceAll(note, "\n", "\r\n"))
	out = append(out, signedText("extension", "An extension line.", origin, lines[0]+lines[1]+lines[2]+"extra\n"),
		signedText("leading-zero", "A size with a leading zero.", origin, lines[0]+"07\n"+lines[2]),
		signedText("negative", "A negative size.", origin, lines[0]+"-1\n"+lines[2]),
		signedText("too-large", "A size above 2^53-1.", origin, lines[0]+"9007199254740992\n"+lines[2]),
		signedText("root-short", "A root of 31 bytes.", origin, lines[0]+lines[1]+"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n"),
		signedText("empty-root", "An empty tree with a root of its own.", origin, lines[0]+"0\n"+lines[2]),
		signedText("other-origin", "The log's signature under another log's name.", origin, "log.example/beta\n"+lines[1]+lines[2]))
	return out
}

// respell changes the last, unused bits of a note's last base64.
func respell(note string) string {
	i := strings.LastIndex(note, "=") - 1
	for note[i] == '=' {
		i--
	}
	return note[:i] + string(note[i]+1) + note[i+1:]
}

// signedText makes a case of a text that the log's key did sign.
func signedText(name, comment, origin, text string) vector {
	return checkpointCase(name, comment, text+"\n"+rawSignature(origin, text), keyOf(origin))
}

func cosignatureVectors() (out []vector) {
	const origin = "log.example/alpha"
	note := newMemory(origin, 7).note(7)
	add := func(name, comment, note string, count int, witnesses ...ledger.Witness) {
		v := vector{name: "cosignature-" + name, Comment: comment, Kind: "cosignature", Note: note, Key: keyOf(origin), Witnesses: witnesses, Quorum: count, Time: noon.Unix()}
		c, err := ledger.OpenCheckpoint(note, v.Key)
		if err == nil {
			_, err = ledger.Cosignatures(c, witnesses)
		}
		v.Expect, v.Check = class(err)
		out = append(out, v)
	}
	one, two := witness("ledger.example"), witness("ledger.two")
	both := cosign(note, "ledger.example", "ledger.two")
	add("one", "One witness.", cosign(note, "ledger.example"), 1, one)
	add("two", "Two witnesses.", both, 2, one, two)
	add("unknown", "Two signed, one is known.", both, 1, two)
	add("none", "Nobody signed.", note, 0, one, two)
	add("witness-key", "The witness named by its key as a witness, type 4.", cosign(note, "ledger.example"), 1, ledger.Witness{Name: "w", Key: witnessKeyOf("ledger.example")})
	add("forged", "A cosignature of another checkpoint.", must(ledger.AddSignatures(note, must(signerOf("ledger.example").Cosign(newMemory(origin, 6).checkpoint(6), noon)))), 0, one)
	add("retimed", "The time in the signature was changed.", retimed(cosign(note, "ledger.example")), 0, one)
	add("log-signature", "A witness's signature of the kind logs make, which does not count.", note+rawSignature("ledger.example", strings.SplitAfter(note, "\n\n")[0][:len(strings.SplitAfter(note, "\n\n")[0])-1]), 0, one)
	add("one-key-twice", "One witness under two names.", both, 0, one, ledger.Witness{Name: "v", Key: witnessKeyOf("ledger.example")})
	add("bad-key", "A key whose hash is wrong.", both, 0, ledger.Witness{Name: "w", Key: strings.Replace(one.Key, "+", "+0", 1)})
	return out
}

func consistencyVectors() (out []vector) {
	const origin = "log.example/alpha"
	m := newMemory(origin, 20)
	fork := newMemory(origin, 5)
	for i := 100; len(fork.entries) < 20; i++ {
		fork.add(testEntry(i))
	}
	add := func(name, comment string, old, new string, proof []wire.Hash) {
		v := vector{name: "consistency-" + name, Comment: comment, Kind: "consistency", Key: keyOf(origin), Old: old, Note: new, Proof: proof}
		v.Expect, v.Check = class(ledger.CheckConsistency(proof, must(ledger.OpenCheckpoint(old, v.Key)), must(ledger.OpenCheckpoint(new, v.Key))))
		out = append(out, v)
	}
	good := m.consistency(6, 20)
	add("grown", "A log that grew.", m.note(6), m.note(20), good)
	add("power", "From a power of two.", m.note(8), m.note(16), m.consistency(8, 16))
	add("same", "The same checkpoint.", m.note(6), m.note(6), nil)
	add("from-empty", "From an empty log.", m.note(0), m.note(20), nil)
	add("rollback", "A smaller log.", m.note(20), m.note(6), nil)
	add("rollback-empty", "An emptied log.", m.note(20), m.note(0), nil)
	add("fork-same-size", "Another root of the same size.", m.note(20), fork.note(20), nil)
	add("fork", "A log that grew out of another history.", m.note(6), fork.note(20), fork.consistency(6, 20))
	add("no-proof", "No proof.", m.note(6), m.note(20), nil)
	add("short", "A hash too few.", m.note(6), m.note(20), good[1:])
	add("long", "A hash too many.", m.note(6), m.note(20), append(slices.Clone(good), good[0]))
	add("other-sizes", "The proof of other sizes.", m.note(6), m.note(20), m.consistency(7, 20))
	add("proof-for-nothing", "A proof where there is nothing to prove.", m.note(6), m.note(6), good)
	return out
}

func receiptVectors() (out []vector) {
	const origin = "log.example/alpha"
	m := newMemory(origin, 20)
	w := []ledger.Witness{witness("ledger.example"), witness("ledger.two")}
	add := func(name, comment string, r ledger.Receipt, key string, witnesses []ledger.Witness, quorum int) {
		v := vector{name: "receipt-" + name, Comment: comment, Kind: "receipt", Receipt: &r, Key: key, Witnesses: witnesses, Quorum: quorum}
		_, _, err := r.Verify(key, witnesses, quorum)
		v.Expect, v.Check = class(err)
		out = append(out, v)
	}
	change := func(f func(*ledger.Receipt)) ledger.Receipt {
		r := m.receipt(11, 20)
		r.Checkpoint = cosign(r.Checkpoint, "ledger.example")
		f(&r)
		return r
	}
	good, key := change(func(*ledger.Receipt) {}), keyOf(origin)
	add("good", "Cosigned by one of two witnesses.", good, key, w, 1)
	add("unwitnessed", "No witness demanded.", m.receipt(0, 1), key, nil, 0)
	add("quorum", "Two witnesses demanded, one signed.", good, key, w, 2)
	add("quorum-senseless", "More witnesses demanded than named.", good, key, w, 3)
	add("quorum-negative", "A negative quorum.", good, key, w, -1)
	add("other-log", "Another log's key.", good, keyOf("log.example/beta"), w, 1)
	add("witness-as-log", "The log's key as a witness's, type 4.", good, witnessKeyOf(origin), w, 1)
	add("entry-changed", "The entry was changed.", change(func(r *ledger.Receipt) { r.Entry = testEntry(12) }), key, w, 1)
	add("index", "The index was changed.", change(func(r *ledger.Receipt) { r.Index = 10 }), key, w, 1)
	add("index-beyond", "An index beyond the checkpoint.", change(func(r *ledger.Receipt) { r.Index = 20 }), key, w, 1)
	add("index-negative", "A negative index.", change(func(r *ledger.Receipt) { r.Index = -1 }), key, w, 1)
	add("proof-short", "A hash too few.", change(func(r *ledger.Receipt) { r.Proof = r.Proof[1:] }), key, w, 1)
	add("proof-long", "A hash too many.", change(func(r *ledger.Receipt) { r.Proof = append(r.Proof, r.Proof[0]) }), key, w, 1)
	add("proof-changed", "A hash was changed.", change(func(r *ledger.Receipt) { r.Proof[2][0] ^= 1 }), key, w, 1)
	add("other-checkpoint", "The checkpoint of another size.", change(func(r *ledger.Receipt) { r.Checkpoint = cosign(m.note(19), "ledger.example") }), key, w, 1)
	add("log-unsigned", "The witness signed the checkpoint and the log did not.", change(func(r *ledger.Receipt) {
		lines := strings.SplitAfter(r.Checkpoint, "\n")
		r.Checkpoint = strings.Join(append(lines[:4:4], lines[5:]...), "")
	}), key, w, 1)
	raw := newMemory(origin, 0)
	raw.add([]byte("no entry of ours"))
	add("not-an-entry", "Genuine, but what was recorded is no entry.", raw.receipt(0, 1), key, nil, 0)
	return out
}

func witnessedVectors() (out []vector) {
	nonce, other := wire.HashOf([]byte("nonce")), wire.HashOf([]byte("another nonce"))
	signer, c := signerOf("ledger.example"), newMemory("log.example/alpha", 7).checkpoint(7)
	add := func(name, comment, note string, nonce wire.Hash, origin string) {
		v := vector{name: "witnessed-" + name, Comment: comment, Kind: "witnessed", Note: note, Key: signer.Verifier(), Nonce: &nonce, Origin: origin, Time: noon.Unix()}
		w, err := ledger.OpenWitnessed(note, v.Key, nonce, origin)
		if v.Expect, v.Check = class(err); w.Known {
			v.Size, v.Root = w.Size, &w.Root
		}
		out = append(out, v)
	}
	known := must(signer.SignWitnessed(nonce, c.Origin, &c, noon))
	none := must(signer.SignWitnessed(nonce, c.Origin, nil, noon))
	add("known", "The latest checkpoint.", known, nonce, c.Origin)
	add("none", "No checkpoint yet.", none, nonce, c.Origin)
	add("replayed", "The answer to an earlier question.", known, other, c.Origin)
	add("other-log", "The answer about another log.", known, nonce, "log.example/beta")
	add("forged", "Signed by somebody else.", must(signerOf("log.example/alpha").SignWitnessed(nonce, c.Origin, nil, noon)), nonce, c.Origin)
	add("changed", "Changed to none.", strings.Replace(known, "\n7\n", "\nnone\n", 1), nonce, c.Origin)
	add("checkpoint", "A checkpoint in place of a statement.", newMemory("ledger.example", 3).note(3), nonce, c.Origin)
	return out
}

func requestVectors() (out []vector) {
	m := newMemory("log.example/alpha", 20)
	add := func(name, comment, body string) {
		v := vector{name: "add-checkpoint-" + name, Comment: comment, Kind: "add-checkpoint", Body: body}
		a, err := ledger.ParseAddCheckpoint(body)
		if v.Expect, v.Check = class(err); err == nil {
			v.OldSize, v.Proof, v.Note = a.Old, a.Proof, a.Checkpoint
		}
		out = append(out, v)
	}
	good := ledger.AddCheckpoint{Old: 6, Proof: m.consistency(6, 20), Checkpoint: m.note(20)}.Text()
	add("good", "C2SP tlog-witness's body.", good)
	add("first", "The first checkpoint of a log.", ledger.AddCheckpoint{Checkpoint: m.note(20)}.Text())
	add("old-zero", "An old size with a leading zero.", strings.Replace(good, "old 6", "old 06", 1))
	add("no-old", "No old size.", strings.Replace(good, "old 6\n", "", 1))
	add("hash-short", "A hash of the wrong length.", strings.Replace(good, "old 6\n", "old 6\nAAAA\n", 1))
	add("no-note", "No checkpoint.", strings.SplitAfter(good, "\n\n")[0][:10])
	add("many", "More hashes than a proof can have.", strings.Replace(good, "old 6\n", "old 6\n"+strings.Repeat("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", 64), 1))
	return out
}

package verifier_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/reference"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// published is a set of reference values, signed by one release key.
func (w *world) published(key *keys.SigningKey, version int64, measurement string) []byte {
	w.t.Helper()
	doc := must(reference.Values{Product: "room-image", Version: version, SecurityVersion: 1, Created: wire.At(w.now.AddDate(0, 0, -1)), Expires: wire.At(w.now.AddDate(0, 3, 0)),
		Groups: []reference.Group{{Name: "one", Platform: "snp", Measurements: map[string]string{"measurement": measurement}}}}.Document())
	if err := doc.Sign(key); err != nil {
		w.t.Fatal(err)
	}
	return must((&reference.Published{Document: doc}).Encode())
}

// TestReferences: measurements come from signed sets, which never go back, whatever instance has
// seen them.
func TestReferences(t *testing.T) {
	w, ctx := newWorld(t, nil), context.Background()
	key := must(keys.GenerateSigningKey(keys.Ed25519))
	w.inForce(policyBy(key))
	r, _ := good(w)
	check := func(what string, sets [][]byte, check string) {
		t.Helper()
		w.renew(endorse.Set{}, sets)
		answer, err := w.Attest(ctx, r)
		if check == "" {
			if err != nil || answer.Result.Reference == nil || answer.Vector.Executables == 0 || answer.Token == "" {
				t.Errorf("%s: %+v %v", what, answer, err)
			}
			return
		}
		fails(t, what, err, verdict.Refused, check)
	}
	good1, good2, bad3 := w.published(key, 1, "aa11"), w.published(key, 2, "aa11"), w.published(key, 3, "bb22")
	check("no set", nil, "policy.reference.product")
	check("another's set", [][]byte{w.published(must(keys.GenerateSigningKey(keys.Ed25519)), 9, "aa11")}, "policy.reference.signatures")
	check("a good set", [][]byte{good1}, "")
	check("a newer one", [][]byte{good1, good2}, "")
	check("an older one, after that", [][]byte{good1}, "policy.reference.rollback")
	openAgain(t, w)
	check("and in a process that starts anew", [][]byte{good1}, "policy.reference.rollback")
	check("the newer one still is good", [][]byte{good2}, "")
	check("another of the same version", [][]byte{w.published(key, 2, "cc33")}, "policy.reference.rollback")
	check("one that has not this image", [][]byte{bad3}, "policy.reference.group")
	check("what was refused counts as seen", [][]byte{good2}, "policy.reference.rollback")

	tried := must(w.Try(ctx, "rooms", verifier.Trial{Version: 1, Evidence: []verifier.Recorded{{Evidence: r.Evidence}}}))
	if !strings.HasPrefix(verdicts(tried), "warning") && !strings.HasPrefix(verdicts(tried), "affirming") {
		t.Errorf("recorded evidence is judged by what is at hand: %s", verdicts(tried))
	}
}

// racing is a store in which another instance uses a newer set between two looks.
type racing struct {
	verifier.Store
	looks int
	newer []byte
}

func (r *racing) Get(ctx context.Context, t verifier.Table, key string) ([]byte, error) {
	if t == verifier.TableSeen {
		if r.looks++; r.looks == 2 {
			if err := r.Swap(ctx, t, key, nil, r.newer); err != nil {
				return nil, err
			}
		}
	}
	return r.Store.Get(ctx, t, key)
}

// TestReferencesOfInstances: what is judged by a set that another instance has left behind
// meanwhile is refused.
func TestReferencesOfInstances(t *testing.T) {
	race := &racing{newer: must(wire.Marshal(reference.Name{Product: "room-image", Version: 2, SecurityVersion: 1, Digest: wire.DigestOf([]byte("newer"))}))}
	w := newWorld(t, func(c *verifier.Config) { race.Store, c.Store = c.Store, race })
	key := must(keys.GenerateSigningKey(keys.Ed25519))
	w.inForce(policyBy(key))
	w.renew(endorse.Set{}, [][]byte{w.published(key, 1, "aa11")})
	r, _ := good(w)
	_, err := w.Attest(context.Background(), r)
	fails(t, "an older set than another instance's", err, verdict.Refused, "reference.rollback")
}

// policyBy takes reference values that one key has signed.
func policyBy(key *keys.SigningKey) string {
	return fmt.Sprintf("id: rooms\nversion: 1\nplatforms:\n  snp:\n    reference:\n      product: room-image\n      keys: ['%s']\n      threshold: 1\n      least_security_version: 1\n      insecure_unlogged: true\n", key.Public())
}

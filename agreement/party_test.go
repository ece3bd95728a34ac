package agreement_test

import (
	"encoding/json"
	"strings"
	"testing"

	"filippo.io/age"
	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// forged gives a document with one signature's last bytes changed.
func forged(d *keys.Document, i int) *keys.Document {
	copied := *d
	copied.Signatures = append([]keys.Signature(nil), d.Signatures...)
	changed := append(wire.Bytes(nil), copied.Signatures[i].Signature...)
	changed[len(changed)-1] ^= 1
	copied.Signatures[i].Signature = changed
	return &copied
}

// twoOfThree is a party whose descriptor needs two of three keys.
func twoOfThree(version int64, previous *wire.Digest, names ...string) agreement.Descriptor {
	d := hospital("alpha", 0)
	d.Version, d.Previous, d.Threshold, d.Keys = version, previous, 2, nil
	for _, name := range names {
		d.Keys = append(d.Keys, partyKey(name))
	}
	return d
}

type partyCase struct {
	name, comment string
	change        func(*agreement.Descriptor)
	check, where  string
}

func partyForms() []partyCase {
	return []partyCase{
		{"title-empty", "A title is for people and can't be empty.", func(d *agreement.Descriptor) { d.Title = "" }, "", "title"},
		{"title-two-lines", "A title is one line.", func(d *agreement.Descriptor) { d.Title = "Alpha\nHospital" }, "", "title"},
		{"title-bidi", "Characters that turn text round are refused.", func(d *agreement.Descriptor) { d.Title = "Alpha \u202e" }, "", "title"},
		{"title-long", "A title has at most 256 bytes.", func(d *agreement.Descriptor) { d.Title = strings.Repeat("a", 257) }, "", "title"},
		{"domain-upper", "A domain is in lower case.", func(d *agreement.Descriptor) { d.Domain = "Alpha.example" }, "", "domain"},
		{"domain-hyphen", "A label doesn't start with a hyphen.", func(d *agreement.Descriptor) { d.Domain = "-a.example" }, "", "domain"},
		{"version-zero", "Versions start at 1.", func(d *agreement.Descriptor) { d.Version = 0 }, "", "version"},
		{"version-1-previous", "Version 1 follows nothing.", func(d *agreement.Descriptor) { p := digest("p"); d.Previous = &p }, "", "previous"},
		{"version-2-no-previous", "Version 2 names the version before.", func(d *agreement.Descriptor) { d.Version = 2 }, "", "previous"},
		{"keys-none", "A party has at least one key.", func(d *agreement.Descriptor) { d.Keys = []agreement.PartyKey{} }, "", "keys"},
		{"keys-17", "A party has at most 16 keys.", func(d *agreement.Descriptor) {
			for len(d.Keys) < 17 {
				d.Keys = append(d.Keys, partyKey("k"+strings.Repeat("x", len(d.Keys))))
			}
		}, "", "keys"},
		{"keys-twice", "One key listed twice would count twice.", func(d *agreement.Descriptor) { d.Keys = append(d.Keys, d.Keys[0]) }, "", "keys[1].public"},
		{"key-period-backwards", "A key's period runs forwards.", func(d *agreement.Descriptor) { d.Keys[0].NotAfter = d.Keys[0].NotBefore }, "", "keys[0].not_after"},
		{"key-period-11-years", "A key is valid for at most 10 years.", func(d *agreement.Descriptor) { d.Keys[0].NotAfter = moment("2037-01-01T00:00:00Z") }, "", "keys[0].not_after"},
		{"threshold-zero", "At least one key has to sign.", func(d *agreement.Descriptor) { d.Threshold = 0 }, "", "threshold"},
		{"threshold-above-keys", "A threshold that no signing can meet.", func(d *agreement.Descriptor) { d.Threshold = 2 }, "", "threshold"},
		{"broker-address-no-port", "An address has a port.", func(d *agreement.Descriptor) { d.Broker.Address = "alpha.example" }, "", "broker.address"},
		{"broker-address-port-0", "Port 0 is none.", func(d *agreement.Descriptor) { d.Broker.Address = "alpha.example:0" }, "", "broker.address"},
		{"broker-address-port-text", "A port is a number without leading zeros.", func(d *agreement.Descriptor) { d.Broker.Address = "alpha.example:080" }, "", "broker.address"},
		{"broker-operator-empty", "A descriptor says who runs its broker.", func(d *agreement.Descriptor) { d.Broker.Operator = " " }, "", "broker.operator"},
		{"broker-release-key-shared", "A signing key of the party is not its release key.", func(d *agreement.Descriptor) { d.Broker.ReleaseKey = d.Keys[0].Public }, "", "broker.release_key"},
		{"broker-log-key-mistyped", "The digits in a note verifier key match its name and key.", func(d *agreement.Descriptor) { d.Broker.LogKey = "x" + d.Broker.LogKey }, "", "broker.log_key"},
		{"broker-log-key-text", "A note verifier key has three parts.", func(d *agreement.Descriptor) { d.Broker.LogKey = "alpha" }, "", "broker.log_key"},
		{"broker-data-none", "A broker has at least one data recipient.", func(d *agreement.Descriptor) { d.Broker.Data = []string{} }, "", "broker.data"},
		{"broker-data-mistyped", "A recipient's checksum must match.", func(d *agreement.Descriptor) {
			d.Broker.Data[0] = strings.Replace(d.Broker.Data[0], "age188", "age189", 1)
		}, "", "broker.data[0]"},
		{"results-identity", "A secret identity is not a recipient.", func(d *agreement.Descriptor) { d.Results[0] = "AGE-SECRET-KEY-1ABC" }, "", "results[0]"},
		{"results-twice", "A recipient is listed once.", func(d *agreement.Descriptor) { d.Results = append(d.Results, d.Results[0]) }, "", "results[1]"},
		{"results-is-data", "A result recipient is never a data recipient.", func(d *agreement.Descriptor) { d.Results[0] = d.Broker.Data[0] }, "", "results[0]"},
	}
}

func partyVectors() []vector {
	at := wire.At(now)
	ok := func(name, comment string, p *keys.Document, previous string) vector {
		return vector{name: name, Comment: comment, Expect: "success", Now: at, Document: encode(p), Previous: previous}
	}
	bad := func(name, comment, kind, check, document, previous string) vector {
		return vector{name: name, Comment: comment, Expect: kind, Check: check, Now: at, Document: document, Previous: previous}
	}
	one := signedParty(hospital("alpha", 0), "alpha")
	good := encode(one.Document)
	v := []vector{
		ok("broker", "A party with a broker.", one.Document, ""),
		ok("no-broker", "A party that owns no data.", signedParty(researcher(), "researcher").Document, ""),
		ok("two-of-three", "Two of three keys signed.", signedParty(twoOfThree(1, nil, "a", "b", "c"), "a", "c").Document, ""),
		bad("one-of-three", "One of three keys signed, two have to.", "refused", "party.signatures", encode(signedParty(twoOfThree(1, nil, "a", "b", "c"), "a").Document), ""),
		bad("unsigned", "Nobody signed.", "refused", "party.signatures", encode(signedParty(hospital("alpha", 0)).Document), ""),
		bad("signed-by-another", "Only a stranger's key signed.", "refused", "party.signatures", encode(signedParty(hospital("alpha", 0), "mallory").Document), ""),
		bad("signed-by-a-stranger-too", "A key of nobody signed too.", "refused", "party.signatures", encode(signedParty(hospital("alpha", 0), "alpha", "mallory").Document), ""),
		bad("forged", "The signature was changed.", "invalid evidence", "party.signatures", encode(forged(one.Document, 0)), ""),
		bad("body-changed", "The body was changed after signing.", "invalid evidence", "party.signatures", strings.Replace(good, "in house", "in cloud", 1), ""),
		bad("type-changed", "A document of another type.", "usage", "party.form", strings.Replace(good, "party/v1", "party/v2", 1), ""),
		bad("member-unknown", "A member that descriptors don't have.", "usage", "party.form", strings.Replace(good, `"domain":`, `"admin":true,"domain":`, 1), ""),
		bad("member-missing", "A member is missing.", "usage", "party.form", strings.Replace(good, `"domain":"alpha.example",`, ``, 1), ""),
		bad("member-twice", "A member stands twice.", "usage", "party.form", strings.Replace(good, `"domain":`, `"domain":"x.example","domain":`, 1), ""),
		bad("member-misspelt", "A member's name in another case.", "usage", "party.form", strings.Replace(good, `"domain":`, `"Domain":`, 1), ""),
		bad("null", "null is no list.", "usage", "party.form", strings.Replace(good, `"results":["`+recipients[1]+`"]`, `"results":null`, 1), ""),
		bad("name-upper", "A name in upper case.", "usage", "party.form", strings.Replace(good, `"name":"alpha"`, `"name":"Alpha"`, 1), ""),
		bad("signature-twice", "Two signatures by one key.", "usage", "party.form", twice(good), ""),
	}
	v = append(v, keyPeriods()...)
	v = append(v, rotations(ok, bad)...)
	for _, c := range partyForms() {
		d := hospital("alpha", 0)
		c.change(&d)
		b := bad(c.name, c.comment, "usage", "party.form", encode(document(agreement.PartyType, d, "alpha")), "")
		b.Where = c.where
		v = append(v, b)
	}
	return v
}

// twice repeats the signatures of a document.
func twice(text string) string {
	var d keys.Document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		panic(err)
	}
	d.Signatures = append(d.Signatures, d.Signatures...)
	return encode(&d)
}

func keyPeriods() []vector {
	good := encode(signedParty(hospital("alpha", 0), "alpha").Document)
	at := func(name, comment, expect, when string) vector {
		v := vector{name: name, Comment: comment, Expect: expect, Now: moment(when), Document: good}
		if expect != "success" {
			v.Check = "party.signatures"
		}
		return v
	}
	return []vector{
		at("key-first-moment", "not_before is inclusive.", "success", "2026-01-01T00:00:00Z"),
		at("key-too-early", "The key is not valid yet.", "refused", "2025-12-31T23:59:59Z"),
		at("key-last-moment", "The last second before not_after.", "success", "2027-12-31T23:59:59Z"),
		at("key-expired", "not_after is exclusive.", "refused", "2028-01-01T00:00:00Z"),
	}
}

func rotations(ok func(string, string, *keys.Document, string) vector, bad func(string, string, string, string, string, string) vector) []vector {
	one := signedParty(twoOfThree(1, nil, "a", "b", "c"), "a", "b")
	first, id := encode(one.Document), one.Digest()
	next := func(signers ...string) *keys.Document {
		return signedParty(twoOfThree(2, &id, "b", "d", "e"), signers...).Document
	}
	renamed := twoOfThree(2, &id, "b", "d", "e")
	renamed.Name = "omega"
	skipped := twoOfThree(3, &id, "b", "d", "e")
	return []vector{
		ok("rotation", "Two old keys and two new ones signed; one key is both.", next("a", "b", "d"), first),
		bad("rotation-old-keys-only", "The old keys alone can't appoint others.", "refused", "party.signatures", encode(next("a", "b")), first),
		bad("rotation-new-keys-only", "The new keys alone can't take the name.", "refused", "party.signatures", encode(next("d", "e")), first),
		bad("rotation-one-old-key", "Only one old key signed.", "refused", "party.signatures", encode(next("b", "d")), first),
		bad("rotation-stranger", "A key of neither version signed too.", "refused", "party.signatures", encode(next("a", "b", "d", "mallory")), first),
		bad("rotation-no-previous", "The version before is needed to check a rotation.", "refused", "party.previous", encode(next("a", "b", "d")), ""),
		bad("rotation-other-previous", "The version before is another.", "refused", "party.previous", encode(next("a", "b", "d")),
			encode(signedParty(twoOfThree(1, nil, "a", "b", "f"), "a", "b").Document)),
		bad("rotation-renamed", "A rotation keeps the name.", "refused", "party.previous", encode(signedParty(renamed, "a", "b", "d").Document), first),
		bad("rotation-skipped", "A rotation rises by one version.", "refused", "party.previous", encode(signedParty(skipped, "a", "b", "d").Document), first),
		bad("rotation-of-version-1", "Version 1 follows nothing.", "refused", "party.previous", encode(one.Document), first),
	}
}

func TestPartyVectors(t *testing.T) { checkVectors(t, "party", partyVectors(), runParty) }

func TestRecipientKinds(t *testing.T) {
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	d := hospital("alpha", 0)
	d.Results = []string{hybrid.Recipient().String()}
	if err := d.Validate(); err != nil {
		t.Errorf("hybrid result recipient: %v", err)
	}
	d.Broker.Data = []string{hybrid.Recipient().String()}
	if err := d.Validate(); err == nil {
		t.Error("a recipient for both data and results passed")
	}
	const tag = "age1tag1qwe0kafsjrar4txm6heqnhpfuggzr0gvznz7fvygxrlq90u5mq2pysxtw6h"
	d = hospital("alpha", 0)
	d.Broker.Data = []string{tag}
	if err := d.Validate(); err != nil {
		t.Errorf("P-256 data recipient: %v", err)
	}
	d.Results = []string{tag}
	if err := d.Validate(); err == nil {
		t.Error("a P-256 recipient passed for results")
	}
}

// TestChangedCopy shows that a struct changed after parsing is not verified for what was
// signed.
func TestChangedCopy(t *testing.T) {
	p := signedParty(hospital("alpha", 0), "alpha")
	p.Broker.Operator = "somebody else"
	if err := p.VerifyOwn(now); err == nil {
		t.Error("a changed descriptor was verified")
	}
	w := newWorld()
	a := w.signed()
	a.Outputs[0].MaxRows = 1
	if err := a.Verify(w.parties(), now); err == nil {
		t.Error("a changed agreement was verified")
	}
	if err := (&agreement.SignedParty{}).VerifyOwn(now); err == nil {
		t.Error("the zero party was verified")
	}
	if err := (&agreement.SignedAgreement{}).Verify(nil, now); err == nil {
		t.Error("the zero agreement was verified")
	}
}

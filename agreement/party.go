package agreement

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// The types of signed documents of this package.
const (
	PartyType     = "strongroom/party/v1"
	AgreementType = "strongroom/agreement/v1"
	DatasetType   = "strongroom/dataset/v1"
	RunType       = "strongroom/run/v1"
)

// Descriptor says who a party is (spec/party.md). A descriptor is signed by its own keys,
// at least Threshold of them valid at the time, and, if it follows another, by the
// threshold of that one too. Agreements name parties by descriptor digest.
type Descriptor struct {
	Name   wire.ID `json:"name"`
	Title  string  `json:"title"`  // for people: "Alpha Hospital"
	Domain string  `json:"domain"` // a DNS name the party is known by; a hint, proves nothing
	// Version starts at 1 and rises by one; Previous is the digest of the version before.
	Version   int64        `json:"version"`
	Previous  *wire.Digest `json:"previous,omitempty"`
	Keys      []PartyKey   `json:"keys"`
	Threshold int64        `json:"threshold"`
	// Broker is absent for a party that owns no data.
	Broker *BrokerInfo `json:"broker,omitempty"`
	// Results are age recipients that results for this party are sealed to.
	Results []string `json:"results"`
}

// PartyKey is one signing key of a party and when it counts.
type PartyKey struct {
	Public    keys.PublicKey `json:"public"`
	NotBefore wire.Time      `json:"not_before"`
	NotAfter  wire.Time      `json:"not_after"`
}

// BrokerInfo says how a party's broker is recognised. Address is a hint, trusted for nothing.
type BrokerInfo struct {
	Address    string         `json:"address"`     // host:port
	Operator   string         `json:"operator"`    // who runs it and where: "in house", "cloud X" (R25)
	ReleaseKey keys.PublicKey `json:"release_key"` // signs releases, challenges' answers, leases
	LogKey     string         `json:"log_key"`     // note verifier key of the broker's own log
	Data       []string       `json:"data"`        // age recipients of the broker: what `seal` seals to
}

// Validate checks the form of a descriptor; nothing about signatures.
func (d Descriptor) Validate() error {
	p := place{check: "party.form"}
	return first(
		p.dot("name").id(d.Name),
		p.dot("title").line(d.Title, MaxLine),
		p.dot("domain").domain(d.Domain),
		p.lineage(d.Version, "previous", d.Previous),
		d.validateKeys(p),
		d.validateBroker(p.dot("broker")),
		p.dot("results").recipients(d.Results, 0, recipientX25519, recipientHybrid),
		d.validateSeparation(p),
	)
}

// lineage checks that the first version follows nothing and every other one something.
func (p place) lineage(version int64, member string, before *wire.Digest) error {
	if err := p.dot("version").integer(version, 1, wire.MaxInteger); err != nil {
		return err
	}
	switch {
	case version == 1 && before != nil:
		return p.dot(member).bad("nothing in version 1", "a digest", "remove the member, or raise the version")
	case version > 1 && (before == nil || before.IsZero()):
		return p.dot(member).bad("the digest of the version before", "nothing", "add it")
	}
	return nil
}

func (d Descriptor) validateKeys(p place) error {
	list := p.dot("keys")
	return first(
		list.count(len(d.Keys), 1, MaxKeys),
		each(list, d.Keys, func(p place, k PartyKey) error {
			if k.Public.IsZero() {
				return p.dot("public").bad("a public key", "nothing", "")
			}
			return p.period(k.NotBefore, k.NotAfter, "not_before", "not_after")
		}),
		unique(list, d.Keys, "public", func(k PartyKey) string { return k.Public.String() }),
		p.dot("threshold").integer(d.Threshold, 1, int64(len(d.Keys))),
	)
}

// period checks that a span of time is set, runs forwards and is not endless.
func (p place) period(from, until wire.Time, fromName, untilName string) error {
	if from.IsZero() {
		return p.dot(fromName).bad("a time like 2026-11-24T09:30:00Z", "nothing", "add it")
	}
	if until.IsZero() {
		return p.dot(untilName).bad("a time like 2026-11-24T09:30:00Z", "nothing", "add it")
	}
	if !from.Time().Before(until.Time()) {
		return p.dot(untilName).bad("a time after "+from.String(), until.String(), "correct one of them")
	}
	if until.Time().After(from.Time().AddDate(MaxAge, 0, 0)) {
		return p.dot(untilName).bad(fmt.Sprintf("a time at most %d years after %s", MaxAge, from), until.String(), "choose an earlier end; a new version can follow")
	}
	return nil
}

func (d Descriptor) validateBroker(p place) error {
	if d.Broker == nil {
		return nil
	}
	b := *d.Broker
	if b.ReleaseKey.IsZero() {
		return p.dot("release_key").bad("a public key", "nothing", "")
	}
	return first(
		p.dot("address").address(b.Address),
		p.dot("operator").line(b.Operator, MaxLine),
		p.dot("log_key").noteKey(b.LogKey),
		p.dot("data").recipients(b.Data, 1, recipientX25519, recipientHybrid, recipientTag, recipientTagPQ),
	)
}

// validateSeparation checks that no key of the party has two uses.
func (d Descriptor) validateSeparation(p place) error {
	if d.Broker == nil {
		return nil
	}
	for _, k := range d.Keys {
		if k.Public == d.Broker.ReleaseKey {
			return p.dot("broker").dot("release_key").bad("a key of its own", "a signing key of the party", "make a release key of its own")
		}
	}
	for i, r := range d.Results {
		if slices.Contains(d.Broker.Data, r) {
			return p.dot("results").at(i).bad("a recipient of its own", "a data recipient of the broker", "make a result key of its own: a data identity opens every sealed file")
		}
	}
	return nil
}

// address checks a HOST:PORT; it is a hint, so it need not exist.
func (p place) address(text string) error {
	split := strings.LastIndexByte(text, ':')
	if split > 0 && len(text) <= MaxLine {
		host, port := text[:split], text[split+1:]
		n, err := strconv.ParseUint(port, 10, 16)
		bracketed := strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") && isHost(host[1:len(host)-1], true)
		if err == nil && n > 0 && strconv.FormatUint(n, 10) == port && (bracketed || isHost(host, false)) {
			return nil
		}
	}
	return p.bad("an address HOST:PORT", quoted(text), "")
}

func isHost(s string, ipv6 bool) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && (!ipv6 || c != ':') {
			return false
		}
	}
	return s != ""
}

// domain checks a DNS name in lower case, or nothing.
func (p place) domain(text string) error {
	if text == "" {
		return nil
	}
	for label := range strings.SplitSeq(text, ".") {
		if len(label) < 1 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || !isHost(label, false) || len(text) > 253 {
			return p.bad("a DNS name in lower case, or nothing", quoted(text), "")
		}
	}
	return nil
}

// SignedParty is a descriptor with the document it stands in.
type SignedParty struct {
	Descriptor
	Document *keys.Document
}

// NewParty makes an unsigned document of a descriptor.
func NewParty(d Descriptor) (*SignedParty, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	doc, err := create(PartyType, "party.form", d)
	if err != nil {
		return nil, err
	}
	return &SignedParty{d, doc}, nil
}

// ParseParty reads a signed descriptor and checks its form; see [SignedParty.Verify] for
// its signatures.
func ParseParty(data []byte) (*SignedParty, error) {
	p := new(SignedParty)
	var err error
	if p.Document, err = parse(data, PartyType, "party.form", &p.Descriptor); err != nil {
		return nil, err
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return p, nil
}

// Digest names the descriptor.
func (p *SignedParty) Digest() wire.Digest { return p.Document.Digest() }

// Verify checks a descriptor and the step from the version before it, nil for version 1:
// the threshold of its own keys valid at now has signed it, and the threshold of the
// previous version's keys too, so that neither old keys nor new ones can move the name
// alone.
func (p *SignedParty) Verify(now time.Time, previous *SignedParty) error {
	if err := p.VerifyOwn(now); err != nil {
		return err
	}
	name := string(p.Name)
	if p.Version == 1 && previous == nil {
		return noStrangers("party.signatures", p.Document, p.signers(name))
	}
	if previous == nil || p.Previous == nil || previous.Digest() != *p.Previous {
		return verdict.Refuse("party.previous", "the descriptor that version "+strconv.FormatInt(p.Version, 10)+" of "+name+" follows", "another one, or none",
			"bring the version before it, or compare the digest with the party by another way")
	}
	if previous.Name != p.Name || previous.Version+1 != p.Version {
		return verdict.Refuse("party.previous", fmt.Sprintf("version %d of %s", previous.Version+1, previous.Name),
			fmt.Sprintf("version %d of %s", p.Version, name), "a descriptor keeps its name and rises by one version at a time")
	}
	if err := same(previous.Document, PartyType, "party.previous", previous.Descriptor); err != nil {
		return err
	}
	before := previous.signers("the version of " + name + " before")
	return inOrder(
		func() error { return noStrangers("party.signatures", p.Document, p.signers(name), before) },
		func() error { return before.signed("party.signatures", p.Document, now) },
	)
}

// VerifyOwn checks a descriptor by its own keys alone. That says that somebody holds those
// keys, and nothing about whether they are the party's: only for descriptors that are
// pinned by digest, or about to be.
func (p *SignedParty) VerifyOwn(now time.Time) error {
	return inOrder(
		p.Validate,
		func() error { return same(p.Document, PartyType, "party.signatures", p.Descriptor) },
		func() error { return p.signers(string(p.Name)).signed("party.signatures", p.Document, now) },
	)
}

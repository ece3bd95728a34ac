package home

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Descriptor gives the party's own descriptor, the latest version.
func (h *Home) Descriptor() (*agreement.SignedParty, error) {
	return h.ownFile("party.json")
}

// Versions gives every version of the party's own descriptor, the oldest first.
func (h *Home) Versions() ([]*agreement.SignedParty, error) {
	names, err := h.files("party")
	if err != nil {
		return nil, err
	}
	var out []*agreement.SignedParty
	for _, name := range names {
		p, err := h.ownFile("party", name)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *agreement.SignedParty) int { return int(a.Version - b.Version) })
	return out, nil
}

func (h *Home) ownVersion(digest wire.Digest) (*agreement.SignedParty, error) {
	path := []string{"party", hexName(digest)}
	if _, err := os.Stat(h.Path(path...)); err != nil {
		return nil, err
	}
	return h.ownFile(path...)
}

func (h *Home) ownFile(elem ...string) (*agreement.SignedParty, error) {
	data, err := h.read(elem...)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, verdict.Misuse("home.party", "a party at "+h.dir, "none", "strongroom party init makes one; --home or STRONGROOM_HOME name another")
	}
	if err != nil {
		return nil, readError("home", err)
	}
	p, err := agreement.ParseParty(data)
	if err != nil {
		return nil, damaged(h.Path(elem...), "a party descriptor", err)
	}
	return p, nil
}

// Setup is what a new party says about itself.
type Setup struct {
	Name          wire.ID
	Title, Domain string
	// Data gives the party a broker: a data identity, release key, log key and secret.
	Data bool
	// BrokerAddress is host:port; Operator says who runs the broker and where (R25).
	BrokerAddress, Operator string
	// More are further signing keys of the party, and Threshold is how many of all its keys
	// must sign; 0 means 1.
	More      []*keys.SigningKey
	Threshold int64
	// Years is how long the keys are valid, 1 to 10.
	Years int
}

// Init makes a party in dir: its keys, then its signed descriptor. Keys that lie there
// already are used and never overwritten; a party that is there already is refused.
func Init(dir string, s Setup, now time.Time) (*Home, *agreement.SignedParty, error) {
	_, missing := os.Lstat(dir)
	h, err := Create(dir)
	if err != nil {
		return nil, nil, err
	}
	unlock, err := h.Lock()
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	party, err := h.init(s, now)
	if err != nil && missing != nil {
		os.Remove(h.Path("lock"))
		os.Remove(dir) // stays if there is a key in it
	}
	return h, party, err
}

func (h *Home) init(s Setup, now time.Time) (*agreement.SignedParty, error) {
	if _, err := os.Lstat(h.Path("party.json")); err == nil {
		return nil, verdict.Misuse("home.party", "no party yet at "+h.dir, "party.json", "strongroom party show shows it; --home names another directory")
	}
	if err := checkYears(s.Years); err != nil {
		return nil, err
	}
	var pending []keyFile
	d, signers, err := h.describe(s, now, &pending)
	if err != nil {
		return nil, err
	}
	party, err := signDescriptor(d, signers, nil, now)
	if err != nil {
		return nil, err
	}
	for _, f := range pending {
		if err := h.write(true, f.data, "keys", f.name); err != nil {
			return nil, err
		}
		clear(f.data)
	}
	return party, h.saveOwn(party)
}

func checkYears(years int) error {
	if years < 1 || years > agreement.MaxAge {
		return verdict.Misuse("party.years", fmt.Sprintf("1 to %d", agreement.MaxAge), fmt.Sprint(years), "keys valid for 5 years are usual")
	}
	return nil
}

// keyFile is a key made but not written yet.
type keyFile struct {
	name string
	data []byte
}

// describe makes the first descriptor and what keys it needs.
func (h *Home) describe(s Setup, now time.Time, pending *[]keyFile) (d agreement.Descriptor, signers []*keys.SigningKey, err error) {
	if !s.Name.Valid() {
		return d, nil, &verdict.Error{Kind: verdict.Usage, Check: "party.form", Where: "name", Expected: "a name of 1 to 63 of a-z, 0-9 and -, starting with a letter", Got: verdict.Short(string(s.Name)), Fix: "choose such a name"}
	}
	own, err := h.newSigner(signingFile, pending)
	if err != nil {
		return d, nil, err
	}
	result, err := h.newIdentity(resultFile, seal.Result, pending)
	if err != nil {
		return d, nil, err
	}
	d = agreement.Descriptor{Name: s.Name, Title: s.Title, Domain: s.Domain, Version: 1, Threshold: max(s.Threshold, 1), Results: []string{result}}
	signers = append([]*keys.SigningKey{own}, s.More...)
	for _, k := range signers {
		d.Keys = append(d.Keys, validKey(k.Public(), now, s.Years))
	}
	if s.Data {
		d.Broker, err = h.describeBroker(s, pending)
	}
	return d, signers, err
}

func validKey(public keys.PublicKey, now time.Time, years int) agreement.PartyKey {
	return agreement.PartyKey{Public: public, NotBefore: wire.At(now), NotAfter: wire.At(now.AddDate(years, 0, 0))}
}

func (h *Home) describeBroker(s Setup, pending *[]keyFile) (*agreement.BrokerInfo, error) {
	release, err := h.newSigner(releaseFile, pending)
	if err != nil {
		return nil, err
	}
	data, err := h.newIdentity(dataFile, seal.Data, pending)
	if err != nil {
		return nil, err
	}
	origin := string(s.Name) + ".strongroom"
	if s.Domain != "" {
		origin = s.Domain + "/strongroom/" + string(s.Name)
	}
	log, err := h.newLog(origin, pending)
	if err != nil {
		return nil, err
	}
	if _, err := h.BrokerSecret(); err != nil {
		if _, lerr := os.Lstat(h.Path("keys", secretFile)); lerr == nil {
			return nil, err
		}
		raw := keys.GenerateSecret().MarshalSecret()
		*pending = append(*pending, keyFile{secretFile, []byte(hex.EncodeToString(raw) + "\n")})
		clear(raw)
	}
	return &agreement.BrokerInfo{Address: s.BrokerAddress, Operator: s.Operator, ReleaseKey: release.Public(), LogKey: log, Data: []string{data}}, nil
}

func (h *Home) newSigner(name string, pending *[]keyFile) (*keys.SigningKey, error) {
	key, err := h.signingKey("keys", name)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = keys.GenerateSigningKey(keys.Ed25519); err != nil {
		return nil, err
	}
	text, err := SigningKeyFile(key)
	*pending = append(*pending, keyFile{name, text})
	return key, err
}

// SigningKeyFile gives the text of a signing key's file, its public key in a comment.
func SigningKeyFile(key *keys.SigningKey) ([]byte, error) {
	secret, err := key.MarshalSecret()
	if err != nil {
		return nil, err
	}
	return []byte("# purpose: signing\n# public key: " + key.Public().String() + "\n" + secret), nil
}

func (h *Home) newIdentity(name string, purpose seal.Purpose, pending *[]keyFile) (recipient string, err error) {
	id, err := h.identity(name, purpose)
	if !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return "", err
		}
		return id.Recipient().String(), nil
	}
	return newIdentityFile(name, purpose, pending)
}

func newIdentityFile(name string, purpose seal.Purpose, pending *[]keyFile) (recipient string, err error) {
	id, err := seal.GenerateIdentity(purpose)
	if err != nil {
		return "", err
	}
	text, err := id.MarshalSecret()
	*pending = append(*pending, keyFile{name, []byte(text)})
	return id.Recipient().String(), err
}

func (h *Home) newLog(origin string, pending *[]keyFile) (verifier string, err error) {
	if _, err := os.Lstat(h.Path("keys", logFile)); err == nil {
		secret, err := h.LogKey()
		if err != nil {
			return "", err
		}
		return ledger.VerifierOf(secret)
	}
	secret, verifier, err := ledger.GenerateKey(origin)
	if err != nil {
		return "", &verdict.Error{Kind: verdict.Usage, Check: "party.form", Where: "domain", Expected: "a DNS name in lower case, or nothing", Got: verdict.Short(origin), Fix: "correct it, or leave it out", Err: err}
	}
	*pending = append(*pending, keyFile{logFile, []byte("# public key: " + verifier + "\n" + secret + "\n")})
	return verifier, nil
}

// signDescriptor checks, signs and verifies a descriptor that follows previous (or nothing).
func signDescriptor(d agreement.Descriptor, signers []*keys.SigningKey, previous *agreement.SignedParty, now time.Time) (*agreement.SignedParty, error) {
	party, err := agreement.NewParty(d)
	if err != nil {
		return nil, err
	}
	for _, s := range signers {
		if err := party.Document.Sign(s); err != nil {
			return nil, err
		}
	}
	return party, party.Verify(now, previous)
}

// saveOwn keeps a version for good and makes it the latest. The latest goes last: it is what
// says that the party exists.
func (h *Home) saveOwn(p *agreement.SignedParty) error {
	data, err := p.Document.Encode()
	if err != nil {
		return err
	}
	if err := h.write(true, data, "party", hexName(p.Digest())); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return h.write(false, data, "party.json")
}

package home

import (
	"os"
	"slices"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
)

// Change is what the next version of a party's descriptor says differently. The zero Change
// changes nothing, which is refused.
type Change struct {
	Title, Domain, BrokerAddress, Operator *string
	// Data gives a party without a broker one; see [Setup].
	Data bool
	// Add are signing keys that join; Remove names keys that leave, by at least 12 digits of
	// their id.
	Add       []*keys.SigningKey
	Remove    []string
	Threshold int64 // 0: as before
	// NewSigning, NewResult and NewData replace the party's own key of that kind. Replaced
	// result and data keys stay, so that older files still open.
	NewSigning, NewResult, NewData bool
	// Cosign are keys of the party held elsewhere that sign too, where the threshold of the
	// old version or the new asks for them.
	Cosign []*keys.SigningKey
	// Years is how long added and new signing keys are valid, 1 to 10.
	Years int
}

// Update writes the next version of the party's descriptor, signed as both the version
// before and the new one ask.
func (h *Home) Update(c Change, now time.Time) (*agreement.SignedParty, error) {
	if err := checkYears(c.Years); err != nil {
		return nil, err
	}
	unlock, err := h.Lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	old, err := h.Descriptor()
	if err != nil {
		return nil, err
	}
	own, err := h.signingKeys()
	if err != nil {
		return nil, err
	}
	var pending []keyFile
	d, fresh, err := h.change(old.Descriptor, c, own, now, &pending)
	if err != nil {
		return nil, err
	}
	if same, err := sameDescriptor(old.Descriptor, d); err != nil || same {
		return nil, verdict.Misuse("party.change", "something that differs", "nothing", "strongroom party update --help lists what can change")
	}
	before := old.Digest()
	d.Version, d.Previous = old.Version+1, &before
	party, err := signDescriptor(d, members(slices.Concat(own, fresh, c.Add, c.Cosign), old.Descriptor, d), old, now)
	if err != nil {
		return nil, err
	}
	for _, f := range pending {
		if err := h.replaceKey(f); err != nil {
			return nil, err
		}
		clear(f.data)
	}
	return party, h.saveOwn(party)
}

// change applies c to a descriptor and makes the keys it needs.
func (h *Home) change(d agreement.Descriptor, c Change, own []*keys.SigningKey, now time.Time, pending *[]keyFile) (_ agreement.Descriptor, fresh []*keys.SigningKey, err error) {
	d.Keys, d.Results = slices.Clone(d.Keys), slices.Clone(d.Results)
	set(&d.Title, c.Title)
	set(&d.Domain, c.Domain)
	if c.Threshold != 0 {
		d.Threshold = c.Threshold
	}
	for _, text := range c.Remove {
		if d.Keys, err = without(d.Keys, text); err != nil {
			return d, nil, err
		}
	}
	for _, k := range c.Add {
		d.Keys = append(d.Keys, validKey(k.Public(), now, c.Years))
	}
	if c.NewSigning {
		key, err := keys.GenerateSigningKey(keys.Ed25519)
		if err != nil {
			return d, nil, err
		}
		text, err := SigningKeyFile(key)
		if err != nil {
			return d, nil, err
		}
		*pending = append(*pending, keyFile{"signing-" + key.Public().ID().Short() + ".key", text})
		d.Keys = slices.DeleteFunc(d.Keys, func(k agreement.PartyKey) bool { return holds(own, k.Public) })
		d.Keys = append(d.Keys, validKey(key.Public(), now, c.Years))
		fresh = append(fresh, key)
	}
	if c.NewResult {
		recipient, err := newIdentityFile(resultFile, seal.Result, pending)
		if err != nil {
			return d, nil, err
		}
		d.Results = []string{recipient}
	}
	d.Broker, err = h.changeBroker(d, c, pending)
	return d, fresh, err
}

func (h *Home) changeBroker(d agreement.Descriptor, c Change, pending *[]keyFile) (*agreement.BrokerInfo, error) {
	if d.Broker == nil {
		if c.Data {
			return h.describeBroker(Setup{Name: d.Name, Domain: d.Domain, BrokerAddress: or(c.BrokerAddress, DefaultBroker), Operator: or(c.Operator, DefaultOperator)}, pending)
		}
		if c.BrokerAddress != nil || c.Operator != nil || c.NewData {
			return nil, verdict.Misuse("party.broker", "a party with a broker", "one that brings no data", "give it a broker with --data")
		}
		return nil, nil
	}
	b := *d.Broker
	set(&b.Address, c.BrokerAddress)
	set(&b.Operator, c.Operator)
	if c.NewData {
		recipient, err := newIdentityFile(dataFile, seal.Data, pending)
		if err != nil {
			return nil, err
		}
		b.Data = []string{recipient}
	}
	return &b, nil
}

// What a party's broker is said to be unless its owner says otherwise.
const (
	DefaultBroker   = "localhost:7443"
	DefaultOperator = "in house"
)

func set(dst *string, value *string) { *dst = or(value, *dst) }

func or(value *string, otherwise string) string {
	if value == nil {
		return otherwise
	}
	return *value
}

func without(list []agreement.PartyKey, text string) ([]agreement.PartyKey, error) {
	digits := strings.TrimPrefix(text, "sha256:")
	for i, k := range list {
		if len(digits) >= 12 && strings.HasPrefix(strings.TrimPrefix(k.Public.ID().String(), "sha256:"), digits) {
			return slices.Delete(list, i, i+1), nil
		}
	}
	return nil, verdict.Misuse("party.key", "the id of a key of the party", verdict.Short(text), "strongroom party show lists them")
}

func holds(list []*keys.SigningKey, public keys.PublicKey) bool {
	return slices.ContainsFunc(list, func(k *keys.SigningKey) bool { return k.Public() == public })
}

// members leaves out keys that neither version names, whose signatures would mean nothing.
func members(signers []*keys.SigningKey, versions ...agreement.Descriptor) []*keys.SigningKey {
	return slices.DeleteFunc(signers, func(s *keys.SigningKey) bool {
		for _, d := range versions {
			if slices.ContainsFunc(d.Keys, func(k agreement.PartyKey) bool { return k.Public == s.Public() }) {
				return false
			}
		}
		return true
	})
}

func sameDescriptor(a, b agreement.Descriptor) (bool, error) {
	x, err := keys.NewDocument(agreement.PartyType, a)
	if err != nil {
		return false, err
	}
	y, err := keys.NewDocument(agreement.PartyType, b)
	return err == nil && x.Digest() == y.Digest(), err
}

// replaceKey puts a key in place. A result or data key that stands there is kept beside it
// under the next free number.
func (h *Home) replaceKey(f keyFile) error {
	old, err := h.readSecret("keys", f.name)
	if os.IsNotExist(err) {
		return h.write(true, f.data, "keys", f.name)
	}
	if err != nil {
		return err
	}
	defer clear(old)
	kind := strings.TrimSuffix(f.name, ".key")
	for n := 1; ; n++ {
		if _, err := os.Lstat(h.Path("keys", replaced(kind, n))); os.IsNotExist(err) {
			if err := h.write(true, old, "keys", replaced(kind, n)); err != nil {
				return err
			}
			return h.write(false, f.data, "keys", f.name)
		}
	}
}

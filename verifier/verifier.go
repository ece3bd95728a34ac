package verifier

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/ear"
	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/lineage"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Config is what a service is made of. The zero Config is refused.
type Config struct {
	// Base is the service's address as clients see it: issuers lie below it.
	Base  string
	Store Store
	// Table gives the examiners of all platforms over a set of endorsements.
	Table func(endorse.Set) []attest.Examiner
	// Endorsements are what the service itself has, and References its sets of reference values, as
	// they were published; [Service.Renew] replaces them.
	Endorsements endorse.Set
	References   [][]byte
	// Bundles are the versions of the bundles that Endorsements came in, whose signatures were
	// checked.
	Bundles []lineage.Version
	// Gates are the audiences that shapes other than EAR serve; none are off.
	Gates []Gate
	// Policy is the id of the policy that judges where a request names none; "" for only the
	// platforms' own rules.
	Policy wire.ID
	// SingleUse has each challenge redeemed once, in the store.
	SingleUse bool
	// InsecureAllowSoftware lets software platforms pass as warnings where no policy judges.
	InsecureAllowSoftware bool
	// EAR is the algorithm of EAR tokens, ES256 or ES384; Federation that of federation tokens, the
	// same if it is "": some clouds take RS256 only.
	EAR, Federation ear.Algorithm
	Rotation        ear.Rotation
	// Build names the program in tokens.
	Build string
	Now   func() time.Time
	// Logger gets a line for every judged request; nil for none.
	Logger *slog.Logger
}

// Gate lets one audience have tokens of a shape that its own software takes as it is, judged by
// one policy (R16).
type Gate struct {
	Shape    ear.Shape
	Audience string
	Policy   wire.ID
}

// ErrBusy is in the chain of an error that says to come again: too much of the same is under way.
var ErrBusy = errors.New("too many requests of this kind at once")

// Service is the attestation service. It is safe for concurrent use.
type Service struct {
	cfg     Config
	secret  *keys.Secret
	table   atomic.Pointer[table]
	issuing atomic.Pointer[issuing]
	stats   counters
	// endorsed are the places for requests that bring endorsements.
	endorsed chan struct{}

	// newest are the endorsements that this instance knows of, as in the store.
	newest newest

	mu     sync.Mutex
	active map[wire.ID]inForce
}

// issuing is the keys that sign now or soon, by shape, and the certificates of those that have any.
type issuing struct {
	rings       map[string]ear.Ring
	authorities map[string]ear.Authority
}

// table is the examiners over the endorsements of a moment, and the reference values.
type table struct {
	set        endorse.Set
	examiners  []attest.Examiner
	references [][]byte
	ends       ends
	own        map[wire.Hash]bool // the endorsements, by the SHA-256 of each
}

// Open makes a service over a store, with keys and secrets made if the store has none yet.
func Open(ctx context.Context, cfg Config) (*Service, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if cfg.Store == nil {
		return nil, verdict.Misuse("attestation.config", "a store", "none", "a defect in the program: report it")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{cfg: cfg, active: make(map[wire.ID]inForce), endorsed: make(chan struct{}, endorsedAtOnce)}
	if err := s.loadSecret(ctx); err != nil {
		return nil, err
	}
	if err := s.Renew(ctx, cfg.Endorsements, cfg.Bundles, cfg.References); err != nil {
		return nil, err
	}
	if err := s.Upkeep(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Check says what is wrong with a configuration, whose store may still be missing.
func (c Config) Check() error {
	const fix = "a defect in the program: report it"
	if err := ear.CheckBase(c.Base); err != nil {
		return err
	}
	if c.Table == nil || c.Now == nil {
		return verdict.Misuse("attestation.config", "platforms and clock", "something missing", fix)
	}
	if c.EAR != ear.ES256 && c.EAR != ear.ES384 {
		return verdict.Misuse("attestation.config", "ES256 or ES384", fmt.Sprintf("%q", string(c.EAR)), "choose one of the two")
	}
	if c.Federation != "" && !slices.Contains(ear.Federation().Algorithms, c.Federation) {
		return verdict.Misuse("attestation.config", fmt.Sprintf("one of %v", ear.Federation().Algorithms), fmt.Sprintf("%q", string(c.Federation)), "choose one of these")
	}
	if len(c.Gates) > maxGates {
		return verdict.Misuse("attestation.gates", fmt.Sprintf("at most %d audiences", maxGates), fmt.Sprint(len(c.Gates)), "name fewer")
	}
	seen := map[string]bool{}
	for _, g := range c.Gates {
		at := g.Shape.Name + " " + g.Audience
		single := g.Shape.Name == ear.MAA().Name || g.Shape.Name == ear.ITA().Name
		switch {
		case g.Audience == "" || len(g.Audience) > maxAudience || !g.Policy.Valid():
			return verdict.Misuse("attestation.gates", "an audience and the policy that judges for it", verdict.Short(at), "name both")
		case g.Shape.Name == ear.EAR().Name:
			return verdict.Misuse("attestation.gates", "shapes that others' software takes", g.Shape.Name, "EAR tokens need no gate: they are worth nothing without the key")
		case seen[at] || single && seen[g.Shape.Name]:
			return verdict.Misuse("attestation.gates", "each audience once, and one for shapes whose requests name none", verdict.Short(at)+" again", "name it once")
		}
		seen[at], seen[g.Shape.Name] = true, true
	}
	return nil
}

// Base gives the service's address, which tokens name.
func (s *Service) Base() string { return s.cfg.Base }

// gate finds the gate for an audience; "" finds the only one of shapes whose requests name none.
func (s *Service) gate(shape ear.Shape, audience string) (Gate, error) {
	for _, g := range s.cfg.Gates {
		if g.Shape.Name == shape.Name && (g.Audience == audience || audience == "" && !shape.Bearer) {
			return g, nil
		}
	}
	got := "none for " + shape.Name + " tokens"
	if audience != "" {
		got = verdict.Short(audience)
	}
	return Gate{}, verdict.Refuse("attestation.audience", "an audience that this service gates, with the policy for it", got, "whoever runs the service names both; nothing is gated by default")
}

// Renew replaces endorsements and reference values. Checks under way end with those they began
// with. Nothing in a set of reference values is believed before a policy asks for it. Bundles are
// remembered before they are used: if one is older than this or another instance has used before,
// or if that is not known, it is an error, and all stays as it was.
func (s *Service) Renew(ctx context.Context, set endorse.Set, bundles []lineage.Version, references [][]byte) error {
	if err := s.rememberBundles(ctx, bundles); err != nil {
		return err
	}
	s.table.Store(&table{set, s.cfg.Table(set), references, endsOf(set, references), digestsOf(set)})
	return nil
}

// Upkeep renews keys, certificates and lists of revoked ones when they are due, and forgets
// challenges that have expired. Call it every minute or so: without it, the service runs out of
// keys.
func (s *Service) Upkeep(ctx context.Context) error {
	next := issuing{map[string]ear.Ring{}, map[string]ear.Authority{}}
	for _, shape := range ear.Shapes() {
		if !s.needs(shape) {
			continue
		}
		ring, err := s.advance(ctx, shape)
		if err != nil {
			return err
		}
		next.rings[shape.Name] = ring
		if !shape.Certified {
			continue
		}
		if next.authorities[shape.Name], err = s.certify(ctx, shape, ring); err != nil {
			return err
		}
	}
	s.issuing.Store(&next)
	if s.cfg.SingleUse {
		// Other instances' clocks may be behind: where a challenge is still good, it must be known.
		return s.cfg.Store.DeleteBelow(ctx, TableRedeemed, redeemedKey(s.cfg.Now().Add(-ChallengeLifetime), ""))
	}
	return nil
}

// needs reports whether tokens of a shape can be asked for at all.
func (s *Service) needs(shape ear.Shape) bool {
	for _, g := range s.cfg.Gates {
		if g.Shape.Name == shape.Name {
			return true
		}
	}
	return shape.Name == ear.EAR().Name
}

// advance brings a shape's keys in the store up to date, which any instance may do first.
func (s *Service) advance(ctx context.Context, shape ear.Shape) (ear.Ring, error) {
	algorithm := shape.Algorithms[0]
	switch shape.Name {
	case ear.EAR().Name:
		algorithm = s.cfg.EAR
	case ear.Federation().Name:
		algorithm = cmp.Or(s.cfg.Federation, s.cfg.EAR)
	}
	var next ear.Ring
	err := s.renewed(ctx, "ring/"+shape.Name, func(old []byte) (data []byte, changed bool, err error) {
		var ring ear.Ring
		if old != nil {
			if ring, err = ear.ParseRing(shape, old); err != nil {
				return nil, false, err
			}
		}
		if next, changed, err = ring.Advance(shape, algorithm, s.cfg.Rotation, s.cfg.Now()); err != nil || !changed {
			return nil, false, err
		}
		data, err = next.MarshalSecret()
		return data, true, err
	})
	return next, err
}

// certify brings the certificates of a shape's keys up to date, as advance does the keys.
func (s *Service) certify(ctx context.Context, shape ear.Shape, ring ear.Ring) (ear.Authority, error) {
	var next ear.Authority
	err := s.renewed(ctx, "authority/"+shape.Name, func(old []byte) (data []byte, changed bool, err error) {
		var authority ear.Authority
		if old != nil {
			if authority, err = ear.ParseAuthority(shape, old); err != nil {
				return nil, false, err
			}
		}
		if next, changed, err = authority.Advance(ring, s.cfg.Base, s.cfg.Now()); err != nil || !changed {
			return nil, false, err
		}
		data, err = next.MarshalSecret(shape)
		return data, true, err
	})
	return next, err
}

// renewed renews a secret in the store, anew if another instance came first.
func (s *Service) renewed(ctx context.Context, key string, renew func(old []byte) (data []byte, changed bool, err error)) error {
	for range swapAttempts {
		old, err := s.cfg.Store.Get(ctx, TableSecret, key)
		if err != nil {
			return err
		}
		data, changed, err := renew(old)
		if err != nil || !changed {
			return err
		}
		if err = s.cfg.Store.Swap(ctx, TableSecret, key, old, data); !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return busy()
}

func busy() error {
	return &verdict.Error{Kind: verdict.Broken, Check: "attestation.store", Expected: "a moment in which no other instance changes the same", Got: "none", Fix: "try again"}
}

// loadSecret reads what challenges are made with, or makes it.
func (s *Service) loadSecret(ctx context.Context) error {
	const key = "challenge"
	for range 2 {
		data, err := s.cfg.Store.Get(ctx, TableSecret, key)
		if err != nil {
			return err
		}
		if data != nil {
			s.secret, err = keys.NewSecret(data)
			return err
		}
		if err := s.cfg.Store.Swap(ctx, TableSecret, key, nil, keys.GenerateSecret().MarshalSecret()); err != nil && !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return busy()
}

// ring gives the keys of a shape.
func (s *Service) ring(shape ear.Shape) (ear.Ring, error) { return s.issuing.Load().ring(shape) }

func (i *issuing) ring(shape ear.Shape) (ear.Ring, error) {
	ring, found := i.rings[shape.Name]
	if !found {
		return ear.Ring{}, verdict.Refuse("attestation.audience", "a shape of token that this service gives out", shape.Name, "whoever runs the service enables it by naming an audience and a policy")
	}
	return ring, nil
}

// KeySet gives the key set document of a shape, and Discovery the one that names it. Shapes that
// are off have none.
func (s *Service) KeySet(shape ear.Shape) ([]byte, error) {
	at := s.issuing.Load() // keys and certificates of one moment
	ring, err := at.ring(shape)
	if err != nil {
		return nil, err
	}
	if shape.Certified {
		return at.authorities[shape.Name].KeySet(ring)
	}
	return ring.KeySet()
}

// RevocationList gives a list of revoked certificates of a shape's keys, DER, by the last element
// of the address that certificates have for it.
func (s *Service) RevocationList(shape ear.Shape, id string) ([]byte, error) {
	if list := s.issuing.Load().authorities[shape.Name].List(id); list != nil {
		return list, nil
	}
	return nil, verdict.Refuse("attestation.crl", "the list of a CA that certifies keys of this service", verdict.Short(id), "take the address from a certificate of the key set")
}

// Discovery gives the OpenID Connect discovery document of a shape.
func (s *Service) Discovery(shape ear.Shape) ([]byte, error) {
	if _, err := s.ring(shape); err != nil {
		return nil, err
	}
	return ear.Discovery(s.cfg.Base, shape)
}

// Ready says what keeps the service from working, nil if nothing does: a store that answers,
// a key that signs now, and the policies that it is told to judge by.
func (s *Service) Ready(ctx context.Context) error {
	ring, err := s.ring(ear.EAR())
	if err != nil {
		return err
	}
	if !s.cfg.Now().Before(ring.Expiry()) {
		return &verdict.Error{Kind: verdict.Broken, Check: "attestation.keys", Expected: "a key that signs now", Got: "keys until " + wire.At(ring.Expiry()).String(), Fix: "look at the service's clock and store"}
	}
	if len(s.judges()) == 0 {
		_, err := s.cfg.Store.List(ctx, TableHead, "")
		return err
	}
	for _, id := range s.judges() {
		if _, err := s.policy(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// judges lists the policies that the service is told to judge by, each once.
func (s *Service) judges() []wire.ID {
	ids := []wire.ID{}
	if s.cfg.Policy != "" {
		ids = append(ids, s.cfg.Policy)
	}
	for _, g := range s.cfg.Gates {
		if !slices.Contains(ids, g.Policy) {
			ids = append(ids, g.Policy)
		}
	}
	return ids
}

// Lacking lists the policies that the service is told to judge by and that are not in force: what
// they judge is refused until an officer puts them in force.
func (s *Service) Lacking(ctx context.Context) ([]wire.ID, error) {
	var ids []wire.ID
	for _, id := range s.judges() {
		h, err := s.head(ctx, id)
		if err != nil {
			return nil, err
		}
		if h.Active == 0 {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func redeemedKey(expires time.Time, id string) string {
	return hex.EncodeToString(wire.Uint64(uint64(expires.UnixMilli()))) + id
}

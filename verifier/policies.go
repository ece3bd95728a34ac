package verifier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"strongroom.dev/appraise"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// head says which version of a policy is in force, 0 if none is, and what each version is: a text
// in the store that no head names was refused, or never got that far, and counts for nothing.
type head struct {
	Active  int64      `json:"active"`
	Highest int64      `json:"highest"`
	Changed wire.Time  `json:"changed"`
	Texts   []headText `json:"texts"`
}

// headText names the text of a version, for good.
type headText struct {
	Version int64       `json:"version"`
	Digest  wire.Digest `json:"digest"`
}

// text finds which text a version is.
func (h head) text(version int64) (wire.Digest, bool) {
	for _, t := range h.Texts {
		if t.Version == version {
			return t.Digest, true
		}
	}
	return wire.Digest{}, false
}

// storedPolicy is a version as it is kept.
type storedPolicy struct {
	Text  string    `json:"text"`
	Added wire.Time `json:"added"`
}

// inForce is a policy that an instance has read, and when.
type inForce struct {
	policy *appraise.Policy
	read   time.Time
}

// PolicyState says where a policy stands.
type PolicyState struct {
	ID wire.ID `json:"id"`
	// Active is the version in force, 0 if none is; Highest the newest one there is.
	Active  int64     `json:"active"`
	Highest int64     `json:"highest"`
	Changed wire.Time `json:"changed"`
}

// PolicyAdded is what came of adding a version.
type PolicyAdded struct {
	PolicyState
	Digest wire.Digest `json:"digest"`
	// Advice is what its author should look at.
	Advice []appraise.Advice `json:"advice"`
}

// PolicyVersion is one version of a policy.
type PolicyVersion struct {
	ID      wire.ID     `json:"id"`
	Version int64       `json:"version"`
	Digest  wire.Digest `json:"digest"`
	Active  bool        `json:"active"`
	Added   wire.Time   `json:"added"`
	Text    string      `json:"text"`
}

// Activation names the version of a policy that is to be in force.
type Activation struct {
	Version int64 `json:"version"`
}

// PolicyList is what officers see of all policies.
type PolicyList struct {
	Policies []PolicyState `json:"policies"`
}

// VersionList is what they see of one.
type VersionList struct {
	Versions []PolicyVersion `json:"versions"`
}

// textKey has the digest in it, so that no text ever takes another's place.
func textKey(id wire.ID, version int64, digest wire.Digest) string {
	return fmt.Sprintf("%s/%016d/%s", id, version, digest)
}

// AddPolicy keeps a new version of a policy, which the document numbers. It is a draft until
// [Service.Activate]; versions never change and never come back.
func (s *Service) AddPolicy(ctx context.Context, id wire.ID, text []byte) (PolicyAdded, error) {
	p, err := parsePolicy(text)
	if err != nil {
		return PolicyAdded{}, err
	}
	if p.ID != id {
		return PolicyAdded{}, verdict.Misuse("appraisal.policy", "the policy "+string(id), "one with the id "+verdict.Short(string(p.ID)), "send it where its id says")
	}
	if err := s.roomForPolicy(ctx, id); err != nil {
		return PolicyAdded{}, err
	}
	now := wire.At(s.cfg.Now())
	data, err := wire.Marshal(storedPolicy{string(text), now})
	if err != nil {
		return PolicyAdded{}, verdict.Misuse("appraisal.policy", "text", verdict.Short(err.Error()), "send it in UTF-8, normal form C")
	}
	// The text first: a head that names no text would be a defect, a text without a head is none.
	if h, err := s.head(ctx, id); err != nil || p.Version <= h.Highest {
		return PolicyAdded{}, cmpErr(err, olderVersion(h, p.Version))
	}
	if err := s.cfg.Store.Swap(ctx, TablePolicy, textKey(id, p.Version, p.Digest()), nil, data); err != nil && !errors.Is(err, ErrChanged) {
		return PolicyAdded{}, err
	}
	state, err := s.changeHead(ctx, id, func(h *head) error {
		if p.Version <= h.Highest {
			return olderVersion(*h, p.Version)
		}
		h.Highest, h.Texts = p.Version, append(h.Texts, headText{p.Version, p.Digest()})
		return nil
	})
	return PolicyAdded{state, p.Digest(), p.Lint(s.platforms())}, err
}

func cmpErr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

func olderVersion(h head, version int64) error {
	return verdict.Refuse("appraisal.version", fmt.Sprintf("a version above %d, the newest there is", h.Highest), fmt.Sprint(version), "raise the policy's version: versions never change and never come back")
}

// roomForPolicy bounds what officers can fill the store with by mistake.
func (s *Service) roomForPolicy(ctx context.Context, id wire.ID) error {
	heads, err := s.cfg.Store.List(ctx, TableHead, "")
	if err != nil {
		return err
	}
	known := false
	for _, h := range heads {
		known = known || h.Key == string(id)
	}
	if !known && len(heads) >= maxPolicies {
		return verdict.Refuse("appraisal.policies", fmt.Sprintf("at most %d policies", maxPolicies), "one more", "use a new version of one of them")
	}
	versions, err := s.cfg.Store.List(ctx, TablePolicy, string(id)+"/")
	if err == nil && len(versions) >= maxVersions {
		err = verdict.Refuse("appraisal.policies", fmt.Sprintf("at most %d versions of a policy", maxVersions), "one more", "go on under another id")
	}
	return err
}

// Activate puts a version in force, in the place of the one that was.
func (s *Service) Activate(ctx context.Context, id wire.ID, version int64) (PolicyState, error) {
	if version < 1 {
		return PolicyState{}, verdict.Misuse("appraisal.version", "a version from 1", fmt.Sprint(version), "name one that was added")
	}
	if _, err := s.Policy(ctx, id, version); err != nil {
		return PolicyState{}, err
	}
	return s.changeHead(ctx, id, func(h *head) error {
		if _, found := h.text(version); !found {
			return noVersion(id, version)
		}
		h.Active = version
		return nil
	})
}

// Retire takes a policy out of force. Its versions stay, for what was judged by them.
func (s *Service) Retire(ctx context.Context, id wire.ID) (PolicyState, error) {
	return s.changeHead(ctx, id, func(h *head) error {
		if h.Highest == 0 {
			return noPolicy(id)
		}
		h.Active = 0
		return nil
	})
}

func (s *Service) changeHead(ctx context.Context, id wire.ID, change func(*head) error) (PolicyState, error) {
	for range swapAttempts {
		old, err := s.cfg.Store.Get(ctx, TableHead, string(id))
		if err != nil {
			return PolicyState{}, err
		}
		h, err := parseHead(id, old)
		if err != nil {
			return PolicyState{}, err
		}
		if err := change(&h); err != nil {
			return PolicyState{}, err
		}
		h.Changed = wire.At(s.cfg.Now())
		data, err := wire.Marshal(h)
		if err != nil {
			return PolicyState{}, err
		}
		if err = s.cfg.Store.Swap(ctx, TableHead, string(id), old, data); err == nil {
			s.forget(id)
			return PolicyState{id, h.Active, h.Highest, h.Changed}, nil
		}
		if !errors.Is(err, ErrChanged) {
			return PolicyState{}, err
		}
	}
	return PolicyState{}, busy()
}

func (s *Service) head(ctx context.Context, id wire.ID) (head, error) {
	data, err := s.cfg.Store.Get(ctx, TableHead, string(id))
	if err != nil {
		return head{}, err
	}
	return parseHead(id, data)
}

func parseHead(id wire.ID, data []byte) (head, error) {
	var h head
	if data == nil {
		return h, nil
	}
	if err := wire.Unmarshal(data, &h); err != nil {
		return h, fmt.Errorf("the state of policy %s in the store: %w", id, err)
	}
	return h, nil
}

// Policies lists every policy, by id.
func (s *Service) Policies(ctx context.Context) ([]PolicyState, error) {
	entries, err := s.cfg.Store.List(ctx, TableHead, "")
	if err != nil {
		return nil, err
	}
	states := []PolicyState{}
	for _, e := range entries {
		h, err := parseHead(wire.ID(e.Key), e.Value)
		if err != nil {
			return nil, err
		}
		states = append(states, PolicyState{wire.ID(e.Key), h.Active, h.Highest, h.Changed})
	}
	return states, nil
}

// Versions lists the versions of a policy, oldest first.
func (s *Service) Versions(ctx context.Context, id wire.ID) ([]PolicyVersion, error) {
	h, err := s.head(ctx, id)
	if err != nil {
		return nil, err
	}
	if h.Highest == 0 {
		return nil, noPolicy(id)
	}
	list := []PolicyVersion{}
	for _, t := range h.Texts {
		_, v, err := s.read(ctx, id, h, t.Version)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// Policy gives one version of a policy.
func (s *Service) Policy(ctx context.Context, id wire.ID, version int64) (PolicyVersion, error) {
	_, v, err := s.version(ctx, id, version)
	return v, err
}

func (s *Service) version(ctx context.Context, id wire.ID, version int64) (*appraise.Policy, PolicyVersion, error) {
	h, err := s.head(ctx, id)
	if err != nil {
		return nil, PolicyVersion{}, err
	}
	return s.read(ctx, id, h, version)
}

// read gives the text that a head names for a version, and no other.
func (s *Service) read(ctx context.Context, id wire.ID, h head, version int64) (*appraise.Policy, PolicyVersion, error) {
	digest, found := h.text(version)
	if !found {
		return nil, PolicyVersion{}, noVersion(id, version)
	}
	data, err := s.cfg.Store.Get(ctx, TablePolicy, textKey(id, version, digest))
	if err != nil {
		return nil, PolicyVersion{}, err
	}
	p, v, err := readVersion(data)
	if err != nil || p.ID != id || p.Version != version || p.Digest() != digest {
		return nil, PolicyVersion{}, otherText(id, version, digest, err)
	}
	v.Active = version == h.Active
	return p, v, nil
}

func otherText(id wire.ID, version int64, digest wire.Digest, err error) error {
	got := "another text"
	if err != nil {
		got = verdict.Short(err.Error())
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "attestation.state", Expected: fmt.Sprintf("version %d of policy %s, %s, in the store", version, id, digest.Short()), Got: got,
		Fix: "restore the store, or add the policy under a new version", Err: err}
}

func readVersion(data []byte) (*appraise.Policy, PolicyVersion, error) {
	var stored storedPolicy
	if err := wire.Unmarshal(data, &stored); err != nil {
		return nil, PolicyVersion{}, err
	}
	p, err := appraise.Parse("policy", []byte(stored.Text))
	if err != nil {
		return nil, PolicyVersion{}, err
	}
	return p, PolicyVersion{ID: p.ID, Version: p.Version, Digest: p.Digest(), Added: stored.Added, Text: stored.Text}, nil
}

func noPolicy(id wire.ID) error {
	return verdict.Refuse("appraisal.policies", "a policy of this service", "none named "+verdict.Short(string(id)), "its officers add policies; see which there are")
}

func noVersion(id wire.ID, version int64) error {
	return verdict.Refuse("appraisal.version", "a version of policy "+verdict.Short(string(id)), fmt.Sprintf("no version %d", version), "see which there are")
}

// policy gives the version in force. What another instance changed is seen a second later.
func (s *Service) policy(ctx context.Context, id wire.ID) (*appraise.Policy, error) {
	now := s.cfg.Now()
	s.mu.Lock()
	known, found := s.active[id]
	s.mu.Unlock()
	if age := now.Sub(known.read); found && age >= 0 && age < policyFresh {
		return known.policy, nil
	}
	h, err := s.head(ctx, id)
	if err != nil {
		return nil, err
	}
	if h.Active == 0 {
		return nil, verdict.Refuse("appraisal.policies", "a policy in force", "none named "+verdict.Short(string(id)), "have an officer activate a version of it")
	}
	if !found || known.policy.Version != h.Active {
		if known.policy, _, err = s.read(ctx, id, h, h.Active); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active[id] = inForce{known.policy, now}
	return known.policy, nil
}

func (s *Service) forget(id wire.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.active, id)
}

func parsePolicy(text []byte) (*appraise.Policy, error) {
	if len(text) == 0 || len(text) > MaxPolicy {
		return nil, verdict.Misuse("appraisal.policy", fmt.Sprintf("a policy of at most %d bytes", MaxPolicy), fmt.Sprintf("%d bytes", len(text)), "send the YAML document")
	}
	p, err := appraise.Parse("policy", text)
	if e := (*verdict.Error)(nil); errors.As(err, &e) && e.Fix == "" {
		mended := *e
		mended.Fix = "correct the policy; `strongroom policy lint` looks at it before it is sent"
		err = &mended
	}
	return p, err
}

// platforms lists the platforms whose evidence the service can examine.
func (s *Service) platforms() []string {
	var names []string
	for _, x := range s.table.Load().examiners {
		names = append(names, string(x.Name))
	}
	return names
}

// Package relying is a client's judgement of a room that it connects to (spec/ingress.md,
// section 4): by an agreement that the client pins, as brokers go by theirs. It is the judge
// that package ingress asks before a byte of the client's leaves.
//
// It promises that no room is accepted without an agreement whose signatures hold now, that a
// development or software machine is accepted only where both the agreement and the client say
// so, and that what was accepted counts for as long as the client says and no longer. It has
// no network: endorsements and reference values are what its caller has.
package relying

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/policy"
	"strongroom.dev/reference"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

const (
	// MaxAge is the longest that evidence may count after it was made: firmware that is
	// withdrawn must not be relied on for longer than a day.
	MaxAge = 24 * time.Hour
	// maxAccepted is how many rooms are remembered at once; the oldest goes first.
	maxAccepted = 64
)

// Config says what a client accepts. Agreement, Parties, Platforms and Now are required: the
// zero Config refuses.
type Config struct {
	// Agreement is the one that the client pins: rooms of any other are refused.
	Agreement *agreement.SignedAgreement
	// Parties are the descriptors that the client has compared with its parties.
	Parties []*agreement.SignedParty
	// Platforms verify evidence, with the client's endorsements.
	Platforms []attest.Platform
	// Activators are parties of the agreement whose brokers' word the client takes for where a
	// TPM's attestation key lives. They may work together with whoever runs the machine (R6).
	Activators []wire.ID
	// Run pins the run that the room must be of; nil: any of the agreement.
	Run *wire.Digest
	// InsecureAllowSoftware accepts machines that keep nobody out, where the agreement does too.
	InsecureAllowSoftware bool
	// References gives the newest set known of each of the agreement's release lines, by
	// policy.LineDigest; nil: none, and no image is accepted by one.
	References func() (map[wire.Digest]policy.Newest, error)
	// Remember is told of each set that accepted a room, and refuses one that is a step back;
	// nil: the client remembers for as long as it lives.
	Remember func(reference.Name) error
	// Age is how long evidence counts that was accepted, at most MaxAge. Until then a connection
	// needs but the room's signature. Zero: every connection needs evidence of its own.
	Age time.Duration
	// Now is the client's clock.
	Now func() time.Time
}

// Accepted is a room that was accepted, and why.
type Accepted struct {
	Evidence wire.Digest     `json:"evidence"`
	Key      keys.KeyID      `json:"key"` // the fingerprint of the room's signing key
	Platform wire.ID         `json:"platform"`
	Class    agreement.Class `json:"class"`
	// Insecure is set if the machine keeps nobody out of the room's memory.
	Insecure bool      `json:"insecure"`
	Root     wire.Hash `json:"root"`
	Machine  string    `json:"machine,omitempty"`
	// Excludes and Trusts say whom the machine keeps out, and whom it makes the client trust.
	Excludes  []string        `json:"excludes"`
	Trusts    []string        `json:"trusts"`
	Agreement wire.Digest     `json:"agreement"`
	Run       wire.Digest     `json:"run"`
	Listed    *policy.Listed  `json:"listed,omitempty"` // the set that lists the image
	At        wire.Time       `json:"at"`
	Until     wire.Time       `json:"until"`
	Checks    []verdict.Check `json:"checks"`
}

// Client judges rooms. Its methods may be called from several goroutines.
type Client struct {
	Config
	activators []keys.PublicKey

	mu       sync.Mutex // owns what follows
	accepted []entry    // the newest last
	seen     map[wire.ID]reference.Name
}

type entry struct {
	Accepted
	binding attest.Binding
	until   time.Time
	where   policy.Where
}

// New makes a client's judge.
func New(c Config) (*Client, error) {
	client := &Client{Config: c, seen: map[wire.ID]reference.Name{}}
	missing := ""
	switch {
	case c.Agreement == nil || c.Agreement.Document == nil:
		missing = "no agreement"
	case len(c.Platforms) == 0 || c.Now == nil:
		missing = "no platforms or clock"
	case c.Age < 0 || c.Age > MaxAge:
		missing = fmt.Sprintf("an age of %s, at most %s", c.Age, MaxAge)
	}
	if missing != "" {
		return nil, verdict.Misuse("relying.config", "an agreement that you pin, and what verifies evidence", missing, "pin an agreement: without one no room is accepted")
	}
	if err := client.checkAgreement(); err != nil {
		return nil, err
	}
	for _, id := range c.Activators {
		key, err := client.releaseKey(id)
		if err != nil {
			return nil, err
		}
		client.activators = append(client.activators, key)
	}
	return client, nil
}

// checkAgreement checks that the agreement binds now, and that the client accepts its class.
func (c *Client) checkAgreement() error {
	if err := c.Agreement.Verify(c.Parties, c.Now()); err != nil {
		return err
	}
	if c.Agreement.Protection == agreement.Software && !c.InsecureAllowSoftware {
		return verdict.Refuse("relying.software", "machines that keep others out of a room", "an agreement of class software: whoever runs the machine can read everything",
			"if it is for trying things out, add --insecure-allow-software")
	}
	return nil
}

func (c *Client) releaseKey(id wire.ID) (keys.PublicKey, error) {
	party, found := c.Agreement.PartyByID(id)
	for _, p := range c.Parties {
		if found && p.Digest() == party.Descriptor && p.Broker != nil {
			return p.Broker.ReleaseKey, nil
		}
	}
	return keys.PublicKey{}, verdict.Misuse("relying.activator", "a party of the agreement with a broker", verdict.Short(string(id)), "name the party whose broker you trust to have asked the room's TPM")
}

// Activators gives the ids of the keys whose word on TPMs' keys is taken.
func (c *Client) Activators() (ids []keys.KeyID) {
	for _, k := range c.activators {
		ids = append(ids, k.ID())
	}
	return ids
}

// Known names the newest evidence that still counts.
func (c *Client) Known() wire.Digest {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range slices.Backward(c.accepted) {
		if c.Now().Before(e.until) {
			return e.Evidence
		}
	}
	return wire.Digest{}
}

// Recall gives what evidence bound that was accepted and still counts: the agreement holds
// still, and the set of reference values that lists the room, if one does, lists it still.
func (c *Client) Recall(evidence wire.Digest) (attest.Binding, error) {
	e, found := c.entry(evidence)
	if !found {
		return attest.Binding{}, verdict.Refuse("relying.age", "evidence that was accepted and still counts", "none", "connect again: the room then makes new evidence")
	}
	if err := c.checkAgreement(); err != nil {
		return attest.Binding{}, err
	}
	if e.Listed != nil {
		sets, err := c.references()
		if err != nil {
			return attest.Binding{}, err
		}
		if err := sets.Lists(*e.Listed, c.Agreement.Agreement, e.where); err != nil {
			return attest.Binding{}, err
		}
	}
	return e.binding, nil
}

func (c *Client) entry(evidence wire.Digest) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.accepted {
		if e.Evidence == evidence && c.Now().Before(e.until) {
			return e, true
		}
	}
	return entry{}, false
}

// Accepted gives what was found of a room by its evidence, also once it no longer counts.
func (c *Client) Accepted(evidence wire.Digest) (Accepted, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.accepted {
		if e.Evidence == evidence {
			return e.Accepted, true
		}
	}
	return Accepted{}, false
}

// Appraise accepts a room by evidence that it made for a connection, or says why not. b is
// what the evidence must bind; its agreement, and its run if one is pinned, must be the
// client's.
func (c *Client) Appraise(_ context.Context, evidence attest.Evidence, b attest.Binding) error {
	if err := c.checkAgreement(); err != nil {
		return err
	}
	if b.Agreement != c.Agreement.Digest() {
		return verdict.Refuse("relying.agreement", fmt.Sprintf("a room of agreement %s version %d (%s)", c.Agreement.ID, c.Agreement.Version, c.Agreement.Digest().Short()), "one of "+b.Agreement.Short(),
			"ask the host for the address of a room of this agreement, or pin the one that it runs")
	}
	if c.Run != nil && b.Run != *c.Run {
		return verdict.Refuse("relying.run", "the room of run "+c.Run.Short(), "one of "+b.Run.Short(), "ask the host for the address of that run's room")
	}
	now := c.Now()
	claims, err := attest.Verify(evidence, c.Platforms, attest.Expectation{Binding: b, AgreementBody: c.Agreement.Canonical(), Now: now,
		Trust: attest.Trust{Activators: c.activators, Platforms: c.Agreement.Platforms}})
	if err != nil {
		return err
	}
	return c.judge(claims, b, now)
}

// judge holds claims against the agreement, and remembers what passes.
func (c *Client) judge(claims attest.Claims, b attest.Binding, now time.Time) error {
	if claims.Class() == agreement.Software && !c.InsecureAllowSoftware { // whatever the agreement says
		return verdict.Refuse("relying.software", "a machine that keeps others out of the room", "one of class software", "use a room on another machine")
	}
	sets, err := c.references()
	if err != nil {
		return err
	}
	checks, listed := policy.Accepted(c.Agreement.Agreement, sets, claims)
	all := append(claims.Checks(), checks...)
	for _, check := range checks {
		if !check.OK {
			return verdict.FromCheck(verdict.Refused, check, all)
		}
	}
	if listed != nil {
		if err := c.remember(listed.Name); err != nil {
			return err
		}
	}
	c.keep(claims, b, now, listed, all)
	return nil
}

func (c *Client) references() (policy.References, error) {
	r := policy.References{Now: c.Now()}
	if c.References == nil {
		return r, nil
	}
	var err error
	r.Newest, err = c.References()
	return r, err
}

// remember keeps sets of reference values from going back.
func (c *Client) remember(n reference.Name) error {
	c.mu.Lock()
	err := n.Follows(c.seen[n.Product])
	if err == nil {
		c.seen[n.Product] = n
	}
	c.mu.Unlock()
	if err != nil || c.Remember == nil {
		return err
	}
	return c.Remember(n)
}

func (c *Client) keep(claims attest.Claims, b attest.Binding, now time.Time, listed *policy.Listed, checks []verdict.Check) {
	until := now.Add(c.Age)
	if end := c.Agreement.Valid.Until.Time(); end.Before(until) {
		until = end
	}
	f := claims.Facts()
	e := entry{binding: b, until: until, where: policy.WhereOf(claims), Accepted: Accepted{
		Evidence: claims.EvidenceDigest(), Key: b.Signing.ID(), Platform: claims.Platform(), Class: claims.Class(), Insecure: claims.Class() == agreement.Software, Root: claims.Root(), Machine: claims.Machine(),
		Excludes: append([]string{}, f.Excludes...), Trusts: append([]string{}, f.Trusts...), Agreement: b.Agreement, Run: b.Run, Listed: listed, At: wire.At(now), Until: wire.At(until), Checks: checks,
	}}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted = append(c.accepted, e)
	if len(c.accepted) > maxAccepted {
		c.accepted = slices.Delete(c.accepted, 0, 1)
	}
}

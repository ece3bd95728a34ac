// Package watch attests a fleet of rooms again and again: each is asked for evidence with a
// fresh nonce, judged by its policy, and compared with the time before (spec/watch.md).
//
// It promises that a target counts as good only while evidence that answers a nonce of this
// very round passes, that every change is told to the webhook at least once, also across
// restarts, and that a watcher that stops is noticed: what is older than two rounds counts as
// not known, and the heartbeat ends. It decides nothing else and releases nothing.
package watch

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"strongroom.dev/plainyaml"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Fleet is what is watched, as people write it.
type Fleet struct {
	// EverySeconds is the time from one round to the next, 10 s to a day.
	EverySeconds int64    `json:"every_seconds"`
	Targets      []Target `json:"targets"`
}

// Target is one room.
type Target struct {
	Name wire.ID `json:"name"`
	// URL answers a GET with evidence; {nonce} in it becomes 64 hex digits, the nonce that the
	// evidence must carry.
	URL string `json:"url"`
	// Policy is the file of the appraisal policy, "" for the platform's own rules only.
	Policy string `json:"policy"`
}

// Limits of a fleet.
const (
	// MaxTargets is the most rooms that one watcher asks: at one a second, a round of an hour.
	MaxTargets = 4096
	// MaxEvery and MinEvery bound the time between rounds.
	MinEvery = 10 * time.Second
	MaxEvery = 24 * time.Hour
	// Patience is the longest that one target, or the webhook, may take to answer.
	Patience = 30 * time.Second
	// AtOnce is how many targets are asked at the same time.
	AtOnce = 16
	// maxHistory is the most changes that are kept of one target.
	maxHistory = 32
)

// Every is the time from one round to the next.
func (f Fleet) Every() time.Duration { return time.Duration(f.EverySeconds) * time.Second }

// ParseFleet reads a fleet from YAML. Errors are of kind Usage, with file and line.
func ParseFleet(file string, data []byte) (Fleet, error) {
	var f Fleet
	format := plainyaml.Format{Check: "watch.fleet", What: "a fleet", Start: "strongroom attestation watch --help shows one"}
	d, err := format.Read(file, data, "", &f)
	if err != nil {
		return Fleet{}, err
	}
	if err := f.check(); err != nil {
		return Fleet{}, d.Locate(err)
	}
	return f, nil
}

func (f Fleet) check() error {
	bad := func(where, expected, got string) error {
		return &verdict.Error{Kind: verdict.Usage, Check: "watch.fleet", Where: where, Expected: expected, Got: got}
	}
	if every := f.Every(); every < MinEvery || every > MaxEvery {
		return bad("every_seconds", fmt.Sprintf("%.0f to %.0f", MinEvery.Seconds(), MaxEvery.Seconds()), fmt.Sprint(f.EverySeconds))
	}
	if len(f.Targets) == 0 || len(f.Targets) > MaxTargets {
		return bad("targets", fmt.Sprintf("1 to %d targets", MaxTargets), fmt.Sprint(len(f.Targets)))
	}
	seen := make(map[wire.ID]bool)
	for i, t := range f.Targets {
		at := fmt.Sprintf("targets[%d]", i)
		if t.Name == "" || seen[t.Name] {
			return bad(at+".name", "a name of its own", verdict.Short(string(t.Name)))
		}
		seen[t.Name] = true
		u, err := url.Parse(strings.ReplaceAll(t.URL, "{nonce}", "00"))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || !strings.Contains(t.URL, "{nonce}") {
			return bad(at+".url", "an http or https address with {nonce} in it", verdict.Short(t.URL))
		}
	}
	return nil
}

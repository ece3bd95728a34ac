package watch

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"strongroom.dev/internal/durable"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Standing is how a target stands.
type Standing string

// The standings. Only Good and Warned mean that evidence of this round passed.
const (
	Good        Standing = "good"
	Warned      Standing = "warned"
	Bad         Standing = "bad"
	Unreachable Standing = "unreachable"
	Unknown     Standing = "unknown"
)

// Seen is what is known of a target.
type Seen struct {
	Standing Standing `json:"standing"`
	// Says is the first failed check, or why the target could not be asked.
	Says string `json:"says,omitempty"`
	// Machine and Measured tell when another machine, or other code, answers.
	Machine  string `json:"machine,omitempty"`
	Measured string `json:"measured,omitempty"`
	// At is when it was last asked, LastGood when it last passed, Since when it came to stand so.
	At       wire.Time `json:"at"`
	LastGood wire.Time `json:"last_good,omitzero"`
	Since    wire.Time `json:"since"`
}

// passes reports whether a relying party may rely on it.
func (s Seen) passes() bool { return s.Standing == Good || s.Standing == Warned }

// Change is what the webhook is told: a target stands otherwise than before.
type Change struct {
	Target wire.ID   `json:"target"`
	At     wire.Time `json:"at"`
	Was    Standing  `json:"was"`
	Is     Standing  `json:"is"`
	Says   string    `json:"says"`
}

// State is what a watcher keeps between rounds.
type State struct {
	// Round is when the last round was over, Every the seconds to the next.
	Round   wire.Time           `json:"round"`
	Every   int64               `json:"every_seconds"`
	Targets map[string]Seen     `json:"targets"`
	History map[string][]Change `json:"history"`
	// Pending are changes that the webhook has not taken yet.
	Pending []Change `json:"pending"`
}

// Stale reports whether the watcher has missed two rounds: then nothing is known.
func (s State) Stale(now time.Time) bool {
	return s.Round.IsZero() || now.Sub(s.Round.Time()) > 2*time.Duration(s.Every)*time.Second+Patience
}

// Now gives a target's standing at a time: not known if the watcher has stopped.
func (s State) Now(target string, now time.Time) Seen {
	seen := s.Targets[target]
	if seen.Standing == "" || s.Stale(now) {
		seen.Standing, seen.Says = Unknown, "the watcher has not finished a round in time"
	}
	return seen
}

// Load reads a watcher's state; a file that is not there is the state of a new one.
func Load(path string) (State, error) {
	s := State{Targets: map[string]Seen{}, History: map[string][]Change{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return State{}, &verdict.Error{Kind: verdict.Broken, Check: "watch.state", Where: path, Expected: "the state of a watcher", Got: verdict.Short(err.Error()), Fix: "move the file away: every target then counts as new", Err: err}
	}
	return s, nil
}

func (s State) save(path string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = durable.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return &verdict.Error{Kind: verdict.Broken, Check: "watch.state", Where: path, Expected: "room to write", Got: verdict.Short(err.Error()), Fix: "look at the disk", Err: err}
	}
	return nil
}

// take takes in what a round found of a target, and gives the change if there is one.
func (s *State) take(target wire.ID, is Seen) {
	name := string(target)
	was, known := s.Targets[name]
	if !known {
		was.Standing = Unknown
	}
	is.Since, is.LastGood = was.Since, was.LastGood
	if is.passes() {
		is.LastGood = is.At
	} else { // what it said while it passed stays, to be compared with
		is.Machine, is.Measured = was.Machine, was.Measured
	}
	says := is.Says
	changed := is.Standing != was.Standing
	if is.passes() && was.Machine != "" && is.Machine != was.Machine {
		changed, says = true, "another machine answers: "+is.Machine
	}
	if is.passes() && was.Measured != "" && is.Measured != was.Measured {
		changed, says = true, "other code is measured: "+is.Measured
	}
	if changed {
		is.Since = is.At
		c := Change{Target: target, At: is.At, Was: was.Standing, Is: is.Standing, Says: verdict.Short(says)}
		if known || is.Standing != Good { // a new target that is good is no news
			s.Pending = append(s.Pending, c)
		}
		s.History[name] = append(s.History[name], c)
		if n := len(s.History[name]); n > maxHistory {
			s.History[name] = slices.Clone(s.History[name][n-maxHistory:])
		}
	}
	s.Targets[name] = is
}

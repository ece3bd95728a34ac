package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"strongroom.dev/verdict"
)

// Report is what a demo found, as --output json prints it. Receipts are empty in a story that
// releases nothing.
type Report struct {
	Results  map[string]any     `json:"results"`
	Attacks  []Attack           `json:"attacks"`
	Receipts []json.RawMessage  `json:"receipts"`
	Seconds  map[string]float64 `json:"seconds"`
}

// newReport is a report of nothing yet. Its lists are there even if nothing comes.
func newReport() *Report {
	return &Report{Results: map[string]any{}, Attacks: []Attack{}, Receipts: []json.RawMessage{}, Seconds: map[string]float64{}}
}

// chapter is a part of a story, by the name under which it is timed.
type chapter struct {
	name string
	tell func(context.Context) error
}

// tellAll tells the chapters in order, up to the first that fails, and times them.
func (w *world) tellAll(ctx context.Context, report *Report, chapters []chapter) error {
	begun := time.Now()
	defer func() { report.Seconds["total"] = time.Since(begun).Seconds() }()
	for _, c := range chapters {
		start := time.Now()
		if err := c.tell(ctx); err != nil {
			return err
		}
		report.Seconds[c.name] = time.Since(start).Seconds()
	}
	return nil
}

// Attack is one attempt to cheat. Refused means the attacker did not get what it wanted.
type Attack struct {
	Name    string `json:"name"`
	Refused bool   `json:"refused"`
	// By says who refused: "room", "broker alpha-hospital", "strongroom open", ...
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// Err is nil if every attack was tried and refused.
func (r *Report) Err() error {
	for _, a := range r.Attacks {
		if !a.Refused {
			return &verdict.Error{Kind: verdict.Broken, Check: "demo.attack", Expected: a.Name + ": refused", Got: a.Reason,
				Fix: "this is a defect: please report it"}
		}
	}
	return nil
}

// attempt is an attack to try. try gives who refused and why; a nil refusal means that the
// attacker got through, an error that the attack could not be tried.
type attempt struct {
	name string
	try  func(ctx context.Context) (by string, refusal error, err error)
	// wants are the checks that may refuse it: any other refusal shows that the attack did
	// not get as far as what it is about.
	wants []string
}

// attack tries every attempt, in order, until ctx ends.
func (w *world) attack(ctx context.Context, report *Report, attempts []attempt) error {
	for _, a := range attempts {
		start := time.Now()
		found := w.tryOne(ctx, a)
		if ctx.Err() != nil {
			return interrupted(ctx)
		}
		report.Attacks = append(report.Attacks, found)
		word := "refused"
		if !found.Refused {
			word = "NOT REFUSED"
		}
		w.tell("  %-11s %s (%.1f s)\n              by %s: %s", word, a.name, time.Since(start).Seconds(), found.By, found.Reason)
	}
	return nil
}

// tryTime is how long an attack may take: enough to boot a machine in software emulation on
// a busy host.
const tryTime = 4 * time.Minute

func (w *world) tryOne(ctx context.Context, a attempt) Attack {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	by, refusal, err := a.try(ctx)
	switch {
	case err != nil:
		return Attack{Name: a.name, By: "nobody", Reason: "could not be tried: " + verdict.Short(err.Error())}
	case refusal == nil:
		return Attack{Name: a.name, By: "nobody", Reason: "the attacker got through"}
	}
	e := verdict.As(refusal)
	refused := e.Kind == verdict.Refused || e.Kind == verdict.Invalid || e.Kind == verdict.Usage
	if !refused || !errors.As(refusal, new(*verdict.Error)) {
		return Attack{Name: a.name, By: by, Reason: "failed without a refusal: " + verdict.Printable(refusal.Error())}
	}
	if !slices.Contains(a.wants, e.Check) {
		return Attack{Name: a.name, By: by, Reason: fmt.Sprintf("refused by another check than %v: %s", a.wants, e.Error())}
	}
	return Attack{Name: a.name, Refused: true, By: by, Reason: e.Error()}
}

// byCommand is an attack that a command refuses.
func (w *world) byCommand(ctx context.Context, by string, args ...string) (string, error, error) {
	_, err := w.quiet(ctx, args...)
	if err != nil && verdict.As(err).Kind == verdict.Broken {
		return "", nil, err
	}
	return by, err, nil
}

package acme

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"strongroom.dev/verdict"
)

// Hook shows proofs of kind dns-01 by a program of the owner's, which is called as
//
//	PROGRAM present _acme-challenge.NAME. VALUE
//	PROGRAM cleanup _acme-challenge.NAME. VALUE
//
// as other ACME clients call theirs. `present` ends, with 0, when the authority can see the
// TXT record. Two names may need two values at one name: a hook adds and removes, and replaces
// nothing.
type Hook struct {
	// Program is its path; it gets no shell.
	Program string
	// Environment is its whole environment, KEY=VALUE.
	Environment []string
}

// Kind implements [Prover].
func (Hook) Kind() Kind { return DNS }

// Show implements [Prover].
func (h Hook) Show(ctx context.Context, p Proof) error { return h.run(ctx, "present", p) }

// Hide implements [Prover].
func (h Hook) Hide(ctx context.Context, p Proof) error { return h.run(ctx, "cleanup", p) }

func (h Hook) run(ctx context.Context, verb string, p Proof) error {
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	said := new(said)
	c := exec.CommandContext(ctx, h.Program, verb, "_acme-challenge."+p.Name+".", p.Value)
	c.Env, c.Dir, c.Stdout, c.Stderr, c.WaitDelay = append([]string{}, h.Environment...), "/", said, said, time.Second
	err := c.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", verdict.Short(h.Program), verb, err, verdict.Short(strings.TrimSpace(said.String())))
	}
	return nil
}

// said keeps the beginning of what a program prints.
type said struct{ text []byte }

// Write takes everything, and keeps what there is room for.
func (s *said) Write(p []byte) (int, error) {
	s.text = append(s.text, p[:min(len(p), maxSaid-len(s.text))]...)
	return len(p), nil
}

func (s *said) String() string { return string(s.text) }

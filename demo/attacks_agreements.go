package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
)

// onAgreements are attacks with agreements that have no authority.
func (e *enemy) onAgreements() []attempt {
	protection := []string{"agreement.protection", "agreement.form"}
	return []attempt{
		{"expired agreement", e.presentExpired, []string{"agreement.validity"}},
		{"superseded agreement presented", e.presentSuperseded, []string{"agreement.activated"}},
		{"agreement mixing dev with hardware", func(ctx context.Context) (string, error, error) {
			return e.draft(ctx, "mixed", edit{"platforms:\n", "platforms:\n  - kind: snp\n    images:\n      - name: room\n        measurements:\n          launch_digest: " + hex96 + "\n"})
		}, protection},
		{"confidential agreement given dev", func(ctx context.Context) (string, error, error) {
			return e.draft(ctx, "confidential", edit{"protection: software", "protection: confidential"})
		}, protection},
	}
}

const hex96 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// draft has Alpha sign a draft that must not be signed.
func (e *enemy) draft(ctx context.Context, name string, edits ...edit) (string, error, error) {
	if err := e.writeAgreement(name+".yaml", time.Now().AddDate(1, 0, 0), edits...); err != nil {
		return "", nil, err
	}
	return e.byCommand(ctx, "strongroom agreement sign, Alpha's", e.as(alpha, "agreement", "sign", e.path(name+".yaml"), "--yes")...)
}

// presentExpired waits until an activated agreement has expired and asks under it.
func (e *enemy) presentExpired(ctx context.Context) (string, error, error) {
	select {
	case <-time.After(time.Until(e.expired.Add(time.Second))):
	case <-ctx.Done():
		return "", nil, ctx.Err()
	}
	return e.presentOld(ctx, e.short)
}

// presentSuperseded has the parties agree on version 2 and a host go on under version 1.
func (e *enemy) presentSuperseded(ctx context.Context) (string, error, error) {
	err := e.writeAgreement("study-2.yaml", time.Now().AddDate(1, 0, 0), edit{"version: 1\n", "version: 2\nsupersedes: " + e.study1.Digest().String() + "\n"})
	if err != nil {
		return "", nil, err
	}
	if _, err := e.agree(ctx, e.quiet, "study-2.yaml"); err != nil {
		return "", nil, err
	}
	return e.presentOld(ctx, e.study1)
}

// presentOld asks Alpha's broker for keys under an agreement that has no authority any more,
// past the room's own checks.
func (e *enemy) presentOld(ctx context.Context, a *agreement.SignedAgreement) (string, error, error) {
	run, err := e.request(a, questions[1], nil)
	if err != nil {
		return "", nil, err
	}
	x, err := newIntruder(e.root, e.measured, a, e.parties, run)
	if err != nil {
		return "", nil, err
	}
	input, err := e.currentInput(alpha)
	if err != nil {
		return "", nil, err
	}
	by, refusal, err := e.ask(ctx, x, alpha, input)
	var e2 *verdict.Error
	if err == nil && refusal != nil && !errors.As(refusal, &e2) {
		return "", nil, fmt.Errorf("no refusal: %w", refusal)
	}
	return by, refusal, err
}

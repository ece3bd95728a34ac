package room_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"strongroom.dev/ingress"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
)

// A room waits for an authority outside, and for nothing else.
func TestAskPatiently(t *testing.T) {
	pending := verdict.Refuse("certify.pending", "a certificate", "none yet", "ask again")
	asked := 0
	got, err := room.AskPatiently(t.Context(), func() ([]byte, error) {
		if asked++; asked == 1 {
			return nil, pending
		}
		return []byte("certificate"), nil
	})
	if string(got) != "certificate" || err != nil || asked != 2 {
		t.Errorf("%q, %v after %d questions", got, err, asked)
	}
	asked = 0
	_, err = room.AskPatiently(t.Context(), func() ([]byte, error) {
		asked++
		return nil, verdict.Refuse("certify.rate", "fewer", "5", "wait")
	})
	if verdict.As(err).Check != "certify.rate" || asked != 1 {
		t.Errorf("%v after %d questions", err, asked)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err = room.AskPatiently(ctx, func() ([]byte, error) { return nil, pending }); !errors.Is(err, pending) {
		t.Errorf("%v when its time was over", err)
	}
}

// At a renewal that fails the earlier certificate stays, as long as it is one.
func TestFailedNames(t *testing.T) {
	key, err := ingress.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)
	had, err := key.SelfSigned([]string{"web.example"}, now.Add(-time.Hour), now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := room.FailedNames(had, now); got != had || verdict.As(err).Check != "room.certificate" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := room.FailedNames(had, now.Add(time.Hour)); got != nil || err == nil {
		t.Error("shows a certificate that is over")
	}
	if got, err := room.FailedNames(nil, now); got != nil || err == nil {
		t.Error("shows a certificate that it never had")
	}
}

package container_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/release"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container"
	"strongroom.dev/workload/container/volume"
)

// TestLogsEndWithTheLease: what is printed leaves only while the run goes on.
func TestLogsEndWithTheLease(t *testing.T) {
	var given []container.Printed
	ctx, lapse := context.WithCancel(t.Context())
	give := func(ctx context.Context, p container.Printed) {
		if ctx.Err() != nil {
			t.Error("a piece is handed over after the run")
		}
		p.Text = slices.Clone(p.Text)
		given = append(given, p)
		lapse()
	}
	logs := agreement.Logs{Receivers: []wire.ID{"alpha"}, MaxBytes: 10 << 20}
	container.PrintAll(ctx, logs, strings.Repeat(strings.Repeat("x", 999)+"\n", 3000), give)
	if len(given) != 1 || given[0].Last {
		t.Errorf("%d pieces after the lease", len(given)-1)
	}
	given = nil
	container.PrintAll(ctx, logs, "secret\n", give)
	if len(given) != 0 {
		t.Errorf("after the lease %q is handed over", given[0].Text)
	}
}

// TestLogPieces: pieces are whole lines, and never larger than their bound.
func TestLogPieces(t *testing.T) {
	var all string
	pieces, last := 0, false
	container.PrintAll(t.Context(), agreement.Logs{Receivers: []wire.ID{"alpha"}, MaxBytes: 10 << 20}, strings.Repeat(strings.Repeat("x", 9999)+"\n", 300), func(_ context.Context, p container.Printed) {
		if len(p.Text) > container.LogPiece || len(p.Text) > 0 && p.Text[len(p.Text)-1] != '\n' || last {
			t.Errorf("a piece of %d bytes", len(p.Text))
		}
		all += string(p.Text)
		pieces, last = pieces+1, p.Last
	})
	if strings.Count(all, "\n") != 300 || pieces != 3 || !last {
		t.Errorf("%d lines in %d pieces", strings.Count(all, "\n"), pieces)
	}
}

// TestLapseWhileClosing: a root takes longer than a lease. Its key is taken away at once, by a
// keeper that is still there, and no broker hears of a closing.
func TestLapseWhileClosing(t *testing.T) {
	ctx, lapse := context.WithCancelCause(t.Context())
	lapsed := errors.New("the lease lapsed")
	var steps []string
	v := &container.Volumes{
		Keep: func(ctx context.Context, request []byte, _ ...*os.File) ([]byte, *os.File, error) {
			var r volume.Request
			if err := json.Unmarshal(request, &r); err != nil {
				return nil, nil, err
			}
			steps = append(steps, string(r.Step))
			if r.Step == volume.Root && len(steps) == 3 {
				lapse(lapsed)
			}
			if ctx.Err() != nil {
				t.Error("the keeper is killed, with the key in the kernel")
			}
			return []byte(`{"more":true}`), nil, nil
		},
		Broker: func(context.Context, wire.ID, release.VolumeStep, int64, *wire.Hash) (release.VolumeAnswer, error) {
			t.Error("a broker is told of a closing")
			return release.VolumeAnswer{}, nil
		},
	}
	began := time.Now()
	states, err := container.Ended(container.NoCell{}, v).Close(ctx)
	if !errors.Is(err, lapsed) || len(states) != 1 || states[0].Closed {
		t.Errorf("%v, states %+v", err, states)
	}
	if want := []string{"root", "root", "root", "forget"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q, expected %q", steps, want)
	}
	steps = nil
	if _, err := container.Ended(container.NoCell{}, v).Close(ctx); err != nil || !slices.Equal(steps, []string{"forget"}) {
		t.Errorf("closed after the lease: %v, steps %q", err, steps)
	}
	if time.Since(began) > 2*time.Second {
		t.Errorf("it took %s", time.Since(began))
	}
}

// TestCloseAfterAWhile: an ordinary closing waits for the root, and tells it.
func TestCloseAfterAWhile(t *testing.T) {
	root, asked, told := wire.HashOf([]byte("content")), 0, false
	v := &container.Volumes{
		Keep: func(_ context.Context, request []byte, _ ...*os.File) ([]byte, *os.File, error) {
			if strings.Contains(string(request), `"forget"`) {
				return []byte(`{}`), nil, nil
			}
			if !strings.Contains(string(request), `"bytes":1048576`) {
				t.Errorf("asked %s", request)
			}
			if asked++; asked < 4 {
				return []byte(`{"more":true}`), nil, nil
			}
			answer, err := json.Marshal(volume.Answer{Root: &root})
			return answer, nil, err
		},
		Broker: func(_ context.Context, _ wire.ID, step release.VolumeStep, generation int64, r *wire.Hash) (release.VolumeAnswer, error) {
			told = step == release.VolumeClose && generation == 3 && *r == root
			return release.VolumeAnswer{}, nil
		},
	}
	states, err := container.Ended(container.NoCell{}, v).Close(t.Context())
	if err != nil || len(states) != 1 || !states[0].Closed || !told {
		t.Errorf("%v, states %+v, told %v", err, states, told)
	}
}

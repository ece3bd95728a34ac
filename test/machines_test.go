package test

import (
	"bytes"
	"context"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/host"
	"strongroom.dev/internal/world"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// study is a world that agrees on one room image, in virtual machines.
type study struct {
	*world.World
	machines *world.Machines
	rooms    int
}

// newStudy builds the image and makes the world.
func newStudy(t *testing.T) *study {
	t.Helper()
	bin := programs(t)
	if err := world.MissingMachines(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("scripts/setup vm installs what is missing: %v", err)
		}
		t.Skipf("scripts/setup vm installs what is missing: %v", err)
	}
	machines, err := world.NewMachines(t.Context(), bin, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &study{World: newWorld(t, machines), machines: machines}
}

// patients are some rows of data, of a version of it.
func patients(version int) string {
	return "patient,radius\n1,2\n2," + strings.Repeat("7", version) + "\n"
}

func newWorld(t *testing.T, machines *world.Machines) *world.World {
	t.Helper()
	owner := func(id wire.ID) world.Owner {
		return world.Owner{ID: id, Plain: strings.NewReader(patients(1)), Format: agreement.CSV}
	}
	w, err := world.New(t.Context(), world.Config{Dir: t.TempDir(), Machines: machines, MinGroup: 10, MaxRows: 100, MaxBytes: 10_000, LeaseMS: 3000,
		Owners: []world.Owner{owner("alpha"), owner("beta")},
		Schema: []agreement.Column{{Name: "patient", Type: "integer", Unit: true}, {Name: "radius", Type: "integer"}},
		Work:   []agreement.Work{{Name: "count", Kind: "sql", Description: "how many", Query: "SELECT count(*) AS n FROM rows", Parameters: []agreement.Parameter{}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func (s *study) job(t *testing.T) host.Job {
	t.Helper()
	job, _, err := s.Job("count", map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// boot boots a machine for a job, and gives what its room showed to brokers, and how it ended.
// A room that comes to the step kill is killed there; "" lets it end.
func (s *study) boot(t *testing.T, vm *host.VM, job host.Job, kill room.Step) ([]room.Shown, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var printed console
	c := s.Host
	c.VM, c.Log = vm, &printed
	s.rooms++
	r, err := host.Start(ctx, c, "room"+string(rune('0'+s.rooms)), job)
	if err != nil {
		t.Fatal(err)
	}
	var shown []room.Shown
	for from := 0; ; {
		events, ended := r.Events(ctx, from)
		for _, e := range events {
			if e.Shown != nil {
				shown = append(shown, *e.Shown)
			}
			if kill != "" && e.Step == kill {
				r.Stop()
			}
		}
		if from += len(events); ended || ctx.Err() != nil {
			break
		}
	}
	err = r.Wait(ctx)
	text := printed.String()
	t.Log(text)
	for _, bad := range []string{"Kernel panic", "Call Trace", "Out of memory", "goroutine "} {
		if strings.Contains(text, bad) {
			t.Errorf("the machine prints %q", bad)
		}
	}
	return shown, err
}

// equal demands that evidence for both brokers carries what was computed from the image's files,
// and nothing else.
func (s *study) equal(t *testing.T, shown []room.Shown) {
	t.Helper()
	if len(shown) != 2 {
		t.Errorf("evidence for %d brokers", len(shown))
	}
	for _, e := range shown {
		quoted, err := world.Quoted(e)
		if err != nil {
			t.Error(err)
		}
		if len(quoted) == 0 || !maps.Equal(quoted, s.machines.Values) {
			t.Errorf("quoted  %v\ncomputed %v", quoted, s.machines.Values)
		}
	}
}

// TestMachines boots one image in machines of three sizes. Whatever the size, what the TPM quotes
// is what was computed from the image's files, and keys are released for it; and no data that
// changed, or is old, gets into a result.
func TestMachines(t *testing.T) {
	if testing.Short() {
		t.Skip("boots machines")
	}
	s := newStudy(t)
	stale := s.job(t) // signed before alpha has newer data

	t.Run("killed with its keys", func(t *testing.T) {
		shown, err := s.boot(t, s.machines.VM(1, 512), s.job(t), room.Released)
		s.equal(t, shown)
		if err == nil || verdict.As(err).Check != "room.stopped" {
			t.Errorf("ended with %v", err)
		}
	})
	t.Run("restarted with a stale disk", func(t *testing.T) {
		if err := s.Renew(t.Context(), "alpha", strings.NewReader(patients(2))); err != nil {
			t.Fatal(err)
		}
		shown, err := s.boot(t, s.machines.VM(2, 1024), stale, "")
		s.equal(t, shown)
		if err == nil || verdict.As(err).Check != "input.current" || verdict.As(err).Kind != verdict.Refused {
			t.Errorf("ended with %v", err)
		}
	})
	t.Run("one bit of a sealed input flipped", func(t *testing.T) {
		job := s.job(t)
		data, err := os.ReadFile(job.Inputs[1].Path)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)-20] ^= 1
		if err := os.WriteFile(job.Inputs[1].Path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		shown, err := s.boot(t, s.machines.VM(1, 1024), job, "")
		s.equal(t, shown)
		if err == nil || verdict.As(err).Check != "input.file" || verdict.As(err).Kind != verdict.Invalid {
			t.Errorf("ended with %v", err)
		}
	})
}

// console is what a machine printed.
type console struct {
	mu sync.Mutex // owns b
	b  bytes.Buffer
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.Write(p)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}

package main

import (
	"bytes"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/internal/home"
	"strongroom.dev/store/state"
	"strongroom.dev/verdict"
)

// A broker that is still starting holds its state and answers nobody yet: whoever looks at it
// waits, and is not told to stop it.
func TestLookWhileStarting(t *testing.T) {
	h, _, err := home.Init(filepath.Join(t.TempDir(), "home"), home.Setup{Name: "alpha", Title: "Alpha", Data: true, BrokerAddress: "localhost:7443", Operator: "me", Years: 1}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a := &app{in: new(bytes.Buffer), out: new(bytes.Buffer), err: new(bytes.Buffer), now: time.Now, homeDir: h.Dir()}
	admin, err := a.brokerAdmin(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Close(); err != nil {
		t.Fatal(err)
	}
	held, err := state.Open(h.BrokerState(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	_, busy := state.Open(h.BrokerState(), time.Millisecond)
	if !isHeld(busy) || isHeld(nil) || !strings.Contains(verdict.As(stillHeld(busy)).Fix, "still starting") {
		t.Errorf("a state that is held: %v", busy)
	}
	path, done, err := socketPath(h.BrokerSocket())
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	go func() {
		time.Sleep(2500 * time.Millisecond) // longer than the state's file is waited for
		if l, err := net.Listen("unix", path); err == nil {
			t.Cleanup(func() { l.Close() })
		}
	}()
	_, view, running, err := a.lookAtBroker(t.Context())
	if err != nil || !running {
		t.Fatalf("running %v, %v", running, err)
	}
	view.Close()
}

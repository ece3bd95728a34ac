package room_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"

	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/device"
	"strongroom.dev/room"
	"strongroom.dev/wire"
)

// fakeDevice is the evidence device of a dev room in a world, as a test wants it.
type fakeDevice struct {
	w        *world
	platform wire.ID
	begin    error
	separate error

	mu    sync.Mutex
	asked []string
}

func (d *fakeDevice) note(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, what)
}

func (d *fakeDevice) Begin(_ context.Context, initData wire.Digest, short wire.Hash) (device.Introduction, error) {
	d.note("begin")
	body := d.w.agreement.Canonical()
	if initData != attest.InitData(body) || short != attest.ShortInitData(body) {
		return device.Introduction{}, errors.New("not the agreement's init data")
	}
	return device.Introduction{Platform: d.platform, Why: "a test"}, d.begin
}

func (d *fakeDevice) Activate(context.Context, []byte, []byte) ([]byte, error) {
	return nil, errors.New("no key")
}

func (d *fakeDevice) Attest(_ context.Context, report [64]byte, _ []byte) (attest.Evidence, error) {
	d.note("attest")
	return dev.Sign(d.w.root, d.w.image, attest.InitData(d.w.agreement.Canonical()), report)
}

func (d *fakeDevice) Separate(_ context.Context, run wire.Digest) error {
	d.note("separate")
	if run.IsZero() {
		return errors.New("no run")
	}
	return d.separate
}

func (d *fakeDevice) Ingress(ctx context.Context, c device.Connection) (attest.Evidence, error) {
	d.note("ingress")
	return d.Attest(ctx, c.Binding().ReportData(), c.Record)
}

// TestDeviceOrder: evidence ends before the first plaintext.
func TestDeviceOrder(t *testing.T) {
	w := newWorld(t, nil)
	d := &fakeDevice{w: w, platform: "dev"}
	c := w.config()
	c.Device = d
	memory := c.Memory
	c.Memory = func(name string) (*os.File, error) { d.note("memory"); return memory(name) }
	must(t, room.Run(t.Context(), c, w.start(w.request(nil))))
	asked := slices.Compact(d.asked)
	want := []string{"begin", "attest", "separate", "memory"}
	if len(asked) < 4 || !slices.Equal(asked[:4], want) || slices.Contains(asked[4:], "attest") {
		t.Errorf("asked %v, expected %v first, and no evidence later", asked, want)
	}
}

// TestDeviceRefuses: a device that fails stops the run before anything is decrypted.
func TestDeviceRefuses(t *testing.T) {
	for _, test := range []struct {
		name            string
		begin, separate error
		want            []string
	}{
		{"another agreement", errors.New("another agreement"), nil, []string{"begin"}},
		{"no separator", nil, errors.New("the TPM is gone"), []string{"begin", "attest", "separate"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, nil)
			d := &fakeDevice{w: w, platform: "dev", begin: test.begin, separate: test.separate}
			c := w.config()
			c.Device = d
			memory := c.Memory
			c.Memory = func(name string) (*os.File, error) { d.note("memory"); return memory(name) }
			if err := room.Run(t.Context(), c, w.start(w.request(nil))); err == nil {
				t.Fatal("the run went on")
			}
			if asked := slices.Compact(d.asked); !slices.Equal(asked, test.want) {
				t.Errorf("asked %v, expected %v", asked, test.want)
			}
			if len(w.files) != 0 {
				t.Errorf("%d files left the room", len(w.files))
			}
		})
	}
}

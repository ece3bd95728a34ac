package device_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
	"strongroom.dev/device"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// mounting is a device that gives the key of a mount as a file.
type mounting struct{ fake }

func (mounting) Mount(_ context.Context, asked device.Mount) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	_, err = w.Write(asked.Key)
	return r, err
}

// pair gives two ends of a local stream socket, the second one of which is waited for as
// agents wait.
func pair(t *testing.T) (a, b *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fds[1], true)
	}
	if err != nil {
		t.Fatal(err)
	}
	a, b = os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestMount(t *testing.T) {
	run := wire.Digest{1}
	for name, c := range map[string]struct {
		d        device.Device
		separate bool
		want     string
	}{
		"too early":       {mounting{}, false, "device.order"},
		"no such machine": {fake{}, true, "device.mount"},
		"mounted":         {mounting{}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			theirs, ours := pair(t)
			go device.Serve(ctx, theirs, c.d)
			client := device.NewClient(ours)
			client.Begin(ctx, wire.Digest{1}, wire.Hash{1})
			if c.separate {
				if err := client.Separate(ctx, run); err != nil {
					t.Fatal(err)
				}
			}
			key := []byte("0123456789abcdef0123456789abcdef")
			f, err := client.Mount(ctx, device.Mount{Disk: "disk-0", Kind: device.VolumeMount, Key: key})
			if c.want != "" {
				if err == nil || verdict.As(err).Check != c.want {
					t.Fatalf("%v, expected %s", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, key) {
				t.Errorf("%q, %v", got, err)
			}
			// The connection goes on, and a mount that is refused gives no file.
			if _, err := client.Activate(ctx, []byte("a"), []byte("b")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMountRefused: the device's own refusal comes through, and no file.
func TestMountRefused(t *testing.T) {
	ctx := context.Background()
	theirs, ours := pair(t)
	go device.Serve(ctx, theirs, refusing{})
	client := device.NewClient(ours)
	client.Begin(ctx, wire.Digest{1}, wire.Hash{1})
	client.Separate(ctx, wire.Digest{1})
	if f, err := client.Mount(ctx, device.Mount{Disk: "disk-0"}); f != nil || verdict.As(err).Check != "machine.disk" {
		t.Errorf("%v, %v", f, err)
	}
	if _, err := client.Activate(ctx, nil, nil); err != nil {
		t.Error(err)
	}
}

type refusing struct{ fake }

func (refusing) Mount(context.Context, device.Mount) (*os.File, error) {
	return nil, verdict.Refuse("machine.disk", "a disk", "none", "")
}

// TestMountWithoutFile: an answer without a file ends the client.
func TestMountWithoutFile(t *testing.T) {
	ctx := context.Background()
	theirs, ours := pair(t)
	go func() {
		io.CopyN(io.Discard, theirs, 10)
		theirs.Write([]byte("\x00\x00\x00\x02ok\x00\x00\x00\x02{}\x00"))
	}()
	client := device.NewClient(ours)
	if f, err := client.Mount(ctx, device.Mount{Disk: "disk-0"}); f != nil || err == nil {
		t.Errorf("%v, %v", f, err)
	}
	if _, err := client.Activate(ctx, nil, nil); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("asked again: %v", err)
	}
}

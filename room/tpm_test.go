package room_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/device"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/tpmtest"
	"strongroom.dev/release"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// tpmDevice is the evidence device of a machine with a TPM, which does what the first process
// in a room's virtual machine does.
type tpmDevice struct {
	*tpmtest.TPM
	mu       sync.Mutex
	records  [][]byte
	replayed *attest.Evidence // shown whatever is asked
	shown    []attest.Evidence
	ended    bool
	// introduced and attest, where set, lie.
	introduced func(*device.Key)
	attest     func(report [64]byte, record []byte) (attest.Evidence, error)
}

func (d *tpmDevice) Begin(_ context.Context, _ wire.Digest, short wire.Hash) (device.Introduction, error) {
	d.TPM.Begin(short)
	key := &device.Key{EKCertificate: d.EKCertificate, Certificates: []wire.Bytes{d.Root}, AKPublic: d.AKPublic}
	if d.introduced != nil {
		d.introduced(key)
	}
	return device.Introduction{Platform: tpm.Name, Why: "a test", Key: key}, nil
}

var errEnded = errors.New("the work has started")

func (d *tpmDevice) Activate(_ context.Context, credential, secret []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return nil, errEnded
	}
	return d.TPM.Activate(credential, secret)
}

func (d *tpmDevice) Attest(_ context.Context, report [64]byte, record []byte) (attest.Evidence, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return attest.Evidence{}, errEnded
	}
	d.records = append(d.records, record)
	if d.replayed != nil {
		return *d.replayed, nil
	}
	if d.attest != nil {
		return d.attest(report, record)
	}
	e, err := d.Evidence(report, record)
	d.shown = append(d.shown, e)
	return e, err
}

func (d *tpmDevice) Separate(_ context.Context, run wire.Digest) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	d.TPM.Separate(run)
	return nil
}

func (d *tpmDevice) Ingress(_ context.Context, c device.Connection) (attest.Evidence, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Evidence(c.Binding().ReportData(), c.Record)
}

// newTPM makes a machine that booted as the recorded one did.
func newTPM(t testing.TB) *tpmtest.TPM {
	t.Helper()
	machine, err := tpmtest.New(time.Now())
	must(t, err)
	log, err := os.ReadFile("../measure/testdata/ovmf-512mib.bin")
	must(t, err)
	must(t, machine.Boot(log))
	return machine
}

// tpmWorld is a world whose agreement accepts rooms on the dev platform and on machines under
// one software TPM's root.
func tpmWorld(t testing.TB) (*world, *tpmDevice) {
	t.Helper()
	machine := newTPM(t)
	bare, err := machine.Evidence([64]byte{}, nil)
	must(t, err)
	f, err := tpm.New(endorse.Set{}).Examine(bare.Evidence, time.Now())
	must(t, err)
	root := machine.Fingerprint()
	w := newWorld(t, func(a *agreement.Agreement) {
		a.Platforms = append(a.Platforms, agreement.Platform{Kind: "tpm", Root: &root, Machines: []string{}, Releases: []agreement.ReleaseLine{}, MayLack: []wire.ID{},
			Images: []agreement.Image{{Name: "vm", Measurements: f.Facts.Measurements}}})
	})
	w.roots = []wire.Hash{root}
	return w, &tpmDevice{TPM: machine}
}

func (w *world) runOn(d device.Device, request *agreement.SignedRun) error {
	c := w.config()
	c.Device = d
	return room.Run(w.t.Context(), c, w.start(request))
}

// TestTPMRoom runs one agreement's work on both kinds of machines that it accepts, and proves
// both results. Each broker is shown its own word about the TPM's key.
func TestTPMRoom(t *testing.T) {
	w, d := tpmWorld(t)
	request := w.request(nil)
	must(t, w.runOn(d, request))
	w.opened(request)
	if len(d.records) != 2 || bytes.Equal(d.records[0], d.records[1]) {
		t.Fatalf("%d words", len(d.records))
	}
	for _, s := range w.shown {
		p := w.parties[wire.ID(strings.TrimSuffix(string(s.Broker), "-org"))]
		var e struct {
			Activation wire.Bytes `json:"activation"`
		}
		must(t, json.Unmarshal(s.Evidence.Evidence, &e))
		must(t, release.VerifyActivated(e.Activation, p.releaseK.Public()))
	}
	// Whoever asks again after the separator gets nothing that anybody believes.
	if _, err := d.Attest(t.Context(), [64]byte{1}, d.records[0]); !errors.Is(err, errEnded) {
		t.Errorf("evidence after the separator: %v", err)
	}
	late, err := d.Evidence([64]byte{1}, d.records[0])
	must(t, err)
	_, err = tpm.New(endorse.Set{}).Platform().Under(attest.TrustOf(w.agreement.Agreement, w.parties["alpha"].signed)).Verify(late.Evidence, w.now())
	if err == nil || verdict.As(err).Check != "tpm.init_data" {
		t.Errorf("a quote after the separator: %v", err)
	}

	request = w.request(nil)
	must(t, w.run(request))
	w.opened(request)
	if n := len(slices.DeleteFunc(slices.Clone(w.calls), func(c string) bool { return !strings.Contains(c, "/v1/activate") })); n != 4 {
		t.Errorf("%d questions about keys, expected two for each owner's broker in the room with a TPM", n)
	}
}

// TestTPMRoomRefused gives no keys to rooms that are not what they show.
func TestTPMRoomRefused(t *testing.T) {
	// An earlier room, whose evidence and words a host has kept.
	w, earlier := tpmWorld(t)
	must(t, w.runOn(earlier, w.request(nil)))
	fresh := func() *tpmDevice {
		machine := *earlier.TPM
		again := newTPM(t)
		machine.PCRs, machine.InitData = again.PCRs, nil // the same machine, started again
		return &tpmDevice{TPM: &machine}
	}
	byAlpha := func(record []byte) bool {
		return release.VerifyActivated(record, w.parties["alpha"].releaseK.Public()) == nil
	}
	shownToAlpha := earlier.shown[slices.IndexFunc(earlier.records, byAlpha)]
	other := newTPM(t)
	for _, c := range []struct {
		name   string
		change func(*tpmDevice)
		check  string
	}{
		{"quotes of another TPM", func(d *tpmDevice) {
			d.attest = func(report [64]byte, record []byte) (attest.Evidence, error) { return other.Evidence(report, record) }
		}, "tpm.activation"},
		{"another TPM's endorsement key", func(d *tpmDevice) { d.introduced = func(k *device.Key) { k.EKCertificate = other.EKCertificate } }, "error"},
		{"another TPM's attestation key", func(d *tpmDevice) { d.introduced = func(k *device.Key) { k.AKPublic = other.AKPublic } }, "error"},
		{"another TPM, of another root", func(d *tpmDevice) { d.TPM = newTPM(t) }, "tpm.root"},
		{"a replayed quote", func(d *tpmDevice) { d.replayed = &shownToAlpha }, "evidence.binding"},
		{"credentials from the host", func(d *tpmDevice) { d.Extend(12, make([]byte, 32)) }, "evidence.image"},
		{"another kernel", func(d *tpmDevice) { d.Extend(11, make([]byte, 32)) }, "tpm.event_log"},
		{"a machine whose work has started", func(d *tpmDevice) {
			d.attest = func(report [64]byte, record []byte) (attest.Evidence, error) {
				d.TPM.Separate(wire.DigestOf(nil))
				return d.Evidence(report, record)
			}
		}, "tpm.init_data"},
		{"no word", func(d *tpmDevice) {
			d.attest = func(report [64]byte, _ []byte) (attest.Evidence, error) { return d.Evidence(report, nil) }
		}, "tpm.identity"},
		{"words exchanged between brokers", func(d *tpmDevice) {
			d.attest = func(report [64]byte, record []byte) (attest.Evidence, error) {
				swapped := earlier.records[0]
				if byAlpha(swapped) == byAlpha(record) {
					swapped = earlier.records[1]
				}
				return d.Evidence(report, swapped)
			}
		}, "tpm.activation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := fresh()
			c.change(d)
			w.files = map[string][]byte{}
			err := w.runOn(d, w.request(nil))
			if err == nil || c.check != "error" && verdict.As(err).Check != c.check {
				t.Errorf("%v, expected %s", err, c.check)
			}
			if len(w.files) != 0 || d.ended {
				t.Errorf("%d files, separated %v", len(w.files), d.ended)
			}
		})
	}
	must(t, w.runOn(fresh(), w.request(nil)))
}

// TestActivationOnItsWay has a host exchange what passes between room and brokers.
func TestActivationOnItsWay(t *testing.T) {
	var w *world
	for _, c := range []struct {
		name string
		path string
		do   func(body []byte, next func([]byte) ([]byte, error)) ([]byte, error)
	}{
		{"a challenge by the other broker", release.PathActivate, func(body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			answer, err := next(body)
			return bytes.Replace(answer, []byte("alpha-org"), []byte("beta-org"), 1), err
		}},
		{"an altered credential", release.PathActivate, func(body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			answer, err := next(body)
			i := bytes.Index(answer, []byte(`"credential":"`)) + 40
			answer[i] ^= 1
			return answer, err
		}},
		{"an altered answer", release.PathActivated, func(body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			i := bytes.Index(body, []byte(`"answer":"`)) + 15
			body = bytes.Clone(body)
			body[i] ^= 1
			return next(body)
		}},
		{"a word that nobody signed", release.PathActivated, func(body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			answer, err := next(body)
			return bytes.Replace(answer, []byte(`"expires":"20`), []byte(`"expires":"30`), 1), err
		}},
		{"no challenge", release.PathActivate, func([]byte, func([]byte) ([]byte, error)) ([]byte, error) { return []byte("{}"), nil }},
		{"no word", release.PathActivated, func([]byte, func([]byte) ([]byte, error)) ([]byte, error) { return nil, nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d *tpmDevice
			w, d = tpmWorld(t)
			w.ask = func(_ context.Context, stream, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				if stream == "broker/alpha-org" && path == c.path {
					return c.do(body, next)
				}
				return next(body)
			}
			if err := w.runOn(d, w.request(nil)); err == nil || len(w.files) != 0 || len(d.records) != 0 {
				t.Errorf("%v, %d files, evidence asked for %d times", err, len(w.files), len(d.records))
			}
		})
	}
}

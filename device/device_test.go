package device_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/attest"
	"strongroom.dev/channel"
	"strongroom.dev/device"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// fake answers with what it was asked.
type fake struct {
	fail    error
	hang    chan bool
	keyless bool
}

func (f fake) Begin(_ context.Context, initData wire.Digest, short wire.Hash) (device.Introduction, error) {
	if f.keyless {
		return device.Introduction{Platform: "tpm", Why: initData.Short()}, f.fail
	}
	return device.Introduction{Platform: "tpm", Why: initData.Short(), Key: &device.Key{EKCertificate: short[:], Certificates: []wire.Bytes{}, AKPublic: []byte("ak")}}, f.fail
}

func (f fake) Activate(_ context.Context, credential, secret []byte) ([]byte, error) {
	return append(bytes.Clone(credential), secret...), f.fail
}

func (f fake) Attest(_ context.Context, report [64]byte, record []byte) (attest.Evidence, error) {
	if f.hang != nil {
		<-f.hang
	}
	return attest.Evidence{Platform: "tpm", Evidence: append(report[:], record...)}, f.fail
}

func (f fake) Separate(context.Context, wire.Digest) error { return f.fail }

func (f fake) Ingress(_ context.Context, c device.Connection) (attest.Evidence, error) {
	report := c.Binding().ReportData()
	return attest.Evidence{Platform: "tpm", Evidence: append(report[:], c.Record...)}, f.fail
}

// connection is a whole question for ingress.
func connection(t testing.TB) device.Connection {
	t.Helper()
	signing, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	hpke, err := keys.GenerateHPKEKey()
	if err != nil {
		t.Fatal(err)
	}
	return device.Connection{Nonce: wire.HashOf([]byte("nonce")), Signing: signing.Public(), HPKE: hpke.Public(), Agreement: initData, Run: run, Record: []byte("record")}
}

func serve(t *testing.T, d device.Device) *device.Client {
	t.Helper()
	ours, theirs := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- device.Serve(t.Context(), theirs, d); theirs.Close() }()
	t.Cleanup(func() {
		ours.Close()
		if err := <-ended; err != nil && !errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("serving: %v", err)
		}
	})
	return device.NewClient(ours)
}

var (
	initData = wire.DigestOf([]byte("agreement"))
	short    = wire.HashOf([]byte("agreement"))
	run      = wire.DigestOf([]byte("run"))
)

func TestDevice(t *testing.T) {
	c, ctx := serve(t, fake{}), t.Context()
	got, err := c.Begin(ctx, initData, short)
	want := device.Introduction{Platform: "tpm", Why: initData.Short(), Key: &device.Key{EKCertificate: short[:], Certificates: []wire.Bytes{}, AKPublic: []byte("ak")}}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	without, err := serve(t, fake{keyless: true}).Begin(ctx, initData, short)
	if want.Key = nil; err != nil || !cmp.Equal(without, want) {
		t.Errorf("%v, %v", without, err)
	}
	if answer, err := c.Activate(ctx, []byte("one"), nil); err != nil || string(answer) != "one" {
		t.Errorf("%q, %v", answer, err)
	}
	e, err := c.Attest(ctx, [64]byte{1}, []byte("record"))
	if err != nil || e.Platform != "tpm" || e.Evidence[0] != 1 || string(e.Evidence[64:]) != "record" {
		t.Errorf("%v, %v", e, err)
	}
	if err := c.Separate(ctx, run); err != nil {
		t.Error(err)
	}
	if answer, err := c.Activate(ctx, []byte("credential"), []byte("secret")); err != nil || len(answer) == 0 {
		t.Errorf("vouched for anew: %q, %v", answer, err)
	}
	asked := connection(t)
	report := attest.Binding{Purpose: attest.ForIngress, Nonce: asked.Nonce, Signing: asked.Signing, HPKE: asked.HPKE, Agreement: asked.Agreement, Run: run}.ReportData()
	if e, err = c.Ingress(ctx, asked); err != nil || !bytes.Equal(e.Evidence, append(report[:], "record"...)) {
		t.Errorf("%v, %v", e, err)
	}
}

// TestOrder: a device is begun once and first, and ends for good.
func TestOrder(t *testing.T) {
	type step func(context.Context, *device.Client) error
	begin := func(ctx context.Context, c *device.Client) error { _, err := c.Begin(ctx, initData, short); return err }
	zero := func(ctx context.Context, c *device.Client) error {
		_, err := c.Begin(ctx, initData, wire.Hash{})
		return err
	}
	ask := func(ctx context.Context, c *device.Client) error {
		_, err := c.Attest(ctx, [64]byte{}, nil)
		return err
	}
	activate := func(ctx context.Context, c *device.Client) error {
		_, err := c.Activate(ctx, nil, nil)
		return err
	}
	separate := func(ctx context.Context, c *device.Client) error { return c.Separate(ctx, run) }
	ingress := func(change func(*device.Connection)) step {
		asked := connection(t)
		change(&asked)
		return func(ctx context.Context, c *device.Client) error { _, err := c.Ingress(ctx, asked); return err }
	}
	for name, test := range map[string]struct {
		steps []step
		check string
	}{
		"ingress before the work":        {[]step{begin, ingress(func(*device.Connection) {})}, "device.order"},
		"ingress before the beginning":   {[]step{ingress(func(*device.Connection) {})}, "device.order"},
		"ingress of another run":         {[]step{begin, separate, ingress(func(c *device.Connection) { c.Run = initData })}, "device.run"},
		"ingress without a nonce":        {[]step{begin, separate, ingress(func(c *device.Connection) { c.Nonce = wire.Hash{} })}, "device.order"},
		"ingress without an agreement":   {[]step{begin, separate, ingress(func(c *device.Connection) { c.Agreement = wire.Digest{} })}, "device.order"},
		"evidence after ingress":         {[]step{begin, separate, ingress(func(*device.Connection) {}), ask}, "device.separated"},
		"evidence before the beginning":  {[]step{ask}, "device.order"},
		"separated before the beginning": {[]step{separate}, "device.order"},
		"two beginnings":                 {[]step{begin, begin}, "device.order"},
		"no init data":                   {[]step{zero}, "device.order"},
		"evidence once separated":        {[]step{begin, ask, separate, ask}, "device.separated"},
		"activated too early":            {[]step{activate}, "device.order"},
		"separated twice":                {[]step{begin, separate, separate}, "device.separated"},
		"begun again once separated":     {[]step{begin, separate, begin}, "device.order"},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, fake{})
			for i, s := range test.steps {
				err := s(t.Context(), c)
				if last := i == len(test.steps)-1; last != (err != nil) || last && verdict.As(err).Check != test.check {
					t.Fatalf("step %d: %v", i+1, err)
				}
			}
		})
	}
}

// TestFailedSeparation: nobody knows how far a separation came, so it counts.
func TestFailedSeparation(t *testing.T) {
	f := &fake{}
	c := serve(t, f)
	if _, err := c.Begin(t.Context(), initData, short); err != nil {
		t.Fatal(err)
	}
	f.fail = errors.New("the TPM is gone")
	if err := c.Separate(t.Context(), run); err == nil {
		t.Fatal("separated")
	}
	f.fail = nil
	if _, err := c.Attest(t.Context(), [64]byte{}, nil); verdict.As(err).Check != "device.separated" {
		t.Errorf("got %v", err)
	}
	if _, err := c.Ingress(t.Context(), connection(t)); verdict.As(err).Check != "device.run" {
		t.Errorf("ingress: got %v", err)
	}
}

// TestErrorsArrive as their device made them.
func TestErrorsArrive(t *testing.T) {
	c := serve(t, fake{fail: verdict.Refuse("tpm.gone", "a TPM", "none", "give it one")})
	_, err := c.Begin(t.Context(), initData, short)
	if e := verdict.As(err); e.Check != "tpm.gone" || e.Kind != verdict.Refused || e.Fix != "give it one" {
		t.Errorf("%+v", e)
	}
}

// TestCutOff: after a call that ended early nobody knows whose the next answer is.
func TestCutOff(t *testing.T) {
	hang := make(chan bool)
	c := serve(t, fake{hang: hang})
	if _, err := c.Begin(t.Context(), initData, short); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Attest(ctx, [64]byte{}, nil); !errors.Is(err, context.DeadlineExceeded) { // so that callers know it for no fault of the device's
		t.Fatalf("of a device that hangs: %v", err)
	}
	close(hang)
	if _, err := c.Attest(t.Context(), [64]byte{}, nil); err == nil {
		t.Error("a client goes on after a call that was cut off")
	}
}

// TestForeignQuestions ends with one answer each, or the connection.
func TestForeignQuestions(t *testing.T) {
	var b bytes.Buffer
	for _, m := range []string{"begin", `{"init_data":"` + initData.String() + `","short_init_data":"` + short.String() + `"}`, "begin", "{}", "reset", "{}", "attest", `{"record":"","report_data":"AAAA"}`,
		"attest", `{"report_data":"AAAA"}`, "attest", "null"} {
		if err := channel.WriteMessage(&b, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	var answers bytes.Buffer
	if err := device.Serve(t.Context(), stream{&b, &answers}, fake{}); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(answers.Bytes(), []byte("\x00\x00\x00\x02ok")); n != 1 || bytes.Contains(answers.Bytes(), []byte("internal")) {
		t.Errorf("%d questions were answered, expected the first alone: %q", n, answers.Bytes())
	}
	for name, message := range map[string][]byte{"a long name": []byte("\x00\x00\x00\x11aaaaaaaaaaaaaaaaa"), "a body too long": []byte("\x00\x00\x00\x05begin\x00\x02\x00\x01")} {
		if err := device.Serve(t.Context(), stream{bytes.NewReader(message), io.Discard}, fake{}); err == nil {
			t.Error(name + " was read")
		}
	}
}

type stream struct {
	io.Reader
	io.Writer
}

func FuzzServe(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x05begin\x00\x00\x00\x02{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = device.Serve(context.Background(), stream{bytes.NewReader(data), io.Discard}, fake{})
	})
}

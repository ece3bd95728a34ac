package relying_test

import (
	"net"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/device"
	"strongroom.dev/ingress"
	"strongroom.dev/internal/ingresstest"
	"strongroom.dev/keys"
	"strongroom.dev/relying"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func world(change func(*agreement.Agreement)) *ingresstest.World {
	return must(ingresstest.New(ingresstest.Config{Ports: []agreement.Port{ingresstest.Port("web", agreement.Allow{Anyone: true})}, Change: change}))
}

func config(w *ingresstest.World) relying.Config {
	return relying.Config{Agreement: w.Agreement, Parties: w.Parties, Platforms: []attest.Platform{dev.New()}, InsecureAllowSoftware: true, Age: time.Minute, Now: time.Now}
}

// TestFailsClosed: a client that pins no policy accepts nobody.
func TestFailsClosed(t *testing.T) {
	w := world(nil)
	for name, test := range map[string]struct {
		change func(*relying.Config)
		check  string
	}{
		"the zero config":             {func(c *relying.Config) { *c = relying.Config{} }, "relying.config"},
		"no agreement":                {func(c *relying.Config) { c.Agreement = nil }, "relying.config"},
		"no platforms":                {func(c *relying.Config) { c.Platforms = nil }, "relying.config"},
		"no clock":                    {func(c *relying.Config) { c.Now = nil }, "relying.config"},
		"evidence that counts long":   {func(c *relying.Config) { c.Age = 25 * time.Hour }, "relying.config"},
		"software not accepted":       {func(c *relying.Config) { c.InsecureAllowSoftware = false }, "relying.software"},
		"parties not pinned":          {func(c *relying.Config) { c.Parties = c.Parties[:1] }, "agreement.parties"},
		"an agreement without a word": {func(c *relying.Config) { c.Agreement = must(agreement.NewAgreement(w.Agreement.Agreement)) }, "agreement.signatures"},
		"an agreement that is over":   {func(c *relying.Config) { c.Now = func() time.Time { return time.Now().AddDate(0, 2, 0) } }, "agreement.validity"},
		"a stranger's broker":         {func(c *relying.Config) { c.Activators = []wire.ID{"gamma"} }, "relying.activator"},
	} {
		c := config(w)
		test.change(&c)
		if _, err := relying.New(c); verdict.As(err).Check != test.check {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(relying.New(config(w)))
}

// TestRoom judges rooms as they are met.
func TestRoom(t *testing.T) {
	w := world(nil)
	other := wire.DigestOf([]byte("another"))
	for name, test := range map[string]struct {
		room   func(*ingresstest.World)
		client func(*relying.Config)
		check  string
	}{
		"the agreed one":          {nil, nil, ""},
		"another agent":           {func(w *ingresstest.World) { w.Image.Agent = other }, nil, "evidence.image"},
		"another root":            {func(w *ingresstest.World) { w.Root = must(keys.GenerateSigningKey(keys.Ed25519)) }, nil, "evidence.root"},
		"another agreement":       {func(o *ingresstest.World) { o.Agreement = world(nil).Agreement }, nil, "relying.agreement"},
		"another run":             {nil, func(c *relying.Config) { c.Run = &other }, "relying.run"},
		"an unknown platform":     {nil, func(c *relying.Config) { c.Platforms = []attest.Platform{{Name: "snp", Verify: dev.New().Verify}} }, "evidence.platform"},
		"an agreement that ended": {nil, func(c *relying.Config) { c.Now = late(time.Now) }, "agreement.validity"},
	} {
		t.Run(name, func(t *testing.T) {
			served := *w
			if test.room != nil {
				test.room(&served)
			}
			r := must(served.Room(ingresstest.Echo, nil))
			defer r.Close()
			address := must(r.Listen(t.Context(), "web", nil))
			c := config(w)
			if test.client != nil {
				test.client(&c)
			}
			judge := must(relying.New(c))
			conn, err := ingress.Client{Work: "web", Port: "web", Judge: judge}.Connect(t.Context(), must(net.Dial("tcp", address)))
			if test.check != "" {
				if verdict.As(err).Check != test.check {
					t.Errorf("got %v", err)
				}
				if !judge.Known().IsZero() {
					t.Error("it is known")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			found, ok := judge.Accepted(conn.Evidence)
			if !ok || !found.Insecure || found.Platform != "dev" || found.Run != r.Run || len(found.Checks) < 9 {
				t.Errorf("%+v", found)
			}
		})
	}
}

// late is a clock that is right once and two months ahead from then on.
func late(now func() time.Time) func() time.Time {
	n := 0
	return func() time.Time {
		if n++; n > 1 {
			return now().AddDate(0, 2, 0)
		}
		return now()
	}
}

// TestCache: what was accepted counts for its time, while the agreement holds, and no longer.
func TestCache(t *testing.T) {
	w := world(nil)
	now := time.Now()
	c := config(w)
	c.Now = func() time.Time { return now }
	judge := must(relying.New(c))
	signing, hpke := must(keys.GenerateSigningKey(keys.Ed25519)), must(keys.GenerateHPKEKey())
	appraise := func() (wire.Digest, error) {
		id := keys.RandomID()
		b := device.Connection{Nonce: wire.HashOf(id[:]), Signing: signing.Public(), HPKE: hpke.Public(), Agreement: w.Agreement.Digest(), Run: wire.DigestOf([]byte("run"))}.Binding()
		e := must(dev.Sign(w.Root, w.Image, attest.InitData(w.Agreement.Canonical()), b.ReportData()))
		return e.Digest(), judge.Appraise(t.Context(), e, b)
	}
	if !judge.Known().IsZero() {
		t.Error("something is known")
	}
	digest, err := appraise()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := judge.Recall(digest); err != nil || b.Signing != signing.Public() || judge.Known() != digest {
		t.Errorf("%v, %v", b, err)
	}
	if _, err := judge.Recall(wire.DigestOf(nil)); verdict.As(err).Check != "relying.age" {
		t.Errorf("never seen: %v", err)
	}
	now = now.Add(time.Minute)
	if _, err := judge.Recall(digest); verdict.As(err).Check != "relying.age" || !judge.Known().IsZero() {
		t.Errorf("a minute later: %v", err)
	}
	for range 70 { // memory is bounded
		if _, err := appraise(); err != nil {
			t.Fatal(err)
		}
	}
	if _, there := judge.Accepted(digest); there {
		t.Error("everything is remembered for ever")
	}
	last := judge.Known()
	now = w.Agreement.Valid.Until.Time()
	if _, err := judge.Recall(last); err == nil {
		t.Error("it counts beyond the agreement")
	}
	c.Age = 0
	judge = must(relying.New(config(w)))
	judge.Age = 0
	if _, err := appraise(); err != nil || !judge.Known().IsZero() {
		t.Errorf("known without an age, %v", err)
	}
}

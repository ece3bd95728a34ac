package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/attest/tdx"
	"strongroom.dev/internal/home"
	"strongroom.dev/verdict"
)

// endorsing is a broker's endorsements at times of a test's own, and a genuine quote.
type endorsing struct {
	*rememberer
	quote      []byte
	collateral string
	app        *app
	home       *home.Home
}

func newEndorsing(t *testing.T) *endorsing {
	r, quote, collateral := newRememberer(t)
	h, err := home.Create("home")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(quote)
	if err != nil {
		t.Fatal(err)
	}
	e := &endorsing{rememberer: r, quote: data, collateral: collateral, home: h}
	e.app = &app{in: bytes.NewReader(nil), out: new(bytes.Buffer), err: new(bytes.Buffer), homeDir: "home", now: func() time.Time { return e.now }}
	return e
}

// judge judges the quote now, by the platform in a table, and gives the check that refused it.
func (e *endorsing) judge(table []attest.Platform) string {
	e.t.Helper()
	for _, p := range table {
		if p.Name != tdx.Name {
			continue
		}
		if _, err := p.Verify(e.quote, e.now); err != nil {
			return verdict.As(err).Check
		}
		return ""
	}
	e.t.Fatal("no platform tdx")
	return ""
}

func (e *endorsing) pack(out string) {
	e.t.Helper()
	e.call(0, "endorsements", "pack", e.collateral, "-o", out, "--key", "packer.key", "--days", "3", "--force")
}

// said gives what the app said since the last time.
func (e *endorsing) toldSince() string {
	b := e.app.err.(*bytes.Buffer)
	defer b.Reset()
	return b.String()
}

// TestEndorsedRefuses: what is missing, expired or older than before gets no keys, and says so.
func TestEndorsedRefuses(t *testing.T) {
	e := newEndorsing(t)
	if got := e.judge(platforms()); got != "tdx.collateral" {
		t.Errorf("without endorsements: %q", got)
	}
	e.call(0, "keygen", "--purpose", "signing", "-o", "packer.key")
	e.pack("old")
	e.now = e.now.Add(time.Hour)
	e.pack("new")
	flags := func(paths ...string) endorsementFlags {
		return endorsementFlags{paths: paths, keys: []string{"packer.key"}}
	}
	for name, c := range map[string]struct {
		flags endorsementFlags
		check string
	}{
		"no such file":     {flags("nowhere"), "file"},
		"no key":           {endorsementFlags{paths: []string{"old"}}, "--endorsements-key"},
		"not endorsements": {flags("packer.key"), "file"},
	} {
		if _, err := e.app.endorsedNow(c.flags, e.home); err == nil || verdict.As(err).Check != c.check {
			t.Errorf("%s: %v, expected %s", name, err, c.check)
		}
	}
	if m := e.memory(); len(m) != 0 {
		t.Errorf("remembered %v", m)
	}

	both, err := e.app.endorsedNow(flags("old", "new"), e.home)
	if err != nil {
		t.Fatal(err)
	}
	table := both.platforms()
	if got := e.judge(table); got != "" {
		t.Errorf("by two bundles: %q", got)
	}
	if in, err := both.held.Load().at(e.now); err != nil || len(in.sources) != 1 || in.sources[0].bundle.File != "new" {
		t.Errorf("%+v, %v: of two bundles the newer counts", in, err)
	}
	if n := len(e.memory()); n != 5 { // a bundle, two lists, TCB information, identity
		t.Errorf("%d remembered", n)
	}
	if _, err := e.app.endorsedNow(flags("old"), e.home); err == nil || verdict.As(err).Check != "endorsements.rollback" || !strings.Contains(err.Error(), "old") {
		t.Errorf("an older bundle: %v", err)
	}
	e.now = e.now.AddDate(0, 0, 3)
	if got := e.judge(table); got != "endorsements.dates" {
		t.Errorf("by an expired bundle: %q", got)
	}
	if _, err := e.app.endorsedNow(flags("new"), e.home); err == nil || verdict.As(err).Check != "endorsements.dates" || verdict.Exit(err) != int(verdict.Refused) {
		t.Errorf("an expired bundle: %v", err)
	}
	e.now = e.now.AddDate(0, 0, -4)
	if got := e.judge(table); got != "endorsements.dates" {
		t.Errorf("by a bundle of later: %q", got)
	}
}

// TestEndorsedRollback: evidence is not judged by a list that is older than one that was used, and
// a list that was used for evidence that was then refused counts too.
func TestEndorsedRollback(t *testing.T) {
	e := newEndorsing(t)
	now, err := e.app.endorsedNow(endorsementFlags{paths: []string{e.collateral}}, e.home)
	if err != nil {
		t.Fatal(err)
	}
	table := now.platforms()
	e.now = time.Date(2025, 8, 30, 0, 0, 0, 0, time.UTC) // everything has expired: genuine, and refused
	if got := e.judge(table); got != "tdx.collateral_dates" {
		t.Errorf("expired: %q", got)
	}
	seen := e.memory()
	if len(seen) != 4 {
		t.Errorf("remembered %v", seen)
	}
	e.now = time.Date(2025, 7, 1, 12, 0, 0, 0, time.UTC)
	if got := e.judge(table); got != "" {
		t.Errorf("in date: %q", got)
	}
	for name, text := range seen {
		if !strings.HasPrefix(name, "intel-tcb-info-") {
			continue
		}
		newer := strings.Replace(text, `"issued":"2025-06`, `"issued":"2025-07`, 1)
		if err := os.WriteFile(filepath.Join("home/endorsements/seen", name), []byte(newer), 0o600); err != nil || newer == text {
			t.Fatal(err)
		}
	}
	if got := e.judge(table); got != "endorsements.rollback" {
		t.Errorf("after something newer was used: %q", got)
	}
	then, err := e.app.endorsedThen(endorsementFlags{paths: []string{e.collateral}})
	if err != nil {
		t.Fatal(err)
	}
	if got := e.judge(then.platforms()); got != "" {
		t.Errorf("as of then: %q", got)
	}
}

// TestEndorsedThen: a proof is judged by the bundle that was in force at its time.
func TestEndorsedThen(t *testing.T) {
	e := newEndorsing(t)
	e.call(0, "keygen", "--purpose", "signing", "-o", "packer.key")
	e.pack("then")
	at := e.now
	e.now = e.now.AddDate(0, 0, 10)
	e.pack("later")
	for name, c := range map[string]struct {
		paths []string
		want  string
	}{
		"that of the time":   {[]string{"then"}, ""},
		"a later one":        {[]string{"later"}, "endorsements.dates"},
		"both":               {[]string{"later", "then"}, ""},
		"none":               {nil, "tdx.collateral"},
		"a file, no bundle":  {[]string{e.collateral}, ""},
		"a file and a later": {[]string{e.collateral, "later"}, "endorsements.dates"},
	} {
		then, err := e.app.endorsedThen(endorsementFlags{paths: c.paths, keys: []string{"packer.key"}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e.now = at
		if got := e.judge(then.platforms()); got != c.want {
			t.Errorf("%s: %q, expected %q", name, got, c.want)
		}
	}
	if len(e.memory()) != 0 {
		t.Error("judging as of another time was remembered")
	}
}

// TestBrokerEndorsements: a broker reads its endorsements anew, says what of them ends first, and
// keeps them when what is there now can't be read.
func TestBrokerEndorsements(t *testing.T) {
	e := newEndorsing(t)
	e.call(0, "keygen", "--purpose", "signing", "-o", "packer.key")
	e.pack("older")
	old, err := os.ReadFile("older")
	if err != nil {
		t.Fatal(err)
	}
	e.now = e.now.Add(time.Hour)
	e.pack("bundle")
	b, err := e.app.brokerEndorsements(e.home, endorsementFlags{paths: []string{"bundle"}, keys: []string{"packer.key"}})
	if err != nil {
		t.Fatal(err)
	}
	table := b.platforms()
	ends := e.now.AddDate(0, 0, 3)
	s := b.status.Load()
	if s.Items < 4 || s.FirstMS != ends.UnixMilli() || s.First != "bundle bundle" || s.Trouble != "" {
		t.Errorf("%+v", s)
	}
	b.again()
	if text := e.toldSince(); text != "" {
		t.Errorf("nothing changed: %q", text)
	}
	for _, bad := range [][]byte{old, []byte("{")} {
		if err := os.WriteFile("bundle", bad, 0o600); err != nil {
			t.Fatal(err)
		}
		b.again()
		b.again()
		if text := e.toldSince(); strings.Count(text, "stay as they were") != 1 || b.status.Load().Trouble == "" || b.status.Load().FirstMS != ends.UnixMilli() {
			t.Errorf("%q, %+v", text, b.status.Load())
		}
		if got := e.judge(table); got != "" {
			t.Errorf("what was there no longer counts: %q", got)
		}
	}
	e.now = e.now.AddDate(0, 0, 4)
	if got := e.judge(table); got != "endorsements.dates" {
		t.Errorf("expired: %q", got)
	}
	e.pack("bundle")
	b.again()
	if text := e.toldSince(); !strings.Contains(text, "endorsements read anew") || b.status.Load().Trouble != "" {
		t.Errorf("%q, %+v", text, b.status.Load())
	}
	if got := e.judge(table); got != "" {
		t.Errorf("a new bundle, in the same table: %q", got)
	}
	var text bytes.Buffer
	endorsementsText(&text, b.status.Load(), e.now.AddDate(0, 0, 9))
	if !strings.Contains(text.String(), "bundle bundle ENDED, 2025-07-08") {
		t.Errorf("%q", text.String())
	}
}

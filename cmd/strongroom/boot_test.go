package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/agreement"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	eventlog "strongroom.dev/measure"
	"strongroom.dev/policy"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// update writes what the golden file of boots should hold.
var update = flag.Bool("update", false, "write golden files anew")

// recordedBoots are those of package test, with what they were judged by.
const recordedBoots = "../../test/testdata/boots"

type recordedBoot struct {
	About string     `json:"about"`
	At    time.Time  `json:"at"`
	Shown room.Shown `json:"shown"`
}

type recordedStudy struct {
	Agreement json.RawMessage `json:"agreement"`
	Alpha     keys.PublicKey  `json:"alpha"`
}

func readRecorded(t *testing.T, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(recordedBoots, name+".json"))
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func readStudy(t *testing.T) (*agreement.SignedAgreement, keys.PublicKey) {
	t.Helper()
	var s recordedStudy
	readRecorded(t, "study", &s)
	ag, err := agreement.ParseAgreement(s.Agreement)
	if err != nil {
		t.Fatal(err)
	}
	return ag, s.Alpha
}

func bootOf(t *testing.T, name string) (recordedBoot, *bootClaims) {
	t.Helper()
	var b recordedBoot
	readRecorded(t, name, &b)
	f, err := tpm.New(endorse.Set{}).Examine(b.Shown.Evidence.Evidence, b.At)
	if err != nil {
		t.Fatal(err)
	}
	c := readBoot(f.Claims)
	if c == nil {
		t.Fatal("no event log in the claims")
	}
	return b, c
}

// recordedImage is what the recorded boots' image measures, by the boot of it that was agreed.
func recordedImage(t *testing.T) *bootImage {
	t.Helper()
	_, c := bootOf(t, "1cpu-512mib")
	b := &bootImage{dir: "room"}
	files := map[int]string{3: "OVMF_CODE.fd", 10: "room.efi", 22: "vmlinuz", 26: "cmdline", 28: "initrd", 29: "vmlinuz", 30: "cmdline", 31: "initrd"}
	for _, l := range c.tell(bootReference{}).Lines {
		if l.Number == 0 || l.Register == 1 {
			continue
		}
		words, _, _ := strings.Cut(l.Words, " at 0x")
		e := eventlog.Expected{Register: l.Register, Digest: l.Digest, Words: words, File: files[l.Number]}
		if l.Number == 2 {
			e.Digest = "" // the early code
		}
		b.events = append(b.events, e)
	}
	return b
}

func told(c *bootClaims, b *bootImage) *bootStory {
	var r bootReference
	b.add(c, &r)
	return c.tell(r)
}

// TestBootLines tells of the agreed image's boot line by line, and of other boots those lines that
// are not as expected.
func TestBootLines(t *testing.T) {
	image := recordedImage(t)
	var out bytes.Buffer
	_, good := bootOf(t, "2cpus-512mib")
	out.WriteString("the agreed image\n")
	story := told(good, image)
	story.text(&out)
	if c := image.check(story); !c.OK {
		t.Error(c)
	}
	for _, name := range []string{"2cpus-1024mib", "1cpu-1024mib"} {
		_, c := bootOf(t, name)
		if check := image.check(told(c, image)); !check.OK {
			t.Errorf("%s: %v", name, check)
		}
	}
	for _, name := range []string{"command-line", "initrd", "credentials", "extension-image", "stub-arguments", "debug-kernel"} {
		b, c := bootOf(t, name)
		out.WriteString("\n" + b.About + "\n")
		story := told(c, image)
		for _, l := range story.Lines {
			if l.Match == eventlog.NotExpected || l.Match == eventlog.Missing {
				out.WriteString("    " + l.String() + "\n")
			}
		}
		if check := image.check(story); check.OK || check.Fix == "" {
			t.Errorf("%s: %v", name, check)
		}
	}
	const golden = "testdata/golden/boots"
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Error(diff)
	}
}

// TestBootOfAnotherKind refuses what must not pass for a boot of the image.
func TestBootOfAnotherKind(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*bootClaims)
		image  func(*bootImage)
		want   string
	}{
		"a log that leads elsewhere":      {func(c *bootClaims) { c.drop(11); c.Log.Differ = []int{11} }, nil, "PCR 11"},
		"something behind the log":        {func(c *bootClaims) { c.Log.Unexplained = append(c.Log.Unexplained, 12) }, nil, "PCR 12"},
		"a PCR that is not quoted":        {func(c *bootClaims) { delete(c.PCRs["sha256"], "13") }, nil, "PCR 13"},
		"more than the kernel's own list": {func(c *bootClaims) { c.Log.OnlyAggregate = false }, nil, "PCR 10"},
		"more than boot variables":        {func(c *bootClaims) { c.Log.BootVariables = false }, nil, "PCR 1"},
		"firmware that is not OVMF":       {func(c *bootClaims) { c.Log.Firmware = nil }, nil, "PCR 0"},
		"init data that nobody shows":     {func(c *bootClaims) { c.InitData = "" }, nil, "PCR 8"},
		"an event that is not there":      {func(c *bootClaims) { c.Log.Events = c.Log.Events[:32] }, nil, "PCR 5"},
		"a section of the image left out": {func(c *bootClaims) { c.drop(11) }, nil, "PCR 11"},
		"a bank that was not computed":    {func(c *bootClaims) { c.Log.Bank = "sha384" }, nil, "no event log"},
		"events that were not looked at":  {func(c *bootClaims) { c.Log.Left = 1 }, nil, "not looked at"},
		"from a disk, with another PCR 4": {nil, func(b *bootImage) {
			b.fromDisk = true
			b.events = slices.DeleteFunc(b.events, notStub)
			b.events[0].Digest = "00"
		}, "PCR 4"},
		"from a disk, with credentials too": {func(c *bootClaims) { c.Log.Unexplained = append(c.Log.Unexplained, 12) }, func(b *bootImage) { b.fromDisk = true; b.events = slices.DeleteFunc(b.events, notStub) }, "PCR 12"},
	} {
		image := recordedImage(t)
		if c.image != nil {
			c.image(image)
		}
		_, boot := bootOf(t, "2cpus-512mib")
		if c.change != nil {
			c.change(boot)
		}
		if check := image.check(told(boot, image)); check.OK || !strings.Contains(check.Got, c.want) {
			t.Errorf("%s: %v, expected %s", name, check, c.want)
		}
	}
	image := recordedImage(t)
	image.fromDisk, image.events = true, slices.DeleteFunc(image.events, notStub)
	_, boot := bootOf(t, "2cpus-512mib")
	boot.Log.Firmware, boot.Log.OnlyAggregate, boot.Log.BootVariables = nil, false, false
	if check := image.check(told(boot, image)); !check.OK {
		t.Errorf("the same image, from a disk of other firmware: %v", check)
	}
	var none *bootStory
	if check := image.check(none); check.OK {
		t.Error("no event log passes for a boot of the image")
	}
}

// notStub reports whether an event is the firmware's.
func notStub(e eventlog.Expected) bool { return !slices.Contains([]uint32{4, 9, 11}, e.Register) }

// drop takes the events of a PCR out of the log.
func (c *bootClaims) drop(pcr uint32) {
	for i := len(c.Log.Events) - 1; i >= 0; i-- {
		if *c.Log.Events[i].PCR == pcr {
			c.Log.Events = slices.Delete(c.Log.Events, i, i+1)
		}
	}
	c.Log.Matched = slices.DeleteFunc(c.Log.Matched, func(i int) bool { return i == int(pcr) })
}

// TestBootAgreed compares boots with what the agreement pins, register by register.
func TestBootAgreed(t *testing.T) {
	ag, alpha := readStudy(t)
	for name, want := range map[string][]string{
		"2cpus-512mib": nil, "1cpu-1024mib": nil, "command-line": {"PCR 11", "PCR 4", "PCR 9"}, "debug-kernel": {"PCR 11", "PCR 4"}, "initrd": {"PCR 11", "PCR 4", "PCR 9"},
		"stub-arguments": {"PCR 12", "PCR 9"}, "credentials": {"PCR 12", "PCR 4", "PCR 9"}, "extension-image": {"PCR 13", "PCR 4", "PCR 9"},
	} {
		b, _ := bootOf(t, name)
		broker := &agreement.SignedParty{Descriptor: agreement.Descriptor{Broker: &agreement.BrokerInfo{ReleaseKey: alpha}}}
		e := new(endorsed)
		s := roomShown{Shown: b.Shown, agreement: ag, broker: broker, endorsed: e, now: b.At}
		got, err := s.verify(nil, e.platforms(), policy.References{})
		if (err == nil) != (want == nil) || err != nil && verdict.As(err).Check != "evidence.image" || got.Boot == nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		differ := map[string]bool{}
		for _, l := range got.Boot.Lines {
			if l.Match == eventlog.NotExpected {
				differ[l.Name] = true
			}
			if l.Register == 8 && (l.Match != eventlog.Matched || !strings.Contains(l.Words, "the agreement "+ag.Digest().Short())) {
				t.Errorf("%s: %+v", name, l)
			}
		}
		var names []string
		for n := range differ {
			names = append(names, n)
		}
		slices.Sort(names)
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		s.broker = nil
		if _, err := s.verify(nil, e.platforms(), policy.References{}); err == nil || verdict.As(err).Check != "tpm.activation" {
			t.Errorf("%s, with nobody's word on the key: %v", name, err)
		}
	}
}

// TestVerifyActivator takes a broker's word on a TPM's key, and a software root, only where they
// are named.
func TestVerifyActivator(t *testing.T) {
	ag, alpha := readStudy(t)
	b, _ := bootOf(t, "2cpus-512mib")
	root := ag.Platforms[0].Root.String()
	stranger, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	data, err := wire.Marshal(b.Shown.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "room.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	answers := taken(b.Shown, "00").ReportData
	for name, c := range map[string]struct {
		args []string
		code int
		say  string
	}{
		"as the broker did":         {[]string{"--activator", alpha.String(), "--root", root, "--report-data", answers, "--insecure-allow-software", "--explain"}, 0, "PCR 12"},
		"nobody's word":             {[]string{"--root", root, "--report-data", answers, "--insecure-allow-software"}, 3, "FAIL tpm.activation"},
		"a stranger's word":         {[]string{"--activator", stranger.Public().String(), "--root", root, "--report-data", answers, "--insecure-allow-software"}, 3, "FAIL tpm.activation"},
		"a root that nobody named":  {[]string{"--activator", alpha.String(), "--report-data", answers, "--insecure-allow-software"}, 3, "FAIL tpm.root"},
		"software":                  {[]string{"--activator", alpha.String(), "--root", root, "--report-data", answers}, 3, "FAIL class"},
		"for another room":          {[]string{"--activator", alpha.String(), "--root", root, "--report-data", strings.Repeat("00", 32), "--insecure-allow-software"}, 3, "FAIL freshness"},
		"an hour later":             {[]string{"--activator", alpha.String(), "--root", root, "--report-data", answers, "--insecure-allow-software", "--at", b.At.Add(time.Hour).Format(time.RFC3339)}, 3, "FAIL tpm.activation_dates"},
		"a root that is none":       {[]string{"--root", "x"}, 2, "--root"},
		"an activator that is none": {[]string{"--activator", "x"}, 2, "--activator"},
		"an image that is none":     {[]string{"--image", t.TempDir()}, 2, "image"},
		"a disk without an image":   {[]string{"--boot", "disk"}, 2, "--boot"},
		"a boot from nowhere":       {[]string{"--boot", "tape"}, 2, "--boot"},
	} {
		var out, errs bytes.Buffer
		a := &app{in: bytes.NewReader(nil), out: &out, err: &errs, now: func() time.Time { return b.At }}
		code := a.run(append([]string{"verify", file, "--home", filepath.Join(t.TempDir(), "none")}, c.args...))
		if code != c.code || !strings.Contains(out.String()+errs.String(), c.say) {
			t.Errorf("%s: exit code %d, expected %d and %q: %s%s", name, code, c.code, c.say, out.String(), errs.String())
		}
	}
}

// TestBootText shows what others write as text, on one line each, and not more than fit.
func TestBootText(t *testing.T) {
	s := &bootStory{Bank: "sha256", SecureBoot: "unknown"}
	for range maxLines + 7 {
		l := bootLine{Name: "PCR 4"}
		l.Words, l.Match = "\x1b[2J\nok  everything\u202e", eventlog.NotCovered
		s.Lines = append(s.Lines, l)
	}
	s.Left = 3
	var out bytes.Buffer
	s.text(&out)
	if n := strings.Count(out.String(), "\n"); n != maxLines+3 || !strings.Contains(out.String(), "and 10 events more") || strings.ContainsAny(out.String(), "\x1b\u202e") {
		t.Errorf("%d lines: %.300q", n, out.String())
	}
}

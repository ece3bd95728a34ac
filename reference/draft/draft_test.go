package draft_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/reference/draft"
	"strongroom.dev/verdict"
)

func testDraft() draft.Draft {
	until := moment("2027-01-01T00:00:00Z")
	return draft.Draft{Product: "room", Version: 7, SecurityVersion: 3, Days: 90, Until: &until, Groups: testValues().Groups}
}

// TestDraftIsReadBack: what is written for people is what was meant.
func TestDraftIsReadBack(t *testing.T) {
	want := testDraft()
	got, err := draft.Parse("d.yaml", []byte(want.YAML()))
	if err != nil {
		t.Fatal(err)
	}
	a, b := must(got.Values(now)), must(want.Values(now))
	if diff := cmp.Diff(must(b.Document()).Digest(), must(a.Document()).Digest()); diff != "" || a.Expires != *want.Until {
		t.Errorf("%s\n%s", want.YAML(), diff)
	}
	want.Until = nil
	if v := must(want.Values(now)); v.Expires != moment("2027-02-22T09:30:00Z") || v.Created != moment("2026-11-24T09:30:00Z") {
		t.Error(v.Expires)
	}
	past := testDraft()
	gone := moment("2026-11-24T09:30:00Z")
	past.Until = &gone
	if _, err := past.Values(now); err == nil {
		t.Error("signed what ended already")
	}
}

func TestDraftRefuses(t *testing.T) {
	good := testDraft().YAML()
	change := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for text, want := range map[string]string{
		"":                                            "an empty file",
		change("days: 90", "days: 181"):               "d.yaml:4: reference.draft: expected 1 to 180",
		change("days: 90", "days: 0"):                 "expected 1 to 180",
		change("version: 7", "version: 0"):            "d.yaml:2: reference.draft: expected a version from 1",
		change("platform: snp", "platform: S"):        "a name",
		change(`"`+hex48("a")+`"`, "<a value>"):       "d.yaml:12: reference.draft: expected 1 to 64 bytes in lower-case hex",
		change("name: eight-cpus", "name: four-cpus"): "a name of its own",
		change("claims:", "claim:"):                   "one of the members",
		good + "signed: true\n":                       "one of the members",
	} {
		if _, err := draft.Parse("d.yaml", []byte(text)); err == nil || verdict.As(err).Kind != verdict.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func TestParseGroups(t *testing.T) {
	groups, err := draft.ParseGroups([]byte(`{"groups": [{"name": "a", "platform": "snp", "measurements": {"measurement": "aa"}, "minimum": {"vmpl": 0}}]}` + "\n"))
	if err != nil || len(groups) != 1 || groups[0].Minimum["vmpl"] != 0 {
		t.Fatal(groups, err)
	}
	for _, text := range []string{"", "{}", `{"groups":[]}`, `[{"name":"a"}]`, `{"groups":[{"name":"a","platform":"snp","measurements":{"m":"aa"},"signed":true}]}`,
		`{"groups":[{"name":"a","platform":"snp","measurements":{"m":"aa","m":"bb"}}]}`, `{"groups":[{"name":"a","platform":"snp","measurements":{"m":"AA"}}]}`} {
		if _, err := draft.ParseGroups([]byte(text)); err == nil || verdict.As(err).Kind != verdict.Usage {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzParseDraft(f *testing.F) {
	f.Add([]byte("product: a\nversion: 1\nsecurity_version: 1\ndays: 9\ngroups: [{name: a, platform: snp, measurements: {m: aa}, claims: {c: x}, minimum: {d: 1}}]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := draft.Parse("f", data)
		if err != nil {
			return
		}
		d.Until = nil
		again, err := draft.Parse("f", []byte(d.YAML()))
		if err != nil {
			t.Fatalf("%v:\n%s", err, d.YAML())
		}
		if must(must(d.Values(now)).Document()).Digest() != must(must(again.Values(now)).Document()).Digest() {
			t.Error(d.YAML())
		}
	})
}

func FuzzParseGroups(f *testing.F) {
	f.Add([]byte(`{"groups":[{"name":"a","platform":"snp","measurements":{"measurement":"aa"}}]}`))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = draft.ParseGroups(data) })
}

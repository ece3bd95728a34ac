package main

import (
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// TestPlannedSuits starts no room that no broker would give keys to, and says by how much it fails.
func TestPlannedSuits(t *testing.T) {
	mine, theirs := wire.HashOf([]byte("mine")), wire.HashOf([]byte("theirs"))
	values := func(pcr4, pcr11 string) map[string]string { return map[string]string{"pcr4": pcr4, "pcr11": pcr11} }
	on := func(kind wire.ID, root *wire.Hash, images ...agreement.Image) agreement.Platform {
		return agreement.Platform{Kind: kind, Root: root, Images: images}
	}
	room := agreement.Image{Name: "room", Measurements: values("aa", "bb")}
	older := agreement.Image{Name: "older", Measurements: values("aa", "cc")}
	lines := on("tpm", &mine, older)
	lines.Releases = []agreement.ReleaseLine{{}}
	with := func(m map[string]string) planned { return planned{"tpm", &mine, m, "room/"} }
	for name, c := range map[string]struct {
		p         planned
		platforms []agreement.Platform
		check     string
		says      []string
	}{
		"right":                       {with(values("aa", "bb")), []agreement.Platform{on("dev", &theirs), on("tpm", &mine, room)}, "", nil},
		"the second image":            {with(values("aa", "bb")), []agreement.Platform{on("tpm", &mine, older, room)}, "", nil},
		"the second entry":            {with(values("aa", "bb")), []agreement.Platform{on("tpm", &theirs, room), on("tpm", &mine, room)}, "", nil},
		"a release line":              {with(values("aa", "bb")), []agreement.Platform{lines}, "", nil},
		"a value that is not known":   {with(map[string]string{"pcr4": "aa"}), []agreement.Platform{on("tpm", &mine, room)}, "", nil},
		"a maker's root":              {planned{"snp", nil, values("aa", "bb"), "room/"}, []agreement.Platform{on("snp", nil, room)}, "", nil},
		"no platform":                 {with(values("aa", "bb")), nil, "host.platform", nil},
		"another platform":            {with(values("aa", "bb")), []agreement.Platform{on("dev", &mine, room)}, "host.platform", []string{"dev", "tpm"}},
		"another root":                {with(values("aa", "bb")), []agreement.Platform{on("tpm", &theirs, room)}, "host.root", []string{mine.String(), theirs.String(), "host root"}},
		"another build":               {with(values("aa", "dd")), []agreement.Platform{on("tpm", &mine, room)}, "host.image", []string{"pcr11 bb", "pcr11 dd", "room/", "image measure"}},
		"another build, of two":       {with(values("aa", "dd")), []agreement.Platform{on("tpm", &mine, agreement.Image{Name: "far", Measurements: values("xx", "yy")}, older)}, "host.image", []string{"older", "pcr11 cc"}},
		"another root, and the build": {with(values("aa", "dd")), []agreement.Platform{on("tpm", &theirs, room), on("tpm", &mine, room)}, "host.image", []string{"pcr11 bb"}},
	} {
		err := c.p.suits(agreement.Agreement{Platforms: c.platforms})
		if c.check == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		e := verdict.As(err)
		if err == nil || e.Kind != verdict.Refused || e.Check != c.check || e.Fix == "" {
			t.Errorf("%s: %v, expected a refusal by %s", name, err, c.check)
			continue
		}
		for _, says := range c.says {
			if !strings.Contains(e.Error(), says) {
				t.Errorf("%s: %v, expected %q in it", name, err, says)
			}
		}
	}
}

package plainyaml_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/plainyaml"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

type room struct {
	Name   string            `json:"name"`
	ID     wire.ID           `json:"id"`
	Open   bool              `json:"open"`
	Seats  int64             `json:"seats"`
	Doors  []door            `json:"doors"`
	Labels map[string]string `json:"labels"`
	Floors map[string]floor  `json:"floors"`
}

type floor struct {
	Doors []door `json:"doors"`
}

type door struct {
	Width int64 `json:"width"`
}

func format() plainyaml.Format {
	return plainyaml.Format{Check: "room.form", What: "a room", Start: "write one"}
}

func TestRead(t *testing.T) {
	var got room
	d, err := format().Read("r.yaml", []byte("name: no\nid: vault\nopen: true\nseats: 12\ndoors:\n- width: 90\n- width: 0o755\nlabels: {floor: 007}\nfloors: {top: {}}\n"), "", &got)
	if err != nil {
		t.Fatal(err)
	}
	want := room{"no", "vault", true, 12, []door{{90}, {0o755}}, map[string]string{"floor": "007"}, map[string]floor{"top": {[]door{}}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !d.Has("doors[0].width") || d.Line("doors[0].width") != 6 || d.Has("doors[2]") {
		t.Errorf("line %d", d.Line("doors[0].width"))
	}
	var e *verdict.Error
	if err := d.Locate(verdict.Misuse("c", "x", "y", "")); !errors.As(err, &e) || e.Where != "r.yaml:1" {
		t.Errorf("%v", err)
	}
	missing := &verdict.Error{Kind: verdict.Usage, Check: "c", Where: "doors[0].height", Expected: "a height"}
	if err := d.Locate(missing); !errors.As(err, &e) || e.Where != "r.yaml:6" || e.Got != "no such member" {
		t.Errorf("%v", err)
	}
}

func TestReadLeavesNothingNil(t *testing.T) {
	var got room
	if _, err := format().Read("r.yaml", []byte("name: a\n"), "", &got); err != nil || got.Doors == nil || got.Labels == nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "r.yaml:1: room.form: expected a room, got an empty file (write one)",
		"name: &a x":                     "r.yaml:1: room.form: expected no anchors",
		"name: x\nid: *a":                "yaml",
		"name: !!str x":                  "no tags",
		"name: ! x":                      "no tags",
		"<<: {name: x}":                  "merge keys",
		"name: x\nname: y":               "r.yaml:2: room.form: expected every member once",
		"color: red":                     "one of the members name, id, open, seats, doors, labels, floors",
		"open: yes":                      "true or false",
		"open: \"true\"":                 "true or false",
		"seats: 1.0":                     "an integer",
		"seats: 0x10":                    "an integer",
		"seats: 0755":                    "an integer",
		"seats: 0o0755":                  "an integer",
		"seats: 0o8":                     "an integer",
		"seats: 0o-7":                    "an integer",
		"seats: 0o":                      "an integer",
		"seats: -0":                      "an integer",
		"seats: 9007199254740992":        "an integer",
		"seats: \"1\"":                   "an integer",
		"id: Vault":                      "a name of",
		"name:":                          "text",
		"name: [a]":                      "text",
		"doors: a":                       "a list",
		"doors: [a]":                     "members",
		"%YAML 1.1\n---\nname: x":        "no YAML directive",
		"name: x\n---\nname: y":          "one document",
		"name: \u202egpj":                "no control",
		"name: \xff":                     "UTF-8",
		"name: x\n\tid: y":               "r.yaml:",
		strings.Repeat("#", 1<<20) + "#": "at most 1048576 bytes",
	} {
		var got room
		_, err := format().Read("r.yaml", []byte(text), "", &got)
		var e *verdict.Error
		if !errors.As(err, &e) || e.Kind != verdict.Usage || e.Check != "room.form" {
			t.Errorf("%.40q: %v", text, err)
		} else if want != "yaml" && !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, expected %q", text, err, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("name: a\ndoors: [{width: 3}]\nlabels: {a: b}\n"))
	f.Add([]byte("- &a [*a]"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		var r room
		if d, err := format().Read("f", data, "", &r); err == nil {
			_ = d.Locate(verdict.Misuse("c", "e", "g", "f"))
		}
	})
}

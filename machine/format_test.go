package machine_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/machine"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func good() machine.Config {
	return machine.Config{
		Format:  machine.Format,
		Modules: []string{"virtio_blk", "dm_mod"},
		Engines: []machine.Engine{{
			Name: "strongroom-sql", Disk: "engine-0", Root: wire.HashOf([]byte("root")), Salt: wire.HashOf([]byte("salt")),
			DataBlocks: 2, Size: 4097, Digest: wire.DigestOf([]byte("program")),
		}},
	}
}

func TestParse(t *testing.T) {
	data, err := wire.Marshal(good())
	if err != nil {
		t.Fatal(err)
	}
	got, err := machine.Parse(data)
	if err != nil || !cmp.Equal(got, good()) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, spoil := range map[string]func(c *machine.Config){
		"format":           func(c *machine.Config) { c.Format = "strongroom/machine/v2" },
		"no format":        func(c *machine.Config) { *c = machine.Config{Modules: []string{}, Engines: []machine.Engine{}} },
		"module path":      func(c *machine.Config) { c.Modules[0] = "../init" },
		"module hyphen":    func(c *machine.Config) { c.Modules[0] = "dm-mod" },
		"module empty":     func(c *machine.Config) { c.Modules[0] = "" },
		"module twice":     func(c *machine.Config) { c.Modules[1] = c.Modules[0] },
		"module long":      func(c *machine.Config) { c.Modules[0] = strings.Repeat("a", 57) },
		"many modules":     func(c *machine.Config) { c.Modules = make([]string, machine.MaxModules+1) },
		"many engines":     func(c *machine.Config) { c.Engines = make([]machine.Engine, machine.MaxEngines+1) },
		"engine name":      func(c *machine.Config) { c.Engines[0].Name = "/bin/sh" },
		"disk":             func(c *machine.Config) { c.Engines[0].Disk = "input-0" },
		"no size":          func(c *machine.Config) { c.Engines[0].Size, c.Engines[0].DataBlocks = 0, 0 },
		"size":             func(c *machine.Config) { c.Engines[0].Size = machine.MaxEngine + 1 },
		"too few blocks":   func(c *machine.Config) { c.Engines[0].DataBlocks = 1 },
		"too many blocks":  func(c *machine.Config) { c.Engines[0].DataBlocks = 3 },
		"no root":          func(c *machine.Config) { c.Engines[0].Root = wire.Hash{} },
		"no digest":        func(c *machine.Config) { c.Engines[0].Digest = wire.Digest{} },
		"same engine name": func(c *machine.Config) { c.Engines = append(c.Engines, c.Engines[0]); c.Engines[1].Disk = "engine-1" },
	} {
		c := good()
		spoil(&c)
		data, err := wire.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := machine.Parse(data); err == nil || verdict.As(err).Kind != verdict.Refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseOneForm(t *testing.T) {
	data, _ := wire.Marshal(good())
	text := string(data)
	for name, spoilt := range map[string]string{
		"empty":          "",
		"space":          strings.Replace(text, ":", ": ", 1),
		"unknown member": strings.Replace(text, `{"engines"`, `{"debug":true,"engines"`, 1),
		"missing member": strings.Replace(text, `"modules":["virtio_blk","dm_mod"]`, `"modules":null`, 1),
		"trailing bytes": text + "\n",
		"long":           text + strings.Repeat(" ", machine.MaxConfig),
		"negative":       strings.Replace(text, "4097", "-1", 1),
	} {
		if _, err := machine.Parse([]byte(spoilt)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	data, _ := wire.Marshal(good())
	f.Add(data)
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := machine.Parse(data)
		if err != nil {
			return
		}
		back, err := wire.Marshal(c)
		if err != nil || string(back) != string(data) {
			t.Errorf("%q reads as %q, %v", data, back, err)
		}
	})
}

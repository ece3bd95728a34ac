package main

import (
	"os"
	"testing"

	"strongroom.dev/verdict"
)

// What containers need is looked at, and named if it is not there.
func TestDoctorContainers(t *testing.T) {
	d := &diagnosis{}
	examineContainers(d)
	found := map[string]verdict.Check{}
	for _, f := range d.Checks {
		if f.For == "containers in rooms" {
			found[f.ID] = f.Check
		}
	}
	for _, id := range []string{"container.user-range", "container.memory-group", "volume.root", "volume.fscrypt", "volume.loop", "volume.e2fsprogs"} {
		c, there := found[id]
		if !there || c.OK != (c.Fix == "") || c.Got == "" {
			t.Errorf("%s: %+v", id, c)
		}
	}
	if c := found["volume.root"]; c.OK != (os.Geteuid() == 0) {
		t.Errorf("%+v", c)
	}
}

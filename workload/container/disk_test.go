package container_test

import (
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/container"
)

// TestCheckSizes: what a room would have to hold in memory is bounded, what the kernel mounts is not.
func TestCheckSizes(t *testing.T) {
	const most = container.MaxUnpacked / 4096
	for _, test := range []struct {
		name        string
		image, data int64
		sealed      bool
		mounted     bool
		refused     bool
	}{
		{"fits", most, most, false, false, false},
		{"fits sealed", most, most, true, false, false},
		{"image", most + 1, 1, false, false, true},
		{"data", 1, most + 1, false, false, true},
		{"mounted", most + 1, most + 1, false, true, false},
		{"sealed, mounted", most + 1, 1, true, true, true},
	} {
		c := agreement.Container{Image: agreement.ContainerImage{Disk: agreement.VerityDisk{Blocks: test.image}},
			Mounts: []agreement.Mount{{Path: "/m", Kind: agreement.Memory}, {Path: "/d", Kind: agreement.Data, Disk: &agreement.VerityDisk{Blocks: test.data}}}}
		if test.sealed {
			c.Image.Sealed = "image"
		}
		err := container.CheckSizes(c, test.mounted)
		if (err != nil) != test.refused || err != nil && verdict.As(err).Check != "container.size" {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

package host

import (
	"os"

	"strongroom.dev/agreement"
	"strongroom.dev/host/volume"
)

// openFor opens a disk for a room on the dev platform: an image or data as a file, a volume as
// a mount, which is made if there is none.
func (d Disk) openFor(job Job) (*os.File, error) {
	a, err := agreement.ParseAgreement(job.Agreement)
	if err != nil {
		return nil, err
	}
	c := containerOf(a.Agreement, job)
	if c == nil {
		return d.open()
	}
	for i, m := range c.Mounts {
		if m.Kind == agreement.Volume && d.Name == mountName(i) {
			return volume.Open(d.Path, m.Bytes)
		}
	}
	return d.open()
}

package host

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

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

// forMachine gives a job as a virtual machine takes it, which makes its own file systems: with
// disks for scratch, which go with the machine, and volumes that it can write to. A volume that
// is not there is made, empty.
func (job Job) forMachine() (Job, error) {
	a, err := agreement.ParseAgreement(job.Agreement)
	if err != nil {
		return job, err
	}
	c := containerOf(a.Agreement, job)
	if c == nil {
		return job, nil
	}
	job.Disks = slices.Clone(job.Disks)
	for i, m := range c.Mounts {
		switch m.Kind {
		case agreement.Scratch:
			job.Disks = append(job.Disks, Disk{Name: mountName(i), size: diskSize(m.Bytes)})
		case agreement.Volume:
			n := slices.IndexFunc(job.Disks, func(d Disk) bool { return d.Name == mountName(i) })
			if n < 0 {
				continue // the room says what is missing
			}
			job.Disks[n].writable = true
			if err := emptyVolume(job.Disks[n].Path, diskSize(m.Bytes)); err != nil {
				return job, err
			}
		}
	}
	return job, nil
}

// diskSize is how large a disk must be for a file system of so many bytes in a machine: with the
// tags and the journal of dm-integrity, a 64th of both together, and what a small one has anyway.
func diskSize(bytes int64) int64 {
	const least = 64 << 20
	return (bytes + bytes/32 + least) &^ 4095
}

// emptyVolume makes a volume's file if there is none.
func emptyVolume(path string, size int64) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

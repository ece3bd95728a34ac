package host

import (
	"net"
	"path/filepath"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Containers is what a [Manager] has for rooms that run containers. The zero value has nothing.
type Containers struct {
	// Disks are images and other read-only disks, by the root that agreements name.
	Disks map[wire.Hash]string
	// Volumes is the folder that keeps rooms' volumes; empty: rooms with any are refused.
	Volumes string
	// Address is where ports are published, each at a number of its own: a host name or an IP
	// address; empty: ports are not published.
	Address string
}

// fill gives a job the disks and ports of its container: nothing of that is a requester's to say.
func (c Containers) fill(job *Job, a *agreement.SignedAgreement, work wire.ID) error {
	if len(job.Publish) > 0 {
		return verdict.Misuse("host.publish", "no addresses in a request", "some", "the host's operator chooses them; strongroom room status tells them")
	}
	w, _ := a.WorkByName(work)
	if w.Container == nil {
		return nil
	}
	if w.Container.Image.Sealed == "" {
		if err := c.disk(job, "image", w.Container.Image.Disk.Root); err != nil {
			return err
		}
	}
	for i, m := range w.Container.Mounts {
		switch {
		case m.Kind == agreement.Data && m.Disk != nil:
			if err := c.disk(job, mountName(i), m.Disk.Root); err != nil {
				return err
			}
		case m.Kind == agreement.Volume && c.Volumes == "":
			return verdict.Refuse("host.disk", "a host that keeps volumes", "none, for "+m.Path, "ask its operator to start it with --volumes DIR")
		case m.Kind == agreement.Volume:
			job.Disks = append(job.Disks, Disk{Name: mountName(i), Path: filepath.Join(c.Volumes, string(a.ID)+"."+string(m.Input)+".volume")})
		}
	}
	for _, p := range w.Container.Ports {
		if c.Address != "" {
			job.Publish = append(job.Publish, Publication{p.Name, net.JoinHostPort(c.Address, "0")})
		}
	}
	return nil
}

func (c Containers) disk(job *Job, name string, root wire.Hash) error {
	path, found := c.Disks[root]
	if !found {
		return verdict.Refuse("host.disk", "the disk with root "+root.String(), "none on this host", "ask its operator to start it with --container DIR, of what strongroom container prepare wrote, or --disk ROOT=FILE, of container disk")
	}
	job.Disks = append(job.Disks, Disk{Name: name, Path: path})
	return nil
}

package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/device"
	"strongroom.dev/sandbox"
	"strongroom.dev/sandbox/tree"
	"strongroom.dev/verdict"
)

// builder makes the cell of a plan. Descriptors that it opens are the cell's once that has
// started, and closed here.
type builder struct {
	*Running
	files []*os.File
	merge []merged // disks that are unpacked into the root, where the kernel can't mount them
}

// merged is a data disk that becomes part of the unpacked root.
type merged struct {
	path string
	disk agreement.VerityDisk
	file *os.File
}

func (b *builder) close() {
	for _, f := range b.files {
		f.Close()
	}
}

func (b *builder) keep(f *os.File) *os.File {
	b.files = append(b.files, f)
	return f
}

func (b *builder) build(ctx context.Context) (sandbox.Cell, error) {
	c := b.plan.container
	cell := sandbox.Cell{Argv: c.Argv, Env: b.plan.env, Directory: c.Directory, UID: int(c.User.UID), GID: int(c.User.GID),
		Capabilities: c.Capabilities, Deny: c.Seccomp.Deny, Hosts: b.plan.hosts,
		Limits: sandbox.CellLimits{Memory: c.Limits.Memory, Processes: c.Limits.Processes, Files: c.Limits.Files}}
	for _, g := range c.User.Groups {
		cell.Groups = append(cell.Groups, int(g))
	}
	for _, e := range b.plan.egress {
		cell.Listen = append(cell.Listen, e.address)
	}
	if b.plan.transit != "" {
		cell.Listen = append(cell.Listen, b.plan.transit)
	}
	for i, m := range c.Mounts {
		mount, err := b.mount(ctx, i, m)
		if err != nil {
			return cell, fmt.Errorf("mount %s: %w", m.Path, err)
		}
		if mount != nil {
			cell.Mounts = append(cell.Mounts, *mount)
		}
	}
	var err error
	cell.Root, err = b.root(ctx)
	return cell, err
}

// MountName is the name that a disk of a mount goes by between host and room.
func MountName(index int) string { return fmt.Sprintf("mount-%d", index) }

// ImageName is the name that the image's disk goes by.
const ImageName = "image"

// mount gives a mount of the cell; nil: it is part of the root. What the container can write
// it can't execute.
func (b *builder) mount(ctx context.Context, i int, m agreement.Mount) (*sandbox.Mount, error) {
	out := &sandbox.Mount{Path: m.Path, Kind: sandbox.MemoryMount, Bytes: m.Bytes, Mode: uint32(m.Mode), UID: int(m.UID), GID: int(m.GID)}
	attach := func(f *os.File) (*sandbox.Mount, error) {
		out.Kind, out.File, out.Bytes = sandbox.AttachedMount, b.keep(f), 0
		return out, nil
	}
	switch m.Kind {
	case agreement.Memory, agreement.Result:
		return out, nil
	case agreement.File:
		out.Kind, out.File, out.Bytes = sandbox.FileMount, b.plan.inputs[m.Input].File, 0
		return out, nil
	case agreement.Scratch:
		if b.machine.Scratch == nil {
			b.machine.Event(EventScratch, m.Path+": memory")
			return out, nil
		}
		f, err := b.machine.Scratch(ctx, MountName(i), m)
		if err != nil {
			return nil, err
		}
		return attach(f)
	case agreement.Volume:
		f, err := b.openVolume(ctx, i, m)
		if err != nil {
			return nil, err
		}
		out.Keep = true
		return attach(f)
	case agreement.Data:
		f, err := b.data(ctx, i, m)
		if f == nil || err != nil {
			return nil, err
		}
		out.ReadOnly, out.Keep, out.Exec = true, true, true
		return attach(f)
	}
	return nil, verdict.Refuse("container.mount", "a kind of mount that this room knows", string(m.Kind), "a newer room may know it")
}

// data gives a data disk as a mount, or notes it to be unpacked into the root.
func (b *builder) data(ctx context.Context, i int, m agreement.Mount) (*os.File, error) {
	if m.Disk == nil {
		return nil, verdict.Misuse("container.data", "a disk with a root", "none", "a defect in the caller: an agreement has one")
	}
	if b.machine.Mounted != nil {
		return b.machine.Mounted(ctx, MountName(i), *m.Disk, nil)
	}
	for _, other := range b.plan.container.Mounts[:i] {
		if strings.HasPrefix(m.Path, other.Path+"/") {
			return nil, verdict.Refuse("container.data", "data below no other mount, where the kernel mounts no disks (the dev platform)", "below "+other.Path, "mount it elsewhere, or run in a virtual machine")
		}
	}
	f, err := b.machine.Disk(MountName(i))
	if err != nil {
		return nil, err
	}
	b.merge = append(b.merge, merged{path.Clean(m.Path)[1:], *m.Disk, b.keep(f)})
	return nil, nil
}

// root gives the container's root: the disk that the kernel checks, or all of it unpacked
// into memory from a disk that is checked here. A sealed image's disk lies in memory anyway.
func (b *builder) root(ctx context.Context) (sandbox.Root, error) {
	image := b.plan.container.Image
	if image.Sealed == "" && b.machine.Mounted != nil {
		f, err := b.machine.Mounted(ctx, ImageName, image.Disk, b.places())
		if err == nil {
			return sandbox.Root{Mount: b.keep(f)}, nil
		}
		var e *verdict.Error
		if !errors.As(err, &e) || e.Check != device.MissingPlace {
			return sandbox.Root{}, err
		}
		b.machine.Event(EventImage, "unpacked into memory: it has no "+e.Got)
	}
	disk, err := b.imageDisk(image)
	if err != nil {
		return sandbox.Root{}, err
	}
	limits := treeLimits(image.Disk)
	for _, m := range b.merge {
		more := treeLimits(m.disk)
		limits.Entries += more.Entries
		limits.Bytes += more.Bytes
	}
	return sandbox.Root{Limits: limits, Unpack: func(w *tree.Writer) error {
		return unpack(w, merged{"", image.Disk, disk}, b.merge)
	}}, nil
}

// places are the paths that a root which nobody can add to must have. What is mounted below
// another mount lies in that.
func (b *builder) places() (all []string) {
	for i, m := range b.plan.container.Mounts {
		if !slices.ContainsFunc(b.plan.container.Mounts[:i], func(o agreement.Mount) bool { return strings.HasPrefix(m.Path, o.Path+"/") }) {
			all = append(all, m.Path)
		}
	}
	if len(b.plan.hosts) > 0 {
		all = append(all, "/etc/hosts")
	}
	return append(all, "/proc", "/dev")
}

func (b *builder) imageDisk(image agreement.ContainerImage) (*os.File, error) {
	if image.Sealed == "" {
		f, err := b.machine.Disk(ImageName)
		if err != nil {
			return nil, err
		}
		return b.keep(f), nil
	}
	in, err := b.plan.input(image.Sealed)
	return in.File, err
}

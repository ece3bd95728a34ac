package main

import (
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/host"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// hostContainerFlags are what a host has for rooms that run containers.
type hostContainerFlags struct {
	prepared  []string
	disks     []string
	volumes   string
	publishOn string
	egress    []string
}

func (f *hostContainerFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.prepared, "container", nil, "`DIR` that container prepare wrote: its disk is had for rooms (repeat)")
	flags.StringArrayVar(&f.disks, "disk", nil, "`ROOT=FILE` of what container disk wrote: the disk that agreements name by this root (repeat)")
	flags.StringVar(&f.volumes, "volumes", "", "`DIR` to keep rooms' volumes in")
	flags.StringVar(&f.publishOn, "publish-on", "", "`ADDRESS` of this machine to publish containers' ports on, such as 127.0.0.1")
	flags.StringArrayVar(&f.egress, "egress", nil, "`NAME=ADDRESS` of a place that containers may reach, if not the agreed one (repeat)")
}

func (f *hostContainerFlags) config() (c host.Containers, places map[wire.ID]string, err error) {
	if places, err = (&containerFlags{egress: f.egress}).places(); err != nil {
		return c, nil, err
	}
	if f.publishOn != "" && net.ParseIP(f.publishOn) == nil {
		return c, nil, verdict.Misuse("--publish-on", "an IP address of this machine", verdict.Short(f.publishOn), "as in --publish-on 127.0.0.1")
	}
	if f.volumes != "" {
		if err := os.MkdirAll(f.volumes, 0o700); err != nil {
			return c, nil, verdict.Misuse("--volumes", "a directory to keep volumes in", err.Error(), "choose another")
		}
	}
	c = host.Containers{Disks: map[wire.Hash]string{}, Volumes: f.volumes, Address: f.publishOn}
	for _, dir := range f.prepared {
		root, disk, err := preparedDisk(dir)
		if err != nil {
			return c, nil, err
		}
		c.Disks[root] = disk
	}
	disks, err := pairs("--disk", f.disks)
	if err != nil {
		return c, nil, err
	}
	for text, disk := range disks {
		root, err := wire.ParseHash(text)
		if err != nil {
			return c, nil, verdict.Misuse("--disk", "the root of a disk, sha256:...", verdict.Short(text), "strongroom container disk prints it with the mount")
		}
		if info, err := os.Stat(disk); err != nil || !info.Mode().IsRegular() {
			return c, nil, verdict.Misuse("--disk", "a file that strongroom container disk wrote", "no file "+verdict.Short(disk), "name the file")
		}
		c.Disks[root] = disk
	}
	return c, places, nil
}

// preparedDisk finds the disk in what `container prepare` wrote, and the root that rooms check
// it by.
func preparedDisk(dir string) (root wire.Hash, disk string, err error) {
	file := filepath.Join(dir, sectionFile)
	data, err := os.ReadFile(file)
	if err != nil {
		return root, "", verdict.Misuse("--container", "a directory that strongroom container prepare wrote", err.Error(), "prepare an image into it")
	}
	section, err := draft.ParseContainer(file, data)
	if err != nil {
		return root, "", err
	}
	disk = filepath.Join(dir, diskFile)
	if info, err := os.Stat(disk); err != nil || !info.Mode().IsRegular() {
		return root, "", verdict.Misuse("--container", "a directory that strongroom container prepare wrote", "no "+diskFile+" in "+verdict.Short(dir), "prepare an image into it")
	}
	return section.Image.Disk.Root, disk, nil
}

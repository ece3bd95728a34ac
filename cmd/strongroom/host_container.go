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
	volumes   string
	publishOn string
	egress    []string
}

func (f *hostContainerFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.prepared, "container", nil, "`DIR` that container prepare wrote: its disk is had for rooms (repeat)")
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
		file := filepath.Join(dir, "container.yaml")
		data, err := os.ReadFile(file)
		if err != nil {
			return c, nil, verdict.Misuse("--container", "a directory that strongroom container prepare wrote", err.Error(), "prepare an image into it")
		}
		section, err := draft.ParseContainer(file, data)
		if err != nil {
			return c, nil, err
		}
		disk := filepath.Join(dir, "image.disk")
		if info, err := os.Stat(disk); err != nil || !info.Mode().IsRegular() {
			return c, nil, verdict.Misuse("--container", "a directory that strongroom container prepare wrote", "no image.disk in "+verdict.Short(dir), "prepare an image into it")
		}
		c.Disks[section.Image.Disk.Root] = disk
	}
	return c, places, nil
}

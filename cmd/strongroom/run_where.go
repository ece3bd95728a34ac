package main

import (
	"fmt"
	"io"

	"strongroom.dev/agreement"
	"strongroom.dev/attest/dev"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// where is the place in which a run's room would be started.
type where struct {
	// Host is dev, qemu or a host's URL, as --host takes it.
	Host     string  `json:"host"`
	Platform wire.ID `json:"platform,omitempty"`
	Image    string  `json:"image,omitempty"`
	CPUs     int     `json:"cpus,omitempty"`
	Memory   string  `json:"memory,omitempty"`
	// Data is the directory of sealed files, of rooms on this machine.
	Data string `json:"data,omitempty"`
}

// wouldRun is what a dry run shows: the request that would be signed, and where it would go.
type wouldRun struct {
	agreement.Run
	Where where `json:"where"`
}

func (r *running) where() where {
	switch w := (where{Host: r.host, Data: r.data}); r.host {
	case "dev":
		w.Platform = dev.Name
		return w
	case "qemu":
		w.Platform, w.Image, w.CPUs, w.Memory = wire.ID(r.vm.platform), r.vm.image, r.vm.cpus, r.vm.memory
		return w
	}
	return where{Host: r.host}
}

func (w where) text(out io.Writer) {
	switch {
	case w.Image != "":
		fmt.Fprintf(out, "  in a virtual machine on this machine: platform %s, image %s, %d processors, memory %s, sealed files of %s\n",
			w.Platform, verdict.Printable(w.Image), w.CPUs, verdict.Printable(w.Memory), verdict.Printable(w.Data))
	case w.Platform == dev.Name:
		fmt.Fprintf(out, "  in a process of this machine: platform dev, INSECURE, sealed files of %s\n", verdict.Printable(w.Data))
	default:
		fmt.Fprintf(out, "  at the host %s\n", verdict.Printable(w.Host))
	}
}

// lacksData names the directory in which a sealed file was looked for, and the flag for another.
func (r *running) lacksData(err error) error {
	if err == nil || r.where().Data == "" || verdict.As(err).Check != "host.data" {
		return err
	}
	e := *verdict.As(err)
	e.Where, e.Fix = r.data, "--data DIR names the directory of sealed files; or bring the owner's .age file and its .statement.json there"
	return &e
}

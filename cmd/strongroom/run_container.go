package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/host"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// containerFlags are what a run of a container needs of the machine that it runs on.
type containerFlags struct {
	environment []string
	disks       []string
	publish     []string
	egress      []string
}

func (f *containerFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.environment, "env", nil, "`NAME=VALUE` of a container's variable that the agreement leaves to the request (repeat)")
	flags.StringArrayVar(&f.disks, "disk", nil, "`image=FILE` of a container, or PATH=FILE for its mount at PATH (repeat)")
	flags.StringArrayVar(&f.publish, "publish", nil, "`PORT=ADDRESS`: where a container's port is reached, such as web=127.0.0.1:8443 (repeat)")
	flags.StringArrayVar(&f.egress, "egress", nil, "`NAME=ADDRESS` of a place that a container may reach, if not the agreed one (repeat)")
}

// pairs splits NAME=VALUE texts of a flag, each name once.
func pairs(flag string, texts []string) (map[string]string, error) {
	out := map[string]string{}
	for _, text := range texts {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" {
			return nil, verdict.Misuse(flag, "NAME=VALUE", verdict.Short(text), "as in "+flag+" name=value")
		}
		if _, twice := out[name]; twice {
			return nil, verdict.Misuse(flag, "each name once", verdict.Short(name), "give it once")
		}
		out[name] = value
	}
	return out, nil
}

// only refuses flags for containers with other work, and on hosts that have them of their own.
func (f *containerFlags) only(work agreement.Work, remote bool) error {
	given := map[string][]string{"--env": f.environment, "--disk": f.disks, "--publish": f.publish, "--egress": f.egress}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if len(given[name]) > 0 && work.Container == nil {
			return verdict.Misuse(name, "work of kind container", string(work.Name)+", of kind "+string(work.Kind), "leave "+name+" out")
		}
		if len(given[name]) > 0 && remote && (name == "--disk" || name == "--egress") {
			return verdict.Misuse(name, "a room on this machine", "a host, which has its own", "its operator gives them to strongroom host serve")
		}
	}
	return nil
}

// variables gives the request's values for a container, nil for other work.
func (f *containerFlags) variables(work agreement.Work) (map[string]string, error) {
	if work.Container == nil {
		return nil, nil
	}
	values, err := pairs("--env", f.environment)
	if err != nil || len(values) == 0 {
		return nil, err
	}
	return values, nil
}

// fill gives a job its container's disks and ports.
func (f *containerFlags) fill(job *host.Job, work agreement.Work, remote bool) error {
	if work.Container == nil {
		return nil
	}
	var err error
	if !remote {
		if job.Disks, err = f.disksOf(*work.Container); err != nil {
			return err
		}
	}
	published, err := pairs("--publish", f.publish)
	if err != nil {
		return err
	}
	for _, port := range slices.Sorted(maps.Keys(published)) {
		if !slices.ContainsFunc(work.Container.Ports, func(p agreement.Port) bool { return string(p.Name) == port }) {
			return verdict.Misuse("--publish", "a port of the container: "+portNames(work), verdict.Short(port), "strongroom agreement explain shows them")
		}
		if _, _, err := net.SplitHostPort(published[port]); err != nil {
			return verdict.Misuse("--publish", "an address, HOST:PORT, for port "+port, verdict.Short(published[port]), "as in --publish "+port+"=127.0.0.1:8443")
		}
		job.Publish = append(job.Publish, host.Publication{Port: wire.ID(port), Address: published[port]})
	}
	return nil
}

func portNames(work agreement.Work) string {
	var names []string
	for _, p := range work.Container.Ports {
		names = append(names, string(p.Name))
	}
	if len(names) == 0 {
		return "it has none"
	}
	return strings.Join(names, ", ")
}

// disksOf finds the file of each disk that the container needs.
func (f *containerFlags) disksOf(c agreement.Container) ([]host.Disk, error) {
	given, err := pairs("--disk", f.disks)
	if err != nil {
		return nil, err
	}
	var disks []host.Disk
	take := func(flag, name string, kind agreement.MountKind) error {
		path, found := given[flag]
		if !found {
			return verdict.Misuse("--disk", "the file of "+flag, "none", "give --disk "+shellWord(flag+"=FILE"))
		}
		delete(given, flag)
		if path, err = filepath.Abs(path); err != nil {
			return err
		}
		if info, err := os.Stat(path); kind != agreement.Volume && (err != nil || info.IsDir()) {
			return verdict.Misuse("--disk", "the file of "+flag, verdict.Short(path)+", which is none", "strongroom container prepare writes an image's disk")
		}
		disks = append(disks, host.Disk{Name: name, Path: path})
		return nil
	}
	if c.Image.Sealed == "" {
		if err := take("image", "image", agreement.Data); err != nil {
			return nil, err
		}
	}
	for i, m := range c.Mounts {
		if m.Kind != agreement.Data && m.Kind != agreement.Volume {
			continue
		}
		if err := take(m.Path, fmt.Sprintf("mount-%d", i), m.Kind); err != nil {
			return nil, err
		}
	}
	for name := range given {
		return nil, verdict.Misuse("--disk", "a disk that the container has", verdict.Short(name), "leave it out; strongroom agreement explain shows its mounts")
	}
	return disks, nil
}

// places gives the addresses of --egress.
func (f *containerFlags) places() (map[wire.ID]string, error) {
	given, err := pairs("--egress", f.egress)
	if err != nil {
		return nil, err
	}
	out := map[wire.ID]string{}
	for name, address := range given {
		out[wire.ID(name)] = address
	}
	return out, nil
}

// gently gives a context that outlives the first signal: that one only asks the room to end,
// so that its volumes are closed; the second ends it at once. What comes within a second of the
// first is one with it: a terminal and a supervisor both send one.
func gently(ctx context.Context, ask func()) (context.Context, context.CancelFunc) {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		select {
		case <-hard.Done():
			return
		case <-ctx.Done():
		}
		ask()
		time.Sleep(time.Second)
		second := make(chan os.Signal, 1)
		signal.Notify(second, os.Interrupt, syscall.SIGTERM)
		defer signal.Stop(second)
		select {
		case <-hard.Done():
		case <-second:
			cancel()
		}
	}()
	return hard, cancel
}

// printPorts says how each port is reached.
func printPorts(w io.Writer, ports map[wire.ID]string) {
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		port, address := verdict.Printable(verdict.Short(string(name))), verdict.Printable(verdict.Short(ports[name]))
		fmt.Fprintf(w, "  port %s: strongroom connect %s --port %s\n", port, address, port)
	}
}

// collectLogs fetches what a container printed, sealed to those who may read it.
func (a *app) collectLogs(ctx context.Context, dir string, r startedRoom, runID string) error {
	files, err := r.files(ctx)
	if err != nil {
		return err
	}
	for _, name := range files {
		name, sealed := strings.CutSuffix(name, ".age")
		if !sealed || !logsName(name, runID) {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return verdict.Misuse("--out", "a directory", err.Error(), "choose another directory with --out")
		}
		path := filepath.Join(dir, name)
		if err := fetchFile(ctx, r, path+".age", maxLogs); err != nil {
			return err
		}
		if err := fetchFile(ctx, r, path+".proof", wire.MaxDocument); err != nil {
			return err
		}
		a.say("  logs: %s", path+".age")
	}
	return nil
}

// maxLogs bounds one sealed piece of logs.
const maxLogs = 4 << 20

// logsName reports whether a name, without .age and .proof, is of the run's logs: logs-PARTY-RUN-N.
func logsName(name, runID string) bool {
	if !isRunID(runID) {
		return false
	}
	rest, found := strings.CutPrefix(name, "logs-")
	party, number, cut := strings.Cut(rest, "-"+runID[:8]+"-")
	_, err := strconv.ParseUint(number, 10, 32)
	return found && cut && err == nil && wire.ID(party).Valid()
}

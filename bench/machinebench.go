package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/host"
	"strongroom.dev/internal/world"
	"strongroom.dev/room"
)

// The rows about rooms in virtual machines, measured by a software TPM and emulated in software:
// from the moment QEMU starts to the first evidence, and where that time goes. The parts add up
// to the whole, but for being medians each.
const (
	machineWhole = "machine: power-on to evidence"
	machineTPM   = "machine, before power-on: making its software TPM"
	machineRuns  = 5
	// What a machine of the bench has.
	machineCPUs   = 2
	machineMemory = 768
)

// machineParts are what follows one another from power-on to evidence.
func machineParts() []string {
	return []string{
		"machine: firmware, boot stub, unpacking the kernel",
		"machine: kernel, to the first process",
		"machine: modules and settings",
		"machine: evidence device, engine read through dm-verity and hashed",
		"machine: agent, closed and with everything checked that was signed",
		"machine: challenge, the TPM's activation, quote",
	}
}

// bootTimes are the moments of one boot.
type bootTimes struct {
	began, powered, kernel               time.Time // host.Start, QEMU's start, the kernel's clock at 0
	first, found, agent, checked, showed time.Time
}

// machineBench boots rooms in virtual machines.
func machineBench(match func(name string) bool) ([]row, error) {
	if !slices.ContainsFunc(append(machineParts(), machineWhole, machineTPM), match) {
		return nil, nil
	}
	if err := world.MissingMachines(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: left out, scripts/setup vm installs what is missing:", err)
		return nil, nil
	}
	dir, err := os.MkdirTemp("", "machinebench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	m, err := world.NewMachines(ctx, "bin", dir)
	if err != nil {
		return nil, err
	}
	w, err := machineWorld(ctx, filepath.Join(dir, "world"), m)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	var whole, tpm []float64
	parts := make([][]float64, len(machineParts()))
	for i := range machineRuns {
		b, err := bootOnce(ctx, w, m, filepath.Join(dir, "qemu"), fmt.Sprintf("machine%d", i))
		if err != nil {
			return nil, err
		}
		whole, tpm = append(whole, b.showed.Sub(b.powered).Seconds()), append(tpm, b.powered.Sub(b.began).Seconds())
		moments := []time.Time{b.powered, b.kernel, b.first, b.found, b.agent, b.checked, b.showed}
		for p := range parts {
			parts[p] = append(parts[p], moments[p+1].Sub(moments[p]).Seconds())
		}
	}
	total := roomMedian(whole)
	rows := []row{{Name: machineWhole, Value: total, Unit: "s", Goal: "at most 25 s", Met: total <= 25}}
	for p, name := range machineParts() {
		rows = append(rows, row{Name: name, Value: roomMedian(parts[p]), Unit: "s"})
	}
	return append(rows, row{Name: machineTPM, Value: roomMedian(tpm), Unit: "s"}), nil
}

func machineWorld(ctx context.Context, dir string, m *world.Machines) (*world.World, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return world.New(ctx, world.Config{Dir: dir, Machines: m, MinGroup: 10, MaxRows: 100, MaxBytes: 10_000, LeaseMS: 3000,
		Owners: []world.Owner{{ID: "alpha", Plain: strings.NewReader("patient,value\n1,2\n"), Format: agreement.CSV}},
		Schema: []agreement.Column{{Name: "patient", Type: "integer", Unit: true}, {Name: "value", Type: "integer"}},
		Work:   []agreement.Work{{Name: "count", Kind: "sql", Description: "count", Query: "SELECT count(*) AS n FROM rows", Parameters: []agreement.Parameter{}}}})
}

// bootOnce boots a room until it shows evidence. script is where a program for QEMU's place is
// written, which says when it starts.
func bootOnce(ctx context.Context, w *world.World, m *world.Machines, script, id string) (b bootTimes, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	vm, printed := m.VM(machineCPUs, machineMemory), &bootConsole{}
	started := script + ".started"
	text := fmt.Sprintf("#!/bin/sh\ndate +%%s%%N >'%s'\nexec '%s' \"$@\"\n", started, vm.Launch.Programs.QEMU)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		return b, err
	}
	vm.Launch.Programs.QEMU = script
	job, _, err := w.Job("count", map[string]string{})
	if err != nil {
		return b, err
	}
	c := w.Host
	c.VM, c.Log = vm, printed
	b.began = time.Now()
	r, err := host.Start(ctx, c, id, job)
	if err != nil {
		return b, err
	}
	defer r.Stop()
	for from := 0; b.showed.IsZero(); {
		events, ended := r.Events(ctx, from)
		for _, e := range events {
			switch {
			case e.Step == room.Verified:
				b.checked = time.Now()
			case e.Event == room.Evidence && b.showed.IsZero():
				b.showed = time.Now()
			}
		}
		if from += len(events); (ended || ctx.Err() != nil) && b.showed.IsZero() {
			return b, fmt.Errorf("no evidence: %w\n%s", errors.Join(r.Wait(ctx), ctx.Err()), printed.all.String())
		}
	}
	at, err := os.ReadFile(started)
	if err != nil {
		return b, err
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(string(at)), 10, 64)
	if err != nil {
		return b, err
	}
	b.powered = time.Unix(0, ns)
	return b, printed.moments(&b)
}

// bootConsole is what a machine prints, and when its first process came.
type bootConsole struct {
	mu    sync.Mutex // owns what follows
	all   bytes.Buffer
	first time.Time // when the line of the first process came
}

// The lines of the first process that tell times, each with the kernel's clock in front.
const (
	lineFirst = "room starts"
	lineFound = "platform "
	lineAgent = "starting the agent"
)

func (c *bootConsole) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all.Write(p)
	if c.first.IsZero() && bytes.Contains(c.all.Bytes(), []byte(lineFirst)) {
		c.first = time.Now()
	}
	return len(p), nil
}

// moments finds the moments that the machine told, in the host's time.
func (c *bootConsole) moments(b *bootTimes) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	first, err := c.at(lineFirst)
	if err != nil {
		return err
	}
	found, err := c.at(lineFound)
	if err != nil {
		return err
	}
	agent, err := c.at(lineAgent)
	if err != nil {
		return err
	}
	b.kernel = c.first.Add(-first)
	b.first, b.found, b.agent = b.kernel.Add(first), b.kernel.Add(found), b.kernel.Add(agent)
	return nil
}

// at gives the kernel's clock in a line like "strongroom:   1.84s room starts".
func (c *bootConsole) at(text string) (time.Duration, error) {
	for line := range strings.Lines(c.all.String()) {
		if rest, ours := strings.CutPrefix(line, "strongroom:"); ours && strings.Contains(line, text) {
			word, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			return time.ParseDuration(word)
		}
	}
	return 0, fmt.Errorf("the machine does not print %q:\n%s", text, c.all.String())
}

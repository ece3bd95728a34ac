package host

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/host/qemu"
)

// A machine's firmware and kernel need some 20 seconds in software emulation, more where the
// host is busy; to power off it wipes first.
const (
	machineWake  = 5 * time.Minute
	machineGrace = 15 * time.Second
)

// startVM starts a room as a virtual machine. Disks are its engines', in the image's order,
// then the sealed inputs, in the job's; it finds them by their serial numbers.
func (l *launch) startVM(ctx context.Context, job Job, agreement []byte) (body, error) {
	vm := l.config.VM.Launch
	vm.Machine.Disks = slices.Clone(vm.Machine.Disks)
	for i, e := range l.config.VM.Engines {
		vm.Machine.Disks = append(vm.Machine.Disks, qemu.Disk{Serial: fmt.Sprintf("engine-%d", i), Path: e.Path})
	}
	for i, in := range job.Inputs {
		f, err := in.open()
		if err != nil {
			return body{}, err
		}
		f.Close()
		path, err := filepath.Abs(in.Path)
		if err != nil {
			return body{}, err
		}
		vm.Machine.Disks = append(vm.Machine.Disks, qemu.Disk{Serial: fmt.Sprintf("input-%d", i), Path: path})
	}
	for i, d := range job.Disks {
		disk, err := d.attach(fmt.Sprintf("disk-%d", i))
		if err != nil {
			return body{}, err
		}
		vm.Machine.Disks = append(vm.Machine.Disks, disk)
	}
	vm.Machine.InitData, vm.Machine.ShortInitData = attest.InitData(agreement), attest.ShortInitData(agreement)
	if vm.Console == nil {
		vm.Console = l.config.Log
	}
	running, err := qemu.Start(ctx, vm)
	if err != nil {
		return body{}, err
	}
	exited := make(chan error, 1)
	go func() {
		<-running.Done()
		exited <- running.Err()
	}()
	return body{channel: running.Channel(), exited: exited, wake: machineWake, grace: machineGrace}, nil
}

// attach gives a container's disk as a machine has it.
func (d Disk) attach(serial string) (qemu.Disk, error) {
	if d.size > 0 {
		return qemu.Disk{Serial: serial, New: d.size}, nil
	}
	f, err := d.open()
	if err != nil {
		return qemu.Disk{}, err
	}
	f.Close()
	path, err := filepath.Abs(d.Path)
	return qemu.Disk{Serial: serial, Path: path, Writable: d.writable}, err
}

package qemu

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"strongroom.dev/verdict"
)

// probeTime is how long KVM may take for what it does in two seconds.
const probeTime = 15 * time.Second

// Prove runs a tiny machine under KVM on a room's firmware, and gives nil if KVM works. A
// device node proves nothing: there are some whose machines die or hang. variables is empty
// where firmware is the whole of it. What the error says is the reason; it is no obstacle to
// software emulation.
func Prove(ctx context.Context, programs Programs, firmware, variables string) error {
	if err := programs.CheckQEMU(); err != nil {
		return err
	}
	node, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return unproven(err.Error())
	}
	node.Close()
	return prove(ctx, programs, firmware, variables, probeTime)
}

func prove(ctx context.Context, programs Programs, firmware, variables string, within time.Duration) error {
	dir, err := os.MkdirTemp("", "strongroom-probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "probe.efi")
	if err := os.WriteFile(program, probeProgram(), 0o600); err != nil {
		return err
	}
	if variables != "" {
		own := filepath.Join(dir, "variables.fd")
		if err := copyFile(own, variables); err != nil {
			return err
		}
		variables = own
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	broke, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p, err := start(broke, dir, programs.QEMU, probeArgs(firmware, variables, program), watch(stop))
	if err != nil {
		return err
	}
	<-p.exited
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return unproven("a tiny machine did not get through its firmware in " + within.String())
	case context.Cause(broke) != nil:
		return unproven(verdict.As(context.Cause(broke)).Got)
	case errors.As(p.err, &exit) && exit.ExitCode() == probeExit:
		return nil
	case p.err == nil:
		return unproven("a tiny machine ended without its program")
	}
	return unproven(verdict.Short("a tiny machine died: " + p.said.last()))
}

func unproven(got string) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "vm.kvm", Expected: "KVM that runs a machine", Got: got, Fix: "load the module of KVM, give this user access to /dev/kvm, or host on a machine that has it; platform tpm works without, slowly"}
}

package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"strongroom.dev/verdict"
)

// NewCA makes a CA in a directory that must not exist. It takes a few seconds.
func NewCA(ctx context.Context, dir string, programs Programs) (*CA, error) {
	if err := programs.CheckTPM(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(dir); err == nil {
		return nil, verdict.Misuse("vm.tpm_ca", "a directory that is not there yet", dir, "name another")
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, err
	}
	// Made beside its place and moved there whole.
	temp, err := os.MkdirTemp(filepath.Dir(dir), ".tpm-ca-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	made, work := filepath.Join(temp, "ca"), filepath.Join(temp, "work")
	for _, d := range []string{made, work} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, err
		}
	}
	// The tools make the authority when they certify their first TPM, which nobody needs.
	if err := manufacture(ctx, work, made, programs); err != nil {
		return nil, err
	}
	if _, err := OpenCA(made); err != nil {
		return nil, err
	}
	if err := os.Rename(made, dir); err != nil {
		return nil, fmt.Errorf("keeping the authority for software TPMs: %w", err)
	}
	return OpenCA(dir)
}

// manufacture makes a TPM's state in dir/tpm, certified by the CA in ca.
func manufacture(ctx context.Context, dir, ca string, programs Programs) error {
	ctx, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	state := filepath.Join(dir, "tpm")
	if err := os.Mkdir(state, 0o700); err != nil {
		return err
	}
	for name, text := range setupFiles(dir, ca, programs.LocalCA) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return run(ctx, dir, programs.Setup, setupArgs(state, filepath.Join(dir, "setup.conf")))
}

// newTPM makes the state of a new TPM in dir/tpm, with its certificates in it.
func (c *CA) newTPM(ctx context.Context, dir string, programs Programs) error {
	if err := manufacture(ctx, dir, c.dir, programs); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer ours.Close()
	args, err := TPMConfig{State: filepath.Join(dir, "tpm"), Commands: Socket{FD: 3}}.Args()
	if err != nil {
		return errors.Join(err, theirs.Close())
	}
	p, err := start(ctx, dir, programs.SWTPM, args, nil, theirs)
	theirs.Close()
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	err = errors.Join(ours.SetDeadline(deadline), writeChain(ours, c.chain))
	ours.Close() // and it ends
	<-p.exited
	if err != nil {
		return err
	}
	return p.failure(ctx)
}

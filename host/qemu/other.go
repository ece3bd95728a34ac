//go:build !linux

package qemu

import (
	"context"

	"strongroom.dev/verdict"
)

// Start refuses: machines start on Linux only.
func Start(context.Context, Launch) (*Running, error) { return nil, elsewhere() }

// NewCA refuses: the tools are Linux's.
func NewCA(context.Context, string, Programs) (*CA, error) { return nil, elsewhere() }

// Prove refuses: KVM is Linux's.
func Prove(context.Context, Programs, string, string) error { return elsewhere() }

func elsewhere() error {
	return verdict.Misuse("host.system", "Linux", "another system", "start the room on a Linux host: strongroom run --host URL")
}

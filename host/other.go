//go:build !linux

package host

import (
	"context"

	"strongroom.dev/attest/dev"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Programs is a room image; on this system none can be loaded.
type Programs struct{}

// Load refuses: rooms start on Linux only.
func Load(string, map[wire.ID]string) (*Programs, error) { return nil, elsewhere() }

// Measurement gives nothing.
func (p *Programs) Measurement() dev.Measurement { return dev.Measurement{} }

// Close does nothing.
func (p *Programs) Close() {}

// Start refuses: rooms start on Linux only.
func Start(context.Context, Config, string, Job) (*Room, error) { return nil, elsewhere() }

func elsewhere() error {
	return verdict.Misuse("host.system", "Linux", "another system", "start the room on a Linux host: strongroom run --host URL")
}

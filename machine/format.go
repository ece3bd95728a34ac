// Package machine is what the first process of a room's virtual machine does: it turns a
// booted kernel into the evidence device and launcher of one agent, and takes the machine
// down after it (spec/room.md).
//
// What it may do is written in /machine.json, a file of the measured initrd; nothing else
// configures it, and no disk is asked what it holds.
package machine

import (
	"fmt"
	"strconv"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Format is the version of /machine.json.
const Format = "strongroom/machine/v1"

// BlockSize is the size of the blocks that dm-verity checks engines in, in bytes.
const BlockSize = 4096

// Limits of /machine.json. They bound what the first process allocates before it has
// anything to clean up with; a room needs a fraction.
const (
	MaxConfig  = 64 << 10  // bytes of the file
	MaxModules = 64        // kernel modules
	MaxEngines = 8         // engines
	MaxEngine  = 256 << 20 // bytes of one engine's program
)

// Config is /machine.json: canonical JSON (RFC 8785), one form only.
type Config struct {
	// Format is [Format].
	Format string `json:"format"`
	// Modules are the kernel modules to load, in this order, from /modules/NAME.ko. They are
	// named as the kernel names them: underscores, no hyphens.
	Modules []string `json:"modules"`
	// Engines are the programs beside the agent, each on a disk of its own.
	Engines []Engine `json:"engines"`
}

// Engine is one program that the agent may run, and how its disk is checked: all that
// dm-verity needs is here, since a header on the disk would be the host's word.
type Engine struct {
	// Name is the program's, as agents know it: "strongroom-sql".
	Name wire.ID `json:"name"`
	// Disk is the serial number of the virtio disk that holds it: "engine-0" for the first.
	Disk string `json:"disk"`
	// Root is the root of the disk's Merkle tree, SHA-256, salted with Salt; the tree lies right
	// behind the data.
	Root wire.Hash `json:"root"`
	Salt wire.Hash `json:"salt"`
	// DataBlocks is the number of data blocks, of [BlockSize] bytes each.
	DataBlocks int64 `json:"data_blocks"`
	// Size is the program's in bytes; the rest of its last block is zero.
	Size int64 `json:"size"`
	// Digest is the program's SHA-384: what agreements of software rooms pin.
	Digest wire.Digest `json:"digest"`
}

// Parse reads and checks /machine.json. Errors are of kind Refused.
func Parse(data []byte) (Config, error) {
	if len(data) > MaxConfig {
		return Config{}, invalid(fmt.Sprintf("at most %d bytes", MaxConfig), fmt.Sprintf("%d", len(data)))
	}
	var c Config
	if err := wire.Unmarshal(data, &c); err != nil {
		return Config{}, invalid("the canonical form of "+Format, verdict.Short(err.Error()))
	}
	return c, c.Check()
}

// Check reports what is wrong with a configuration, nil if nothing. Errors are of kind Refused.
func (c Config) Check() error {
	if c.Format != Format {
		return invalid("the format "+Format, strconv.Quote(verdict.Short(c.Format)))
	}
	if len(c.Modules) > MaxModules || len(c.Engines) > MaxEngines {
		return invalid(fmt.Sprintf("at most %d modules and %d engines", MaxModules, MaxEngines), fmt.Sprintf("%d and %d", len(c.Modules), len(c.Engines)))
	}
	seen := map[string]bool{}
	for _, m := range c.Modules {
		if !ModuleName(m) || seen[m] {
			return invalid("modules named once each, in lower-case letters, digits and underscores", strconv.Quote(verdict.Short(m)))
		}
		seen[m] = true
	}
	names := map[wire.ID]bool{}
	for i, e := range c.Engines {
		if err := e.check(i); err != nil {
			return err
		}
		if names[e.Name] {
			return invalid("engines of different names", strconv.Quote(string(e.Name))+" twice")
		}
		names[e.Name] = true
	}
	return nil
}

func (e Engine) check(i int) error {
	if !e.Name.Valid() {
		return invalid("a name of an engine", strconv.Quote(verdict.Short(string(e.Name))))
	}
	if want := Disk(i); e.Disk != want {
		return invalid("engine "+string(e.Name)+" on disk "+want, strconv.Quote(verdict.Short(e.Disk)))
	}
	if e.Size < 1 || e.Size > MaxEngine {
		return invalid(fmt.Sprintf("a program of 1 to %d bytes", int64(MaxEngine)), fmt.Sprintf("%d", e.Size))
	}
	if want := (e.Size + BlockSize - 1) / BlockSize; e.DataBlocks != want {
		return invalid(fmt.Sprintf("%d data blocks for %d bytes", want, e.Size), fmt.Sprintf("%d", e.DataBlocks))
	}
	if e.Root.IsZero() || e.Digest.IsZero() {
		return invalid("root and digest of engine "+string(e.Name), "zeros")
	}
	return nil
}

// Disk is the serial number of the disk of engine i, counted from 0.
func Disk(i int) string { return "engine-" + strconv.Itoa(i) }

// ModuleName reports whether name can be a kernel module's: it becomes part of a path.
func ModuleName(name string) bool {
	return name != "" && len(name) <= 56 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

func invalid(expected, got string) error {
	return verdict.Refuse("machine.config", expected, got, "the image is not one that strongroom image build made")
}

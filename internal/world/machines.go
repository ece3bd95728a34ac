package world

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/endorse"
	"strongroom.dev/host"
	"strongroom.dev/host/qemu"
	"strongroom.dev/image"
	"strongroom.dev/room"
	"strongroom.dev/wire"
)

// Machines are rooms in virtual machines under software TPMs: a room image, and what starts
// and certifies its machines.
type Machines struct {
	// Image is the image's directory, and Values what evidence of it will carry, computed from
	// its files.
	Image  string
	Values map[string]string
	// Launch is each machine but for its size.
	Launch  qemu.Launch
	engines []host.Engine
}

// MissingMachines says what this machine lacks for running others, nil if nothing.
func MissingMachines() error {
	p := qemu.FindPrograms()
	return errors.Join(p.CheckQEMU(), p.CheckTPM())
}

// NewMachines builds and measures the room image of the programs in bin, as users do, in an
// empty directory.
func NewMachines(ctx context.Context, bin, dir string) (*Machines, error) {
	m := &Machines{Image: filepath.Join(dir, "image"), Values: map[string]string{}}
	if _, err := command(ctx, bin, "image", "build", "-o", m.Image); err != nil {
		return nil, err
	}
	out, err := command(ctx, bin, "image", "measure", m.Image, "--platform", "tpm", "--output", "json")
	if err != nil {
		return nil, err
	}
	var predicted struct{ Values map[string]string }
	if err := json.Unmarshal(out, &predicted); err != nil {
		return nil, err
	}
	for name, value := range predicted.Values {
		if strings.Trim(value, "0") != "" { // a register that must not be touched is no measurement
			m.Values[name] = value
		}
	}
	manifest, err := image.Open(m.Image)
	if err != nil {
		return nil, err
	}
	for _, e := range manifest.Engines {
		m.engines = append(m.engines, host.Engine{Name: e.Name, Path: filepath.Join(m.Image, image.EngineFile(e.Name))})
	}
	m.Launch.Programs = qemu.FindPrograms()
	m.Launch.Machine = qemu.Config{Platform: qemu.TPM, Accel: qemu.TCG, Kernel: filepath.Join(m.Image, image.FileUKI), Firmware: filepath.Join(m.Image, image.FileCode), Variables: filepath.Join(m.Image, image.FileVars)}
	m.Launch.CA, err = qemu.NewCA(ctx, filepath.Join(dir, "tpm"), m.Launch.Programs)
	return m, err
}

func command(ctx context.Context, bin string, args ...string) ([]byte, error) {
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "strongroom"), args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("strongroom %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return out.Bytes(), nil
}

// platform is what an agreement accepts of these machines: this image under their root.
func (m *Machines) platform() agreement.Platform {
	root := m.Launch.CA.Root()
	return agreement.Platform{Kind: tpm.Name, Root: &root, Machines: []string{}, Releases: []agreement.ReleaseLine{}, MayLack: []wire.ID{},
		Images: []agreement.Image{{Name: "room", Measurements: maps.Clone(m.Values)}}}
}

// VM starts rooms in machines of so many processors and MiB of memory, in software.
func (m *Machines) VM(cpus, memory int) *host.VM {
	vm := &host.VM{Launch: m.Launch, Engines: append([]host.Engine(nil), m.engines...)}
	vm.Launch.Machine.CPUs, vm.Launch.Machine.Memory = cpus, memory
	return vm
}

// Quoted gives what evidence carries that a room showed.
func Quoted(shown room.Shown) (map[string]string, error) {
	f, err := tpm.New(endorse.Set{}).Examine(shown.Evidence.Evidence, time.Now())
	return f.Facts.Measurements, err
}

// Renew has an owner publish a newer version of its data. Jobs made before are about the older
// one, whose sealed file stays.
func (w *World) Renew(ctx context.Context, id wire.ID, plain io.Reader) error {
	for i, o := range w.Owners {
		if o.ID != id {
			continue
		}
		p := w.people[i]
		o.Plain = plain
		p.path = filepath.Join(w.Dir, fmt.Sprintf("%s-%d.age", id, p.statement.Version+1))
		if err := w.sealData(p, o, p.data.Recipient()); err != nil {
			return err
		}
		return w.publish(ctx, p, w.Brokers[id])
	}
	return fmt.Errorf("no owner %s", id)
}

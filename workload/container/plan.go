// Package container runs an existing image, unchanged, as an agreement says: it turns the
// agreed container, the run request's environment and the opened inputs into what a cell of
// package sandbox is to do, unpacks the image from a disk whose every block it checks, keeps
// the cell running, carries its connections, opens its volumes, and takes its result and its
// logs out (spec/container.md).
//
// It promises that nothing in a container comes from a host: what stands in no rule of the
// agreement does not exist inside; that secrets reach it as variables, files or uses of keys,
// never as arguments; and that keys of volumes and of the transit endpoint stay outside it.
// There is no way in to execute, attach or copy: they don't exist. It decides nothing about
// who may run or connect: see packages policy and ingress.
package container

import (
	"fmt"
	"os"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/sandbox"
	"strongroom.dev/sandbox/seccomp"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Plaintext is an opened input: a memory file that nobody changes any more.
type Plaintext struct {
	File *os.File
	Size int64 // bytes
}

// Plan is what a cell is to do, complete but for what only the machine has: disks, volumes
// and connections. It holds secrets, and prints none.
type Plan struct {
	_         [0]func()
	container agreement.Container
	env       []string
	inputs    map[wire.ID]Plaintext
	egress    []place
	hosts     []sandbox.Host
	transit   string // address, empty: none
	keys      map[wire.ID]*keys.WorkloadKey
	uses      map[wire.ID][]wire.ID
	volumes   map[int]*keys.Secret // keys, by index in the container's mounts
	overrides []string
}

// place is where the container finds a far end: its own loopback, at an address of its own.
type place struct {
	agreement.Egress
	address string // 127.1.0.N:PORT
}

// Format redacts the plan under every verb.
func (p *Plan) Format(f fmt.State, _ rune) { fmt.Fprint(f, "container plan (redacted)") }

// Overrides are the variables whose value the run request chose, "NAME=VALUE": they are
// measured with the request, and no secret.
func (p *Plan) Overrides() []string { return p.overrides }

// NewPlan makes the plan of a container from the agreement (which has been validated), the
// values that the run request has for its variables, and the plaintexts of its inputs, which
// stay the caller's to close. Refusals name what is wrong with a value, never a secret.
func NewPlan(c agreement.Container, environment map[string]string, inputs map[wire.ID]Plaintext) (*Plan, error) {
	p := &Plan{container: c, inputs: inputs, keys: map[wire.ID]*keys.WorkloadKey{}, uses: map[wire.ID][]wire.ID{}, volumes: map[int]*keys.Secret{}}
	for _, step := range []func() error{
		p.complete,
		func() error { return p.variables(environment) },
		p.transitKeys,
		p.mountInputs,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	p.places()
	return p, nil
}

// complete refuses a container that no agreement can have had validated.
func (p *Plan) complete() error {
	c := p.container
	switch {
	case len(c.Argv) == 0 || !strings.HasPrefix(c.Argv[0], "/") || c.Directory == "":
		return verdict.Misuse("container.argv", "an absolute path to start and a working directory", "none", "a defect in the caller: an agreement has them")
	case c.Seccomp.Profile != "default":
		return verdict.Refuse("container.seccomp", "profile default", verdict.Short(string(c.Seccomp.Profile)), "a newer room may know it; this one does not")
	case seccomp.CheckDenied(c.Seccomp.Deny) != nil:
		return verdict.Refuse("container.seccomp", "system calls that this room knows", verdict.Short(seccomp.CheckDenied(c.Seccomp.Deny).Error()), "correct its name in the agreement")
	case c.Image.Disk.Blocks <= 0 || c.Image.Disk.Root.IsZero():
		return verdict.Misuse("container.image", "a disk with a root", "none", "a defect in the caller: an agreement has one")
	}
	return nil
}

// transitKeys takes the keys of the transit endpoint out of their inputs.
func (p *Plan) transitKeys() error {
	t := p.container.Transit
	if t == nil {
		return nil
	}
	p.transit = fmt.Sprintf("127.0.0.1:%d", t.Port)
	for _, k := range t.Keys {
		b, err := p.key(k.Input)
		if err != nil {
			return err
		}
		if p.keys[k.Name], err = keys.NewWorkloadKey(b); err != nil {
			return err
		}
		clear(b)
		p.uses[k.Name] = k.Uses
	}
	return nil
}

// mountInputs checks what mounts take from inputs.
func (p *Plan) mountInputs() error {
	for i, m := range p.container.Mounts {
		switch m.Kind {
		case agreement.File:
			in, err := p.input(m.Input)
			if err != nil {
				return err
			}
			if in.Size > sandbox.MaxFileMount {
				return verdict.Refuse("container.file", fmt.Sprintf("a file of at most %d bytes at %s", int64(sandbox.MaxFileMount), m.Path), fmt.Sprintf("%d", in.Size), "mount it as data: a disk with a root")
			}
		case agreement.Volume:
			b, err := p.key(m.Input)
			if err != nil {
				return err
			}
			if p.volumes[i], err = keys.NewSecret(b); err != nil {
				return err
			}
			clear(b)
		case agreement.Memory, agreement.Scratch, agreement.Data, agreement.Result:
		default:
			return verdict.Refuse("container.mount", "a kind of mount that this room knows", verdict.Short(string(m.Kind)), "a newer room may know it")
		}
	}
	return nil
}

func (p *Plan) input(name wire.ID) (Plaintext, error) {
	in, found := p.inputs[name]
	if !found || in.File == nil {
		return in, verdict.Misuse("container.input", "the plaintext of input "+string(name), "none", "a defect in the room: report it")
	}
	return in, nil
}

// key reads an input that is a key of 32 bytes.
func (p *Plan) key(name wire.ID) ([]byte, error) {
	b, err := p.read(name, keySize)
	if err != nil || len(b) != keySize {
		clear(b)
		return nil, verdict.Refuse("container.key", "32 bytes in input "+string(name), "another number", "its owner seals 32 random bytes: head -c 32 /dev/urandom")
	}
	return b, nil
}

const keySize = 32

// read reads an input of at most so many bytes.
func (p *Plan) read(name wire.ID, most int64) ([]byte, error) {
	in, err := p.input(name)
	if err != nil {
		return nil, err
	}
	if in.Size > most {
		return nil, verdict.Refuse("container.input", fmt.Sprintf("at most %d bytes in input %s", most, name), "more", "its owner seals less, or the agreement mounts it as a file")
	}
	b := make([]byte, in.Size)
	if _, err := in.File.ReadAt(b, 0); err != nil && in.Size > 0 {
		clear(b)
		return nil, fmt.Errorf("input %s: %w", name, err)
	}
	return b, nil
}

// places gives every host that the container may reach an address of its own, in the order
// of the agreement; places of one host share it.
func (p *Plan) places() {
	addresses := map[string]string{}
	for _, e := range p.container.Egress {
		address, known := addresses[e.Host]
		if !known {
			address = fmt.Sprintf("127.1.0.%d", len(addresses)+1)
			addresses[e.Host] = address
			p.hosts = append(p.hosts, sandbox.Host{Name: e.Host, Address: address})
		}
		p.egress = append(p.egress, place{e, fmt.Sprintf("%s:%d", address, e.Port)})
	}
}

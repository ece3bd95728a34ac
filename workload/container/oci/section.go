package oci

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/erofs"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Config is what an image's configuration says of how it runs (OCI image-spec, config.md).
type Config struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
	Config       Runs   `json:"config"`
	RootFS       struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// Runs is how a container of an image is started.
type Runs struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	Healthcheck  *json.RawMessage    `json:"Healthcheck,omitempty"` // Docker's
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
}

// Choice is what whoever prepares an image says in its configuration's place.
type Choice struct {
	Arguments []string // in Cmd's place; the image's Entrypoint stays
	User      string   // in User's place
	Writable  []string // further directories that become memory mounts
	Sealed    wire.ID  // the input that will hold the disk
}

// What containers get that nothing else is said of.
const (
	defaultPath    = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	mountBytes     = 64 << 20
	memoryBytes    = 1 << 30
	processesMost  = 1024
	filesMost      = 65536
	readOnlyToRoot = "/tmp" // the one directory that every program expects to write to
)

// Section gives the agreement's section about the image, all but its disk, and what of its
// configuration could not be said. Directories that the section names and the tree lacks are
// made.
func (t *Tree) Section(img *Image, choice Choice) (c agreement.Container, notes []Note, err error) {
	run := img.Config.Config
	c = agreement.Container{
		Image:   agreement.ContainerImage{Reference: img.Reference, Manifest: img.Manifest, Sealed: choice.Sealed},
		Seccomp: agreement.Seccomp{Profile: "default", Deny: []string{}},
		Egress:  []agreement.Egress{}, Ports: []agreement.Port{}, Capabilities: []string{}, Mounts: []agreement.Mount{},
		Logs:    agreement.Logs{Receivers: []wire.ID{}},
		Restart: agreement.Restart{Policy: "never"},
		Limits:  agreement.Limits{Memory: memoryBytes, Processes: processesMost, Files: filesMost},
	}
	c.Directory = path.Clean("/" + run.WorkingDir)
	if directory, n := t.resolve(c.Directory); n == nil {
		if err := t.mkdir(relative(directory)); err != nil {
			return c, nil, err
		}
	} else if !n.isDir() {
		return c, nil, refuse("image.config", "a working directory", verdict.Short(run.WorkingDir)+", which is none", "build the image with another WORKDIR")
	}
	home := ""
	if c.User, home, err = t.user(cmp.Or(choice.User, run.User)); err != nil {
		return c, nil, err
	}
	if c.Environment, err = environment(run.Env, home); err != nil {
		return c, nil, err
	}
	if c.Argv, err = t.argv(run, choice, c); err != nil {
		return c, nil, err
	}
	if c.Mounts, err = t.mounts(run, choice, c.User); err != nil {
		return c, nil, err
	}
	for _, m := range c.Mounts {
		c.Limits.Memory += m.Bytes
	}
	c.Ports, notes, err = ports(run)
	if err != nil {
		return c, nil, err
	}
	c.Capabilities = capabilities(c)
	if run.StopSignal != "" && run.StopSignal != "SIGTERM" && run.StopSignal != "15" {
		notes = append(notes, Note{"StopSignal", run.StopSignal + " is not used: a room stops with SIGTERM"})
	}
	if run.Healthcheck != nil {
		notes = append(notes, Note{"Healthcheck", "is not used: nothing but argv is started in a room"})
	}
	return c, notes, nil
}

func (t *Tree) argv(run Runs, choice Choice, c agreement.Container) ([]string, error) {
	argv := append(slices.Clone(run.Entrypoint), run.Cmd...)
	if len(choice.Arguments) > 0 {
		argv = append(slices.Clone(run.Entrypoint), choice.Arguments...)
	}
	if len(argv) == 0 {
		return nil, refuse("image.argv", "an image that says what it starts", "neither ENTRYPOINT nor CMD", "say it: strongroom container prepare IMAGE -o DIR -- /PROGRAM ARGUMENT...")
	}
	variable := ""
	for _, v := range c.Environment {
		if v.Name == "PATH" {
			variable = v.Value
		}
	}
	var err error
	argv[0], err = t.program(argv[0], variable, c.Directory)
	return argv, err
}

// environment gives exact rules, sorted; the last of a name holds, as programs have it.
func environment(list []string, home string) ([]agreement.Environment, error) {
	values := map[string]string{"PATH": defaultPath, "HOME": cmp.Or(home, "/")}
	for _, v := range list {
		name, value, found := strings.Cut(v, "=")
		if !found || name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" || name[0] >= '0' && name[0] <= '9' {
			return nil, refuse("image.environment", "variables NAME=VALUE, of letters, digits and _", verdict.Short(v), "build the image without it")
		}
		values[name] = value
	}
	var out []agreement.Environment
	for _, name := range slices.Sorted(maps.Keys(values)) {
		out = append(out, agreement.Environment{Name: name, Kind: agreement.Exact, Value: values[name]})
	}
	return out, nil
}

// mounts gives memory for what the image wants to write to. What it lacks will be the user's:
// nobody else could give it to a program that does not start as root.
func (t *Tree) mounts(run Runs, choice Choice, user agreement.User) ([]agreement.Mount, error) {
	var out []agreement.Mount
	wanted := append(slices.Collect(maps.Keys(run.Volumes)), choice.Writable...)
	wanted = append(wanted, readOnlyToRoot)
	slices.Sort(wanted) // what lies below another comes after it
	for _, name := range wanted {
		if !path.IsAbs(name) {
			return nil, refuse("image.volume", "the absolute path of a directory", verdict.Short(name), "name it whole")
		}
		at, n := t.resolve(name)
		if at == "/" {
			return nil, refuse("image.volume", "a directory below the root", verdict.Short(name), "the root of a container is never written to")
		}
		if slices.ContainsFunc(out, func(m agreement.Mount) bool { return m.Path == at }) {
			continue
		}
		m := agreement.Mount{Path: at, Kind: agreement.Memory, Bytes: mountBytes, Mode: 0o755}
		if n == nil {
			if err := t.mkdir(relative(at)); err != nil {
				return nil, err
			}
			n = t.at(relative(at))
			m.UID, m.GID = user.UID, user.GID
		} else {
			m.UID, m.GID = int64(n.content.entry.UID), int64(n.content.entry.GID)
		}
		if !n.isDir() {
			return nil, refuse("image.volume", "a directory", verdict.Short(name)+", which is none", "name another")
		}
		m.Mode = int64(n.content.entry.Mode & 0o1777)
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b agreement.Mount) int { return erofs.Compare(a.Path[1:], b.Path[1:]) })
	return out, nil
}

// ports gives what the image says that it listens on; who may connect is for people to say.
func ports(run Runs) ([]agreement.Port, []Note, error) {
	out, notes := []agreement.Port{}, []Note(nil)
	for text := range run.ExposedPorts {
		number, protocol, _ := strings.Cut(text, "/")
		port, err := strconv.ParseUint(number, 10, 16)
		switch {
		case err != nil || port == 0:
			return nil, nil, refuse("image.ports", "ports PORT/tcp", verdict.Short(text), "build the image with single ports in EXPOSE")
		case protocol != "" && protocol != "tcp":
			notes = append(notes, Note{text, "is left out: a room is reached over TCP"})
			continue
		}
		out = append(out, agreement.Port{Name: wire.ID(fmt.Sprintf("port-%d", port)), Port: int64(port), Names: []string{},
			Allow: agreement.Allow{Parties: []wire.ID{}, Authorities: []wire.Bytes{}, Issuers: []agreement.Issuer{}, Rooms: []wire.ID{}}})
	}
	slices.SortFunc(out, func(a, b agreement.Port) int { return cmp.Compare(a.Port, b.Port) })
	out = slices.CompactFunc(out, func(a, b agreement.Port) bool { return a.Port == b.Port })
	slices.SortFunc(notes, func(a, b Note) int { return strings.Compare(a.Path, b.Path) })
	return out, notes, nil
}

// capabilities are what a first process run as root expects to have, of those that there are;
// others need one only for ports below 1024.
func capabilities(c agreement.Container) []string {
	if c.User.UID == 0 {
		return []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID"}
	}
	if slices.ContainsFunc(c.Ports, func(p agreement.Port) bool { return p.Port < 1024 }) {
		return []string{"CAP_NET_BIND_SERVICE"}
	}
	return []string{}
}

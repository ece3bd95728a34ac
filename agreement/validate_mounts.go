package agreement

import (
	"fmt"
	"slices"
	"strings"

	"strongroom.dev/wire"
)

// below tells whether a path is another or lies below it.
func below(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

func (a Agreement) containerMounts(p place, list []Mount) error {
	if err := first(
		each(p, list, a.containerMount),
		unique(p, list, "path", func(m Mount) string { return m.Path }),
	); err != nil {
		return err
	}
	results := 0
	for i, m := range list {
		if m.Kind == Result {
			results++
		}
		if results > 1 {
			return p.at(i).dot("kind").bad("one mount of kind result", "a second", "a work has one output")
		}
		for j, earlier := range list[:i] {
			if below(earlier.Path, m.Path) {
				return p.at(i).dot("path").bad("a mount before those below it", fmt.Sprintf("%s after %s, which it would hide", quoted(m.Path), quoted(list[j].Path)), "move it before")
			}
			if earlier.Kind == File && below(m.Path, earlier.Path) {
				return p.at(i).dot("path").bad("a mount below directories", quoted(m.Path)+" below the file "+quoted(earlier.Path), "")
			}
		}
	}
	return nil
}

// roomsOwn are paths that the room itself makes in a container; what would lie there could
// pretend to be the kernel, or send a name elsewhere.
func roomsOwn(p string) bool {
	return p == "/" || slices.Contains([]string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}, p) || below(p, "/proc") || below(p, "/sys") || below(p, "/dev") && !below(p, "/dev/shm")
}

func (a Agreement) containerMount(p place, m Mount) error {
	if err := first(
		p.dot("path").absolute(m.Path),
		oneOf(p.dot("kind"), m.Kind, Memory, Scratch, Volume, Data, File, Result),
	); err != nil {
		return err
	}
	if roomsOwn(m.Path) {
		return p.dot("path").bad("a path that is not the room's own: /, /proc, /sys, /etc/hosts, /etc/hostname, /etc/resolv.conf, nor /dev but for /dev/shm", quoted(m.Path), "choose another")
	}
	if m.Kind == Data {
		return m.validateData(p)
	}
	if m.Disk != nil {
		return p.dot("disk").bad("nothing for a mount of kind "+string(m.Kind), "a disk", "remove it, or choose kind data")
	}
	if err := first(
		p.dot("mode").integer(m.Mode, 0, 0o1777),
		p.dot("uid").integer(m.UID, 0, MaxUserID),
		p.dot("gid").integer(m.GID, 0, MaxUserID),
	); err != nil {
		return err
	}
	least, most := int64(4096), int64(MaxMount)
	switch m.Kind {
	case File:
		least, most = 0, 0 // as long as its input
	case Volume:
		least = MinVolume
	}
	if err := p.dot("bytes").integer(m.Bytes, least, most); err != nil {
		return err
	}
	if m.Kind == File || m.Kind == Volume {
		return a.inputOf(p.dot("input"), m.Input, Opaque)
	}
	return m.noInput(p)
}

func (m Mount) noInput(p place) error {
	if m.Input != "" {
		return p.dot("input").bad("nothing for a mount of kind "+string(m.Kind), quoted(string(m.Input)), "remove it, or choose kind file")
	}
	return nil
}

func (m Mount) validateData(p place) error {
	if m.Disk == nil {
		return p.dot("disk").bad("the disk by its root", "nothing", "`strongroom container disk` writes it")
	}
	return first(
		m.Disk.validate(p.dot("disk")),
		p.dot("bytes").integer(m.Bytes, 0, 0),
		p.dot("mode").integer(m.Mode, 0, 0),
		p.dot("uid").integer(m.UID, 0, 0),
		p.dot("gid").integer(m.GID, 0, 0),
		m.noInput(p),
	)
}

func (s Seccomp) validate(p place) error {
	return first(
		oneOf(p.dot("profile"), s.Profile, "default"),
		p.dot("deny").count(len(s.Deny), 0, MaxDenied),
		each(p.dot("deny"), s.Deny, func(p place, call string) error {
			if call == "" || len(call) > 32 || strings.Trim(call, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
				return p.bad("the name of a system call", quoted(call), "")
			}
			return nil
		}),
		unique(p.dot("deny"), s.Deny, "", self[string]),
	)
}

func (r Restart) validate(p place) error {
	if err := oneOf(p.dot("policy"), r.Policy, "never", "on-failure", "always"); err != nil {
		return err
	}
	if r.Policy == "never" {
		return p.dot("most").integer(r.Most, 0, 0)
	}
	return p.dot("most").integer(r.Most, 1, MaxRestarts)
}

func (l Limits) validate(p place) error {
	return first(
		p.dot("memory").integer(l.Memory, 4<<20, MaxMemory),
		p.dot("processes").integer(l.Processes, 1, 1<<16),
		p.dot("files").integer(l.Files, 16, 1<<20),
	)
}

func (a Agreement) containerLogs(p place, l Logs) error {
	if len(l.Receivers) == 0 {
		return p.dot("max_bytes").integer(l.MaxBytes, 0, 0)
	}
	return first(a.partyRefs(p.dot("receivers"), l.Receivers), p.dot("max_bytes").integer(l.MaxBytes, 1, MaxOutput))
}

func (a Agreement) containerTransit(p place, c Container) error {
	if c.Transit == nil {
		return nil
	}
	t := *c.Transit
	if i := slices.IndexFunc(c.Ports, func(port Port) bool { return port.Port == t.Port }); i >= 0 {
		return p.dot("port").bad("a port on which the container does not listen itself", fmt.Sprintf("%d, which is %q", t.Port, c.Ports[i].Name), "choose another")
	}
	return first(
		p.dot("port").integer(t.Port, 1, 65535),
		p.dot("keys").count(len(t.Keys), 1, MaxTransitKeys),
		each(p.dot("keys"), t.Keys, func(p place, k TransitKey) error {
			return first(
				p.dot("name").id(k.Name),
				a.inputOf(p.dot("input"), k.Input, Opaque),
				p.dot("uses").count(len(k.Uses), 1, 3),
				each(p.dot("uses"), k.Uses, func(p place, use wire.ID) error { return oneOf(p, use, "sign", "encrypt", "derive") }),
				unique(p.dot("uses"), k.Uses, "", self[wire.ID]),
			)
		}),
		unique(p.dot("keys"), t.Keys, "name", func(k TransitKey) string { return string(k.Name) }),
	)
}

package agreement

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// DiffContainers says in words what a change from one container to another means for those
// who agreed to the first: what runs, as whom, what it may reach and who may reach it. It
// gives nothing for two that are the same.
func DiffContainers(old, new Container) []string {
	d := containerDiff{}
	d.runs(old, new)
	d.places(old, new)
	d.reach(old, new)
	d.limits(old, new)
	return d.lines
}

type containerDiff struct{ lines []string }

func (d *containerDiff) say(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *containerDiff) runs(old, new Container) {
	if old.Image.Manifest != new.Image.Manifest || !reflect.DeepEqual(old.Image.Disk, new.Image.Disk) {
		d.say("ANOTHER IMAGE: it may hold any other code (%q, was %q)", oneLine(new.Image.Reference), oneLine(old.Image.Reference))
	}
	if old.Image.Sealed != new.Image.Sealed {
		d.say("whether the image is secret changed: %s, was %s", sealedText(new.Image.Sealed), sealedText(old.Image.Sealed))
	}
	if !slices.Equal(old.Argv, new.Argv) {
		d.say("it starts %s, was %s", argvText(new.Argv), argvText(old.Argv))
	}
	if !reflect.DeepEqual(old.User, new.User) {
		d.say("it runs as user %d and group %d, was %d and %d%s", new.User.UID, new.User.GID, old.User.UID, old.User.GID, map[bool]string{true: "; its further groups changed"}[!slices.Equal(old.User.Groups, new.User.Groups)])
	}
	if old.Directory != new.Directory {
		d.say("it starts in %q, was %q", oneLine(new.Directory), oneLine(old.Directory))
	}
	entries(d, "variable", old.Environment, new.Environment, func(v Environment) string { return v.Name }, environmentText)
}

func sealedText(input wire.ID) string {
	if input == "" {
		return "the machine's operator can read it"
	}
	return "sealed as " + string(input)
}

func argvText(argv []string) string {
	out := make([]string, len(argv))
	for i, a := range argv {
		out[i] = fmt.Sprintf("%q", a)
	}
	return verdict.Printable(strings.Join(out, " "))
}

func environmentText(v Environment) string {
	switch v.Kind {
	case Pattern:
		return fmt.Sprintf("CHOSEN BY WHOEVER ASKS, to match %q", oneLine(v.Pattern))
	case FromFile:
		return "the secret " + string(v.Input)
	}
	return fmt.Sprintf("%q", oneLine(v.Value))
}

// entries compares two lists by name, in words.
func entries[T any](d *containerDiff, what string, old, new []T, name func(T) string, text func(T) string) {
	find := func(list []T, n string) (T, bool) {
		i := slices.IndexFunc(list, func(v T) bool { return name(v) == n })
		if i < 0 {
			var none T
			return none, false
		}
		return list[i], true
	}
	for _, o := range old {
		n, found := find(new, name(o))
		switch {
		case !found:
			d.say("%s %s is gone (was %s)", what, oneLine(name(o)), text(o))
		case !reflect.DeepEqual(o, n) && text(o) == text(n):
			d.say("%s %s changed in detail", what, oneLine(name(o)))
		case !reflect.DeepEqual(o, n):
			d.say("%s %s is %s, was %s", what, oneLine(name(o)), text(n), text(o))
		}
	}
	for _, n := range new {
		if _, found := find(old, name(n)); !found {
			d.say("%s %s is new: %s", what, oneLine(name(n)), text(n))
		}
	}
}

func (d *containerDiff) places(old, new Container) {
	entries(d, "place", old.Mounts, new.Mounts, func(m Mount) string { return m.Path }, func(m Mount) string {
		text := string(m.Kind)
		if m.Disk != nil {
			return text + " with root " + m.Disk.Root.Short()
		}
		if m.Input != "" {
			text += " of " + string(m.Input)
		}
		if m.Bytes > 0 {
			text += ", " + size(m.Bytes)
		}
		return fmt.Sprintf("%s, mode %#o of %d:%d", text, m.Mode, m.UID, m.GID)
	})
}

func (d *containerDiff) reach(old, new Container) {
	entries(d, "port", old.Ports, new.Ports, func(p Port) string { return string(p.Name) }, func(p Port) string {
		return fmt.Sprintf("%d, open to %s", p.Port, allowText(p.Allow))
	})
	entries(d, "egress", old.Egress, new.Egress, func(g Egress) string { return string(g.Name) }, func(g Egress) string {
		return fmt.Sprintf("to %q port %d, proven by %s", oneLine(g.Host), g.Port, proofText(g))
	})
	if old.CertifiedBy != new.CertifiedBy {
		d.say("its names are certified by %s, was %s", orNobody(new.CertifiedBy), orNobody(old.CertifiedBy))
	}
	if old.Mesh != new.Mesh {
		d.say("it is in the agreement's mesh: %t, was %t", new.Mesh, old.Mesh)
	}
	if !slices.Equal(old.Logs.Receivers, new.Logs.Receivers) || old.Logs.MaxBytes != new.Logs.MaxBytes {
		d.say("what it prints goes to %s (up to %s), was %s (up to %s)", listed(idTexts(new.Logs.Receivers), "and"), size(new.Logs.MaxBytes), listed(idTexts(old.Logs.Receivers), "and"), size(old.Logs.MaxBytes))
	}
	if !reflect.DeepEqual(old.Transit, new.Transit) {
		d.say("the keys that it can use without seeing them changed: %s, was %s", transitText(new.Transit), transitText(old.Transit))
	}
}

func allowText(a Allow) string {
	var who []string
	if a.Anyone {
		who = append(who, "ANYONE")
	}
	who = append(who, idTexts(a.Parties)...)
	for _, der := range a.Authorities {
		who = append(who, "certificates of "+wire.HashOf(der).Short())
	}
	for _, i := range a.Issuers {
		who = append(who, fmt.Sprintf("tokens of %q", oneLine(i.Issuer)))
	}
	for _, room := range a.Rooms {
		who = append(who, "rooms of "+string(room))
	}
	return listed(who, "and")
}

func proofText(g Egress) string {
	if g.Room != "" {
		return "the evidence of " + string(g.Room)
	}
	return fmt.Sprintf("%d authorities and %d keys", len(g.Authorities), len(g.Keys))
}

func transitText(t *Transit) string {
	if t == nil {
		return "none"
	}
	out := make([]string, len(t.Keys))
	for i, k := range t.Keys {
		out[i] = fmt.Sprintf("%s of %s to %s", k.Name, k.Input, listed(idTexts(k.Uses), "and"))
	}
	return strings.Join(out, "; ")
}

func orNobody(id wire.ID) string {
	if id == "" {
		return "nobody"
	}
	return string(id)
}

func (d *containerDiff) limits(old, new Container) {
	for _, c := range new.Capabilities {
		if !slices.Contains(old.Capabilities, c) {
			d.say("it MAY now what %s allows", c)
		}
	}
	for _, c := range old.Capabilities {
		if !slices.Contains(new.Capabilities, c) {
			d.say("it may no longer what %s allows", c)
		}
	}
	for _, call := range old.Seccomp.Deny {
		if !slices.Contains(new.Seccomp.Deny, call) {
			d.say("it MAY now call %s, unless the profile denies it", call)
		}
	}
	for _, call := range new.Seccomp.Deny {
		if !slices.Contains(old.Seccomp.Deny, call) {
			d.say("it may no longer call %s", call)
		}
	}
	if old.Seccomp.Profile != new.Seccomp.Profile {
		d.say("its system calls are those of profile %q, was %q", new.Seccomp.Profile, old.Seccomp.Profile)
	}
	if old.Restart != new.Restart {
		d.say("it is started again: %s, at most %d times; was %s, %d", new.Restart.Policy, new.Restart.Most, old.Restart.Policy, old.Restart.Most)
	}
	if old.Limits != new.Limits {
		d.say("it may use %s of memory, %d processes and %d files; was %s, %d and %d", size(new.Limits.Memory), new.Limits.Processes, new.Limits.Files, size(old.Limits.Memory), old.Limits.Processes, old.Limits.Files)
	}
}

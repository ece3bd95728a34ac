package agreement

import (
	"crypto/x509"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// The kinds of work.
const (
	kindSQL       wire.ID = "sql"
	kindContainer wire.ID = "container"
)

// formatFile is the format of a container's output: bytes that nobody looks into.
const formatFile wire.ID = "file"

// Capabilities are those that a container may keep, in its own user namespace. Left out is
// what reaches beyond its own processes and files: mounts, modules, devices, raw sockets,
// tracing, and file capabilities, which its read-only root has no use for.
func Capabilities() []string {
	return []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT"}
}

// containerWork checks what work of kind container has besides what all work has.
func (a Agreement) containerWork(p place, w Work) error {
	if w.Container == nil {
		return p.dot("container").bad("what the container is", "nothing", "`strongroom container prepare` writes it")
	}
	if w.Query != "" || w.AdHoc || w.Epsilon != "" {
		return p.dot("query").bad("nothing: a container has no query", quoted(w.Query+w.Epsilon), "remove query, ad_hoc and epsilon")
	}
	if err := first(
		p.dot("tables").count(len(w.Tables), 0, 0),
		p.dot("parameters").count(len(w.Parameters), 0, 0),
		p.dot("keepers").count(len(w.Keepers), 0, MaxParties),
		each(p.dot("keepers"), w.Keepers, a.partyRef),
		unique(p.dot("keepers"), w.Keepers, "", self[wire.ID]),
		a.container(p.dot("container"), *w.Container),
		a.containerOutput(p, w),
	); err != nil {
		return err
	}
	owners := a.OwnersOf(w)
	if by := w.Container.CertifiedBy; by != "" && !slices.Contains(owners, by) {
		return p.dot("container").dot("certified_by").bad("a party whose broker admits the run: an input's owner, or a keeper", quoted(string(by)), "name the party under keepers too")
	}
	if len(owners) == 0 {
		return p.dot("keepers").bad("an input, or a keeper: a party whose broker admits the run", "neither", "name the party that may end it under keepers")
	}
	return nil
}

// containerOutput holds a container's output against the mount that it comes from.
func (a Agreement) containerOutput(p place, w Work) error {
	at := slices.IndexFunc(w.Container.Mounts, func(m Mount) bool { return m.Kind == Result })
	mounts := p.dot("container").dot("mounts")
	if w.Output == "" {
		if at >= 0 {
			return mounts.at(at).dot("kind").bad("a mount of another kind, since the work has no output", quoted(string(Result)), "name the output that its file is, or remove the mount")
		}
		return nil
	}
	out, found := a.OutputByName(w.Output)
	switch {
	case !found:
		return a.noOutput(p, w)
	case out.Format != formatFile:
		return p.dot("output").bad("an output of format file", quoted(string(out.Format)), "a container's result is a file")
	case at < 0:
		return mounts.bad("a mount of kind result, from which the output comes", "none", "add one, or remove the output")
	case w.Container.Restart.Policy == "always":
		return p.dot("container").dot("restart").dot("policy").bad("never or on-failure: the work has an output, which leaves when the container ends", quoted("always"), "")
	}
	return nil
}

func (a Agreement) noOutput(p place, w Work) error {
	return p.dot("output").bad("an output of this agreement", quoted(string(w.Output)), "name one of: "+names(a.Outputs, func(o Output) string { return string(o.Name) }))
}

func (a Agreement) container(p place, c Container) error {
	if err := counts(p, c); err != nil {
		return err
	}
	return first(
		a.containerImage(p.dot("image"), c.Image),
		validateArgv(p.dot("argv"), c.Argv),
		c.User.validate(p.dot("user")),
		p.dot("directory").absolute(c.Directory),
		a.containerEnvironment(p.dot("environment"), c.Environment),
		a.containerMounts(p.dot("mounts"), c.Mounts),
		each(p.dot("capabilities"), c.Capabilities, func(p place, s string) error { return oneOf(p, s, Capabilities()...) }),
		unique(p.dot("capabilities"), c.Capabilities, "", self[string]),
		c.Seccomp.validate(p.dot("seccomp")),
		a.containerPorts(p.dot("ports"), c),
		a.containerEgress(p.dot("egress"), c),
		a.containerTransit(p.dot("transit"), c),
		a.containerLogs(p.dot("logs"), c.Logs),
		c.Restart.validate(p.dot("restart")),
		c.Limits.validate(p.dot("limits")),
		a.containerNames(p, c),
		onceForKeys(p, c),
	)
}

func counts(p place, c Container) error {
	return first(
		p.dot("argv").count(len(c.Argv), 1, MaxArguments),
		p.dot("environment").count(len(c.Environment), 0, MaxVariables),
		p.dot("mounts").count(len(c.Mounts), 0, MaxMounts),
		p.dot("capabilities").count(len(c.Capabilities), 0, len(Capabilities())),
		p.dot("ports").count(len(c.Ports), 0, MaxPorts),
		p.dot("egress").count(len(c.Egress), 0, MaxEgress),
	)
}

func (a Agreement) containerImage(p place, i ContainerImage) error {
	if i.Manifest.IsZero() {
		return p.dot("manifest").bad("the SHA-256 of the image's manifest", "nothing", "`strongroom container prepare` writes it: a tag names no image")
	}
	if err := first(p.dot("reference").line(i.Reference, MaxReference), i.Disk.validate(p.dot("disk"))); err != nil {
		return err
	}
	if i.Sealed == "" {
		return nil
	}
	return a.inputOf(p.dot("sealed"), i.Sealed, Disk)
}

func (d VerityDisk) validate(p place) error {
	if d.Root.IsZero() {
		return p.dot("root").bad("the root of the disk's tree", "zero", "`strongroom container prepare` writes it")
	}
	return p.dot("blocks").integer(d.Blocks, 1, MaxDiskBlocks)
}

// inputOf checks the name of an input of the format that is needed where it stands.
func (a Agreement) inputOf(p place, name wire.ID, format Format) error {
	if err := a.inputRef(p, name); err != nil {
		return err
	}
	if in, _ := a.InputByName(name); in.Format != format {
		return p.bad("an input of format "+string(format), quoted(string(name))+" of format "+string(in.Format), "name another input, or correct its format")
	}
	return nil
}

func validateArgv(p place, argv []string) error {
	total := 0
	for _, arg := range argv {
		total += len(arg)
	}
	if total > MaxArgv {
		return p.bad(fmt.Sprintf("at most %d bytes in all", MaxArgv), fmt.Sprintf("%d bytes", total), "put what is long into a file")
	}
	return first(p.at(0).absolute(argv[0]), each(p, argv, func(p place, arg string) error { return p.value(arg, MaxArgv) }))
}

// value checks text that goes to a program: as text for people, but it may be empty or
// blank.
func (p place) value(s string, most int) error {
	if strings.TrimSpace(s) == "" {
		s += "." // says nothing to people, and need not
	}
	return p.text(s, most)
}

// absolute checks an absolute path in its one spelling.
func (p place) absolute(s string) error {
	if !path.IsAbs(s) || path.Clean(s) != s || strings.HasPrefix(s, "//") {
		return p.bad("an absolute path without //, /./ or /../ in it, nor / at its end", quoted(s), "write it whole, as it is in the image")
	}
	return p.line(s, MaxPath)
}

func (u User) validate(p place) error {
	return first(
		p.dot("uid").integer(u.UID, 0, MaxUserID),
		p.dot("gid").integer(u.GID, 0, MaxUserID),
		p.dot("groups").count(len(u.Groups), 0, MaxGroups),
		each(p.dot("groups"), u.Groups, func(p place, id int64) error { return p.integer(id, 0, MaxUserID) }),
		unique(p.dot("groups"), u.Groups, "", func(id int64) string { return fmt.Sprint(id) }),
	)
}

func (a Agreement) containerEnvironment(p place, list []Environment) error {
	return first(
		each(p, list, a.containerVariable),
		unique(p, list, "name", func(v Environment) string { return v.Name }),
	)
}

func variableName(s string) bool {
	return s != "" && len(s) <= 128 && (s[0] < '0' || s[0] > '9') &&
		strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// loads tells whether the loader of programs takes code from where a variable says.
func loads(name string) bool {
	return strings.HasPrefix(name, "LD_") || slices.Contains([]string{"GLIBC_TUNABLES", "GCONV_PATH", "LOCPATH"}, name)
}

func (a Agreement) containerVariable(p place, v Environment) error {
	if !variableName(v.Name) {
		return p.dot("name").bad("a name of 1 to 128 letters, digits and _, not starting with a digit", quoted(v.Name), "")
	}
	only := func(members ...string) error {
		for _, m := range []struct {
			name string
			set  bool
		}{{"value", v.Value != ""}, {"pattern", v.Pattern != ""}, {"required", v.Required}, {"input", v.Input != ""}} {
			if m.set && !slices.Contains(members, m.name) {
				return p.dot(m.name).bad("nothing for a variable of kind "+string(v.Kind), "a value", "remove it, or choose another kind")
			}
		}
		return nil
	}
	switch v.Kind {
	case Exact:
		return first(only("value"), p.dot("value").value(v.Value, MaxValue))
	case Pattern:
		return first(only("value", "pattern", "required"), v.validatePattern(p))
	case FromFile:
		return first(only("input"), a.inputOf(p.dot("input"), v.Input, Opaque))
	}
	return oneOf(p.dot("kind"), v.Kind, Exact, Pattern, FromFile)
}

func (v Environment) validatePattern(p place) error {
	if loads(v.Name) {
		return p.dot("kind").bad("kind exact or input", quoted(string(v.Kind))+" for "+v.Name, "whoever chooses it puts other code in the image's place")
	}
	if len(v.Pattern) > MaxPattern {
		return p.dot("pattern").bad(fmt.Sprintf("at most %d bytes", MaxPattern), fmt.Sprintf("%d bytes", len(v.Pattern)), "shorten it")
	}
	if err := p.dot("pattern").line(v.Pattern, MaxPattern); err != nil {
		return err
	}
	whole, err := v.expression()
	if err != nil {
		return p.dot("pattern").bad("an RE2 expression", quoted(err.Error()), "https://github.com/google/re2/wiki/Syntax describes them")
	}
	switch {
	case v.Value == "":
		return nil
	case v.Required:
		return p.dot("value").bad("nothing, since the request must name a value", quoted(v.Value), "remove one of the two")
	case !whole.MatchString(v.Value):
		return p.dot("value").bad("a value that matches the pattern", quoted(v.Value), "")
	}
	return p.dot("value").value(v.Value, MaxValue)
}

// expression gives the pattern so that it must match all of a value. It is compiled by
// itself first: a parenthesis too many would end the group around it.
func (v Environment) expression() (*regexp.Regexp, error) {
	if _, err := regexp.Compile(v.Pattern); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + v.Pattern + `)\z`)
}

// onceForKeys refuses a key of a volume or of the transit endpoint that something else uses
// too: what uses keys may show them.
func onceForKeys(p place, c Container) error {
	type use struct {
		at    place
		input wire.ID
		key   bool
	}
	var uses []use
	for i, v := range c.Environment {
		uses = append(uses, use{p.dot("environment").at(i), v.Input, false})
	}
	for i, m := range c.Mounts {
		uses = append(uses, use{p.dot("mounts").at(i), m.Input, m.Kind == Volume})
	}
	if c.Transit != nil {
		for i, k := range c.Transit.Keys {
			uses = append(uses, use{p.dot("transit").dot("keys").at(i), k.Input, true})
		}
	}
	for i, u := range uses {
		for _, other := range uses[:i] {
			if u.input != "" && u.input == other.input && (u.key || other.key) {
				return u.at.dot("input").bad("an input of its own for every key", quoted(string(u.input))+", which "+other.at.path+" uses too", "seal a key for each")
			}
		}
	}
	return nil
}

// authorities checks certificates that others must lead to.
func (p place) authorities(list []wire.Bytes) error {
	return first(
		p.count(len(list), 0, MaxAuthorities),
		each(p, list, func(p place, der wire.Bytes) error {
			if len(der) > MaxCertificate {
				return p.bad(fmt.Sprintf("a certificate of at most %d bytes", MaxCertificate), fmt.Sprintf("%d bytes", len(der)), "")
			}
			c, err := x509.ParseCertificate(der)
			if err != nil {
				return p.bad("a certificate (DER)", verdict.Short(err.Error()), "")
			}
			if !c.IsCA || !c.BasicConstraintsValid {
				return p.bad("a certificate of an authority", quoted(c.Subject.String())+", which may certify nobody", "name the authority's own certificate; pin a single key under keys")
			}
			return nil
		}),
		unique(p, list, "", func(der wire.Bytes) string { return wire.HashOf(der).String() }),
	)
}

// dnsName checks a host's name: never an address, since that proves nothing, nor this host.
func (p place) dnsName(s string) error {
	labels := strings.Split(s, ".")
	last := labels[len(labels)-1]
	if s == "" || p.domain(s) != nil || strings.Trim(last, "0123456789") == "" || last == "localhost" {
		return p.bad("a DNS name in lower case, no address and not localhost", quoted(s), "")
	}
	return nil
}

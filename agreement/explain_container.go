package agreement

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// container explains work of kind container: what runs, as whom, what it may reach, who may
// reach it, and what that means for everything it reads.
func (e *explainer) container(w Work) {
	c := w.Container
	e.item("%q may be asked for by %s. It runs the container image %q, unchanged: manifest %s, as a disk of %s with root %s. Its name proves nothing, the digests do.",
		w.Name, e.names(w.MayRun, "or"), oneLine(c.Image.Reference), c.Image.Manifest, size(c.Image.Disk.Blocks*4096), c.Image.Disk.Root)
	if c.Image.Sealed != "" {
		in, _ := e.a.InputByName(c.Image.Sealed)
		e.more("The image is secret: it comes sealed as %q, and only %s can read it. NOBODY ELSE CAN SEE WHAT THIS CODE IS.", in.Name, e.name(in.Owner))
	}
	e.more("In its authors' words: %q", oneLine(w.Description))
	e.more("NOBODY CHECKS WHAT THIS CODE DOES: you trust everything in the image with everything that it reads.")
	e.more("It starts this and nothing else; nobody can start anything beside it, look into it or copy from it:")
	for _, arg := range c.Argv {
		e.b.WriteString("    | " + verdict.Printable(strconv.Quote(arg)) + "\n")
	}
	e.more("%s", runsAs(c))
	e.environment(c)
	e.mounts(c)
	e.ports(c)
	e.egress(c)
	e.keysAndLogs(c)
	e.lasts(w)
}

func runsAs(c *Container) string {
	as := fmt.Sprintf("It runs as user %d and group %d of its own", c.User.UID, c.User.GID)
	if len(c.User.Groups) > 0 {
		groups := make([]string, len(c.User.Groups))
		for i, g := range c.User.Groups {
			groups[i] = strconv.FormatInt(g, 10)
		}
		as += " (also " + listed(groups, "and") + ")"
	}
	as += fmt.Sprintf(", in directory %q, with at most %s of memory, %d processes at a time and %d open files in each.", oneLine(c.Directory), size(c.Limits.Memory), c.Limits.Processes, c.Limits.Files)
	if len(c.Capabilities) == 0 {
		as += " It has no capabilities and can gain none."
	} else {
		as += " It has " + listed(c.Capabilities, "and") + " among its own users and processes, and can gain nothing more."
	}
	if len(c.Seccomp.Deny) > 0 {
		as += " Besides what no container may, it may not call " + listed(c.Seccomp.Deny, "or") + "."
	}
	return as
}

// steers tells whether programs commonly take code, or what it does, from a variable.
func steers(name string) bool {
	return loads(name) || strings.HasSuffix(name, "PATH") || strings.HasSuffix(name, "_OPTS") || strings.HasSuffix(name, "_OPTIONS") ||
		slices.Contains([]string{"BASH_ENV", "ENV", "IFS", "HOME", "SHELL", "PROMPT_COMMAND", "PYTHONSTARTUP", "PYTHONHOME", "PERL5OPT", "RUBYOPT", "CLASSPATH"}, name)
}

func (e *explainer) environment(c *Container) {
	if len(c.Environment) == 0 {
		e.more("Its environment is empty.")
		return
	}
	var fixed []string
	for _, v := range c.Environment {
		if v.Kind == Exact {
			fixed = append(fixed, fmt.Sprintf("%s=%q", v.Name, oneLine(v.Value)))
		}
	}
	if len(fixed) > 0 {
		e.more("In its environment stand: %s.", strings.Join(fixed, ", "))
	}
	for _, v := range c.Environment {
		switch v.Kind {
		case FromFile:
			in, _ := e.a.InputByName(v.Input)
			e.more("%s holds a secret: %q of %s.", v.Name, in.Name, e.name(in.Owner))
		case Pattern:
			text := "and it does not exist if they choose none"
			if v.Required {
				text = "and must choose one"
			} else if v.Value != "" {
				text = fmt.Sprintf("%q if they choose none", oneLine(v.Value))
			}
			e.more("CHOSEN BY WHOEVER ASKS FOR A RUN: %s, to match %q, %s. The choice is in the signed request, which every owner's broker sees.", v.Name, oneLine(v.Pattern), text)
			if steers(v.Name) {
				e.more("%s CAN CHANGE WHICH CODE RUNS: whoever asks for a run has a say in it.", v.Name)
			}
		}
	}
}

func (e *explainer) mounts(c *Container) {
	e.more("Its root is read-only, as the image made it. Besides there are:")
	for _, m := range c.Mounts {
		where := fmt.Sprintf("%q", oneLine(m.Path))
		in, _ := e.a.InputByName(m.Input)
		switch m.Kind {
		case Memory:
			e.sub("%s, empty, in the room's memory, at most %s; gone at the end.", where, size(m.Bytes))
		case Scratch:
			e.sub("%s, empty, encrypted on the machine's disk, at most %s; gone at the end with its key.", where, size(m.Bytes))
		case Volume:
			e.sub("%s, kept from run to run, encrypted on the machine's disk under %q of %s, %s. Whoever runs the machine can delete it. %s refuses an older copy, and lets one room at a time have it; after a room that died only that it is no older copy is known.",
				where, in.Name, e.name(in.Owner), size(m.Bytes), capital(e.of(in.Owner, "broker")))
			if e.a.Protection == Software {
				e.subMore("IN A dev ROOM A VOLUME'S CONTENT IS ENCRYPTED AND NOT AUTHENTICATED while it is in use: whoever runs the machine can garble parts of it unnoticed.")
			}
		case Data:
			e.sub("%s, read-only data that is not secret, by its root %s.", where, m.Disk.Root)
		case File:
			e.sub("%s, a file that only it sees: %q of %s.", where, in.Name, e.name(in.Owner))
		case Result:
			e.sub("%s, empty, in the room's memory, at most %s; its file \"result\" becomes the result.", where, size(m.Bytes))
		}
	}
	if len(c.Mounts) == 0 {
		e.sub("no other places: it can write nothing.")
	}
}

func (e *explainer) ports(c *Container) {
	if len(c.Ports) == 0 {
		e.more("Nobody can connect to it.")
		return
	}
	e.more("The room lets these connect, and shows the container nothing of anybody else:")
	for _, p := range c.Ports {
		e.sub("port %q (%d in the container): %s.", p.Name, p.Port, e.admitted(p.Allow))
		if p.Allow.Anyone {
			e.subMore("ANYONE CAN CONNECT TO %q: WHOEVER REACHES IT IS SERVED, AND NOBODY ASKS WHO THEY ARE. What the container checks itself is all there is.", p.Name)
		}
		if len(p.Names) > 0 {
			e.subMore("For the names %s the room's key is certified by %s. A certificate proves a name and not the room: only clients that check the room's evidence know where they are.", listed(p.Names, "and"), e.of(c.CertifiedBy, "authority"))
		}
	}
}

// admitted says who may connect, in words.
func (e *explainer) admitted(a Allow) string {
	var who []string
	if a.Anyone {
		who = append(who, "ANYONE")
	}
	if len(a.Parties) > 0 {
		who = append(who, e.names(a.Parties, "and")+" with a signature of the party's keys")
	}
	for _, der := range a.Authorities {
		who = append(who, "holders of a certificate under the authority "+authorityText(der))
	}
	for _, i := range a.Issuers {
		subjects := "ANY subject"
		if len(i.Subjects) > 0 {
			subjects = "a subject of " + quotedList(i.Subjects)
		}
		who = append(who, fmt.Sprintf("holders of a token that %q issued for %q to %s, under the key %s", oneLine(i.Issuer), oneLine(i.Audience), subjects, listed(i.Keys, "or")))
	}
	if len(a.Rooms) > 0 {
		who = append(who, "rooms of this agreement that run "+quotedList(idTexts(a.Rooms)))
	}
	return strings.Join(who, "; or ")
}

func quotedList(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = fmt.Sprintf("%q", oneLine(s))
	}
	return listed(out, "or")
}

func authorityText(der []byte) string {
	c, err := x509.ParseCertificate(der)
	if err != nil { // only of an agreement that nobody validated
		return wire.HashOf(der).String()
	}
	return fmt.Sprintf("%s, which calls itself %q", wire.HashOf(der), oneLine(c.Subject.String()))
}

func (e *explainer) egress(c *Container) {
	if len(c.Egress) == 0 {
		e.more("It can reach nothing outside the room.")
		return
	}
	e.more("It can send to these, which the room proves by their TLS keys, and to nobody else:")
	for _, g := range c.Egress {
		var proof []string
		if g.Room != "" {
			proof = append(proof, fmt.Sprintf("a room of this agreement that runs %q, by its evidence", g.Room))
		}
		for _, der := range g.Authorities {
			proof = append(proof, "a certificate for that name under the authority "+authorityText(der))
		}
		if len(g.Keys) > 0 {
			keys := make([]string, len(g.Keys))
			for i, k := range g.Keys {
				keys[i] = k.String()
			}
			proof = append(proof, "the key "+listed(keys, "or"))
		}
		e.sub("%q, as %q port %d: %s.", g.Name, oneLine(g.Host), g.Port, listed(proof, "and"))
	}
}

func (e *explainer) keysAndLogs(c *Container) {
	if c.Transit != nil {
		for _, k := range c.Transit.Keys {
			in, _ := e.a.InputByName(k.Input)
			e.more("It can use the key %q to %s without seeing it: %q of %s.", k.Name, listed(idTexts(k.Uses), "and"), in.Name, e.name(in.Owner))
		}
	}
	if len(c.Logs.Receivers) == 0 {
		e.more("What it prints is dropped.")
		return
	}
	e.more("What it prints, up to %s, goes sealed to %s.", size(c.Logs.MaxBytes), e.names(c.Logs.Receivers, "and"))
}

func (e *explainer) lasts(w Work) {
	c := w.Container
	ends := "It is not started again when it ends."
	switch c.Restart.Policy {
	case "on-failure":
		ends = fmt.Sprintf("When it fails it is started again, at most %s.", times(c.Restart.Most))
	case "always":
		ends = fmt.Sprintf("When it ends it is started again, at most %s.", times(c.Restart.Most))
	}
	e.more("%s A run lasts until then, until %s ends it, or until this agreement ends.", ends, e.names(e.a.OwnersOf(w), "or"))
	if c.Mesh {
		e.more("Its rooms show the other rooms of this agreement what they are, by certificates that %s gives to rooms it has seen the evidence of. WHOEVER HOLDS THAT BROKER'S SECRET CAN POSE AS ANY ROOM OF THE MESH: %s alone is trusted with what rooms tell each other.", e.of(c.CertifiedBy, "broker"), e.name(c.CertifiedBy))
	}
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// ways says by which ways a container can send what it reads to anybody but an owner; none
// if there are none.
func (e *explainer) ways(w Work, owner wire.ID) (list []string) {
	c := w.Container
	if out, found := e.a.OutputByName(w.Output); found {
		if to := others(out.Receivers, owner); len(to) > 0 {
			list = append(list, fmt.Sprintf("its result %q, up to %s, to %s", out.Name, size(out.MaxBytes), e.names(to, "and")))
		}
	}
	if to := others(c.Logs.Receivers, owner); len(to) > 0 {
		list = append(list, fmt.Sprintf("what it prints, up to %s, to %s", size(c.Logs.MaxBytes), e.names(to, "and")))
	}
	for _, p := range c.Ports {
		a := p.Allow
		if !a.Anyone && len(a.Authorities)+len(a.Issuers)+len(a.Rooms) == 0 && len(others(a.Parties, owner)) == 0 {
			continue
		}
		list = append(list, fmt.Sprintf("port %q, as much as it likes, to %s", p.Name, e.admitted(a)))
	}
	for _, g := range c.Egress {
		list = append(list, fmt.Sprintf("egress %q, as much as it likes, to %q", g.Name, oneLine(g.Host)))
	}
	return list
}

// exposedByContainer says what others can learn of what a container reads of an owner's.
func (e *explainer) exposedByContainer(w Work, owner wire.ID, ways []string) {
	var reads []string
	for _, in := range e.a.InputsOf(w) {
		if in.Owner == owner {
			reads = append(reads, fmt.Sprintf("%q", in.Name))
		}
	}
	e.sub("everything of "+e.does(owner, "its", "your")+" data that %q reads (%s): the code is opaque, and can put anything it reads into what leaves the room: %s.", w.Name, listed(reads, "and"), strings.Join(ways, "; "))
	if askers := others(w.MayRun, owner); len(askers) > 0 {
		e.subMore("%s can have it run, at most %s in 24 hours.", e.names(askers, "or"), times(e.runsFor(w, owner)))
	}
}

// containerOutputs says which ways out of the room there are besides results (R20).
func (e *explainer) containerOutputs() {
	for _, w := range e.a.Work {
		c := w.Container
		if c == nil {
			continue
		}
		for _, p := range c.Ports {
			e.item("Port %q of %q is a way out too: without any bound, to %s.", p.Name, w.Name, e.admitted(p.Allow))
		}
		for _, g := range c.Egress {
			e.item("Egress %q of %q is a way out too: without any bound, to %q.", g.Name, w.Name, oneLine(g.Host))
		}
		if len(c.Logs.Receivers) > 0 {
			e.item("The logs of %q go to %s and nobody else, sealed so that only they can open them, at most %s a run.", w.Name, e.names(c.Logs.Receivers, "and"), size(c.Logs.MaxBytes))
		}
	}
}

package agreement

import (
	"fmt"
	"slices"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// explainer writes one explanation.
type explainer struct {
	prose
	a       *SignedAgreement
	parties map[wire.ID]*SignedParty
	labels  map[wire.ID]string
}

// Explain says in plain sentences what an agreement means: who brings which data, who may
// run what, who gets which result under which rules, what each party's data is exposed to
// if all the others work together (R6), which machines are accepted, whom those keep out and
// whom they make one trust (R4), and where brokers run (R25).
//
// labels gives the reader's own name for each party of the agreement, by party id; a party
// without one is shown as unknown, whatever it or the proposer calls it. parties may lack
// descriptors; what then can't be said is said to be unknown. Everything others wrote is
// escaped and shown as a quotation. Explain verifies nothing.
func Explain(a *SignedAgreement, parties []*SignedParty, labels map[wire.ID]string) string {
	e := &explainer{a: a, parties: make(map[wire.ID]*SignedParty), labels: labels}
	for _, p := range parties {
		if p == nil || p.Document == nil {
			continue
		}
		if party, found := a.PartyByDescriptor(p.Digest()); found {
			e.parties[party.ID] = p
		}
	}
	e.head()
	e.whoTakesPart()
	e.data()
	e.work()
	e.results()
	e.exposure()
	e.machines()
	e.brokers()
	e.records()
	e.duration()
	return e.b.String()
}

// name gives the reader's name for a party.
func (e *explainer) name(id wire.ID) string {
	if label := e.labels[id]; label != "" {
		return verdict.Printable(label)
	}
	return fmt.Sprintf("UNKNOWN PARTY %q", id)
}

// isYou tells whether a party is the reader, whom homes label so and nobody else.
func (e *explainer) isYou(id wire.ID) bool {
	label := e.labels[id]
	return label == "you" || strings.HasPrefix(label, "you (")
}

// does gives the form of a verb that follows a party's name: they or, of the reader, you.
func (e *explainer) does(id wire.ID, other, you string) string {
	if e.isYou(id) {
		return you
	}
	return other
}

// of says what is a party's: "the broker of NAME", or "your broker".
func (e *explainer) of(id wire.ID, what string) string {
	if e.isYou(id) {
		return "your " + what
	}
	return "the " + what + " of " + e.name(id)
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (e *explainer) names(ids []wire.ID, last string) string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = e.name(id)
	}
	return listed(out, last)
}

// others gives the parties of a list that are not id.
func others(ids []wire.ID, id wire.ID) []wire.ID {
	var out []wire.ID
	for _, other := range ids {
		if other != id {
			out = append(out, other)
		}
	}
	return out
}

func (e *explainer) head() {
	a := e.a
	e.say("Agreement %q, version %d: %q", a.ID, a.Version, oneLine(a.Title))
	e.say("%s", a.Digest())
	if a.Protection == Software {
		e.say("")
		e.say("INSECURE: THE ROOM IS NOT PROTECTED FROM WHOEVER RUNS ITS MACHINE. Protection class \"software\" keeps nobody out: " +
			"whoever runs the machine, or breaks into it, can read all data that enters the room. Use it only with data that may be lost.")
	}
	if a.Protection == IntegrityOnly {
		e.say("")
		e.say("NOT CONFIDENTIAL: THE ROOM'S MEMORY IS OPEN TO WHOEVER RUNS ITS MACHINE. Protection class \"integrity-only\" proves which " +
			"programs were started and keeps nobody out of their memory.")
	}
	e.heading("What it is for, in its authors' words")
	for _, said := range []struct{ what, text string }{
		{"Purpose", a.Purpose}, {"Legal basis", a.LegalBasis}, {"Retention", a.Retention}, {"Contact", a.Contact},
	} {
		e.item("%s: %q", said.what, oneLine(said.text))
	}
	e.say("Strongroom enforces none of these four: they are promises between people.")
}

func (e *explainer) whoTakesPart() {
	e.heading("Who takes part")
	missing := e.a.MissingSignatures(e.signedParties())
	unchecked, _ := e.a.UncheckedSignatures(e.signedParties())
	for _, p := range e.a.Parties {
		var roles []string
		if e.a.owns(p.ID) {
			roles = append(roles, e.does(p.ID, "brings", "bring")+" data")
		}
		if slices.ContainsFunc(e.a.Work, func(w Work) bool { return slices.Contains(w.MayRun, p.ID) }) {
			roles = append(roles, "may ask for runs")
		}
		if e.a.receives(p.ID) {
			roles = append(roles, e.does(p.ID, "receives", "receive")+" "+e.received(p.ID))
		}
		if e.a.keeps(p.ID) {
			roles = append(roles, e.does(p.ID, "admits", "admit")+" runs and may end them")
		}
		if e.a.certifies(p.ID) {
			roles = append(roles, e.does(p.ID, "certifies", "certify")+" rooms")
		}
		if len(roles) == 0 {
			roles = []string{"only " + e.does(p.ID, "has", "have") + " to agree"}
		}
		signed := e.does(p.ID, "Has", "You have") + " signed."
		if slices.Contains(missing, p.ID) {
			signed = e.does(p.ID, "HAS", "YOU HAVE") + " NOT SIGNED, so nothing can run yet."
			if e.parties[p.ID] == nil && unchecked > 0 {
				signed = "Whether it has signed is NOT CHECKED: there are signatures that may be its own, and you have not pinned it."
			}
		}
		if e.labels[p.ID] == "" {
			e.item("%s: %s. %s Its descriptor %s is not in your address book: you can't know who this is.", e.name(p.ID), listed(roles, "and"), signed, p.Descriptor.Short())
			continue
		}
		e.item("%s, %q in the agreement: %s. %s", e.name(p.ID), p.ID, listed(roles, "and"), signed)
	}
}

// received names what a party gets out of rooms.
func (e *explainer) received(id wire.ID) string {
	results := slices.ContainsFunc(e.a.Outputs, func(o Output) bool { return slices.Contains(o.Receivers, id) })
	switch logs := e.a.receivesLogs(id); {
	case results && logs:
		return "results and logs"
	case logs:
		return "logs"
	}
	return "results"
}

func (e *explainer) signedParties() []*SignedParty {
	var out []*SignedParty
	for _, p := range e.parties {
		out = append(out, p)
	}
	return out
}

func (e *explainer) data() {
	e.heading("Which data comes in")
	for _, in := range e.a.Inputs {
		version := "The version is the one that " + e.name(in.Owner) + e.does(in.Owner, " marks", " mark") + " current at the time of a run."
		if in.Statement != nil {
			version = "Only the one version " + in.Statement.Short() + "."
		}
		e.item("%s %s %q: %s dataset %q, %s. %s", e.name(in.Owner), e.does(in.Owner, "brings", "bring"), in.Name, e.does(in.Owner, "its", "your"), in.Dataset, what(in), version)
		if in.Format.Columns() {
			e.more("Columns: %s.", columns(in.Schema))
		}
		e.rules(in)
		e.more("At most %s in any 24 hours may read it, counted by %s.", plural(in.RunsPerDay, "run"), e.of(in.Owner, "broker"))
	}
}

// what says what an input is.
func what(in Input) string {
	switch in.Format {
	case Opaque:
		return "a sealed file for a container: a secret, a key or data"
	case Disk:
		return "the sealed disk of a container's image"
	}
	return string(in.Format) + " with " + plural(int64(len(in.Schema)), "column")
}

func columns(schema []Column) string {
	out := make([]string, len(schema))
	for i, c := range schema {
		out[i] = c.Name + " (" + c.Type + ")"
		if c.Unit {
			out[i] = c.Name + " (" + c.Type + "; says whom a row is about)"
		}
	}
	return strings.Join(out, ", ")
}

func (e *explainer) work() {
	e.heading("What may be run, and nothing else")
	for _, w := range e.a.Work {
		if w.Container != nil {
			e.container(w)
			continue
		}
		e.item("%q may be asked for by %s. It reads all rows of %s. Its result is %q.", w.Name, e.names(w.MayRun, "or"), e.sources(w), w.Output)
		e.more("In its authors' words: %q", oneLine(w.Description))
		e.query(w)
	}
}

// sources says whose rows a work reads, by table.
func (e *explainer) sources(w Work) string {
	var out []string
	for _, name := range w.Tables {
		t, _ := e.a.TableByName(name)
		var from []string
		for _, in := range e.a.Inputs {
			if slices.Contains(t.Inputs, in.Name) {
				from = append(from, fmt.Sprintf("%q of %s", in.Name, e.name(in.Owner)))
			}
		}
		out = append(out, listed(from, "and")+" (table "+name+")")
	}
	return listed(out, "and")
}

func (e *explainer) parameters(w Work) {
	if len(w.Parameters) == 0 {
		e.more("Whoever asks can choose nothing: it gives one answer for each set of dataset versions.")
		return
	}
	var out []string
	for _, p := range w.Parameters {
		var text string
		switch p.Type {
		case "integer":
			text = "a whole number from " + p.Min + " to " + p.Max
		case "decimal":
			text = fmt.Sprintf("a number from %s to %s in steps of %s", p.Min, p.Max, step(p.Scale))
		case "choice":
			words := make([]string, len(p.Values))
			for i, v := range p.Values {
				words[i] = fmt.Sprintf("%q", v)
			}
			text = "one of " + listed(words, "or")
		case "boolean":
			text = "true or false"
		}
		out = append(out, p.Name+", "+text)
	}
	e.more("Whoever asks chooses: %s.", strings.Join(out, "; "))
}

func step(scale int64) string { return "0." + strings.Repeat("0", int(scale)-1) + "1" }

func (e *explainer) results() {
	e.heading("What leaves the room, to whom, under which rules")
	for _, o := range e.a.Outputs {
		if o.Format == formatFile {
			e.item("%q goes to %s and nobody else, sealed so that only they can open it: a file of at most %s that a container wrote, whatever it holds.", o.Name, e.names(o.Receivers, "and"), size(o.MaxBytes))
			continue
		}
		e.item("%q goes to %s and nobody else, sealed so that only they can open it. At most %s and %s, padded so that its size says little.",
			o.Name, e.names(o.Receivers, "and"), plural(o.MaxRows, "row"), size(o.MaxBytes))
		if o.TimeBucketMS > 0 {
			e.more("It leaves at a multiple of %s, so that how long a query takes tells little of what it read.", seconds(o.TimeBucketMS))
		}
	}
	e.containerOutputs()
	e.say("The machine's operator sees no result, but sees when runs happen, how long they take and how much memory they move.")
}

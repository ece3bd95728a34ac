package agreement

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"strongroom.dev/wire"
)

// exposure says for every party what it gets, and for every owner what the others could
// learn of its data if all of them worked together: the only view that counts (R6).
func (e *explainer) exposure() {
	e.heading("What each party can learn, even if all the others work together")
	for _, p := range e.a.Parties {
		e.gains(p.ID)
		if e.a.owns(p.ID) {
			e.exposed(p.ID)
		}
	}
}

// gains says what a party receives itself.
func (e *explainer) gains(id wire.ID) {
	var results []string
	for _, o := range e.a.Outputs {
		if slices.Contains(o.Receivers, id) {
			results = append(results, fmt.Sprintf("%q", o.Name))
		}
	}
	for _, w := range e.a.Work {
		c := w.Container
		if c == nil {
			continue
		}
		if slices.Contains(c.Logs.Receivers, id) {
			results = append(results, fmt.Sprintf("the logs of %q", w.Name))
		}
		for _, p := range c.Ports {
			if p.Allow.Anyone || slices.Contains(p.Allow.Parties, id) {
				results = append(results, fmt.Sprintf("whatever port %q of %q answers", p.Name, w.Name))
			}
		}
	}
	if len(results) == 0 {
		e.item("%s %s no result.", e.name(id), e.does(id, "receives", "receive"))
	} else {
		e.item("%s %s %s, and from the rest of the agreement nothing but that runs happened.", e.name(id), e.does(id, "receives", "receive"), listed(results, "and"))
	}
	if e.a.owns(id) {
		its := e.does(id, "its", "your")
		e.more("As an owner %s of every run that reads %s data: who asked, what, with which parameters, and what was withheld for %s people's sake.", e.does(id, "it also learns", "you also learn"), its, its)
	}
}

// exposed says what everybody else together could learn of an owner's data.
func (e *explainer) exposed(owner wire.ID) {
	everyone := others(partyIDs(e.a.Parties), owner)
	if len(everyone) == 0 {
		e.more("Nobody else takes part.")
		return
	}
	if e.a.Protection != Confidential {
		e.more("WITH WHOEVER RUNS THE MACHINE ON THEIR SIDE: EVERYTHING, since class %q keeps nobody out.", e.a.Protection)
	}
	e.releasers()
	e.more("If everybody else (%s) works together against %s, they can learn this about %s data, and no more than this as long as the machines and room images below are sound:", e.names(everyone, "and"), e.name(owner), e.does(owner, "its", "your"))
	shown := 0
	for _, w := range e.a.Work {
		if !slices.ContainsFunc(e.a.InputsOf(w), func(in Input) bool { return in.Owner == owner }) {
			continue
		}
		if w.Container != nil {
			if ways := e.ways(w, owner); len(ways) > 0 {
				shown++
				e.exposedByContainer(w, owner, ways)
			}
			continue
		}
		out, _ := e.a.OutputByName(w.Output)
		if len(others(out.Receivers, owner)) == 0 {
			continue
		}
		shown++
		e.exposedBy(w, out, owner)
	}
	if shown > 1 {
		e.sub("whatever follows from these answers taken together.")
	}
	if shown == 0 {
		e.sub("only that runs happened, when, and how long they took: no result from %s data goes to any of them.", e.does(owner, "its", "your"))
	}
}

func (e *explainer) exposedBy(w Work, out Output, owner wire.ID) {
	own := e.of(owner, "rows") + " alone"
	if co := others(e.a.OwnersOf(w), owner); len(co) > 0 {
		own += ", since " + e.names(co, "and") + " can take away the rows that are their own"
	}
	e.sub("the answers of %q over %s (as %q, which %s gets).", w.Name, own, out.Name, e.names(others(out.Receivers, owner), "or"))
	e.subMore("%s", e.differing(w, owner))
	e.subMore("%s", e.protected(w, owner))
}

// runsFor gives the fewest runs a day that an owner's inputs of a work allow.
func (e *explainer) runsFor(w Work, owner wire.ID) int64 {
	runs := int64(MaxRuns)
	for _, in := range e.a.InputsOf(w) {
		if in.Owner == owner {
			runs = min(runs, in.RunsPerDay)
		}
	}
	return runs
}

// combinations counts the ways to choose parameters, in words.
func combinations(params []Parameter) string {
	n := big.NewInt(1)
	for _, p := range params {
		switch p.Type {
		case "boolean":
			n.Mul(n, big.NewInt(2))
		case "choice":
			n.Mul(n, big.NewInt(int64(len(p.Values))))
		default:
			_, low, _ := p.number(p.Min)
			_, high, _ := p.number(p.Max)
			span := new(big.Int).Sub(big.NewInt(high), big.NewInt(low))
			n.Mul(n, span.Add(span, big.NewInt(1)))
		}
	}
	if text := n.String(); len(text) <= 6 {
		return text + " combinations are"
	}
	return "more than a million combinations are"
}

func partyIDs(parties []Party) []wire.ID {
	ids := make([]wire.ID, len(parties))
	for i, p := range parties {
		ids[i] = p.ID
	}
	return ids
}

// machines says which machines are accepted, whom they keep out, and whom they make one
// trust (R4, R5).
func (e *explainer) machines() {
	e.heading("Which machines are good enough")
	e.say("Protection class: %q. The weakest machine accepted decides.", e.a.Protection)
	for _, m := range e.a.Platforms {
		keeps, trust := guarantees(m.Kind, e.a.Protection)
		e.item("%s: %s", m.Kind, keeps)
		e.more("You trust: %s.", trust)
		if m.Root != nil {
			e.more("Its evidence must lead to the one root %s.", m.Root)
		}
		if len(m.Machines) == 0 {
			e.more("No machines are listed: any genuine machine of this kind anywhere is accepted, including one in an attacker's hands.")
		} else {
			quoted := make([]string, len(m.Machines)) // an author's words, never ours
			for i, name := range m.Machines {
				quoted[i] = fmt.Sprintf("%q", oneLine(name))
			}
			e.more("Only %s, as the author names them: %s.", plural(int64(len(m.Machines)), "machine"), strings.Join(quoted, ", "))
		}
		e.images(m)
		if len(m.MayLack) > 0 {
			runs := "the SQL engine"
			if slices.ContainsFunc(e.a.Work, func(w Work) bool { return w.Container != nil }) {
				runs = "what runs in it"
			}
			e.more("The room may run without %s where the machine's kernel denies them: a flaw in %s would then reach further.", listed(idTexts(m.MayLack), "and"), runs)
		}
	}
}

func (e *explainer) images(m Platform) {
	for _, i := range m.Images {
		var parts []string
		for _, name := range sortedNames(i.Measurements) {
			parts = append(parts, name+" "+i.Measurements[name]) // in full: a part of one can be made to fit
		}
		if _, partly := i.Measurements["firmware.version"]; partly && m.Kind == "tpm" {
			e.more("Of the firmware in %q, the part that runs first is compared with nothing: it can't be measured alike on machines of two sizes.", i.Name)
		}
		e.more("Room image %q, by exact measurement (%s): you trust this code to keep the rules, since you or people you trust can rebuild and compare it.", i.Name, strings.Join(parts, ", "))
	}
	e.releases(m)
}

// guarantees says in words what a kind of machine promises.
func guarantees(kind wire.ID, class Class) (keeps, trust string) {
	const operator = "keeps the machine's administrator and the cloud's operators out of the room's memory, not somebody with physical access and equipment"
	switch {
	case kind == "dev":
		return "INSECURE. Protects from NOBODY who runs the machine: its administrator, its cloud and anyone who breaks in can read the room and forge its evidence.",
			"whoever runs the machine, with everything"
	case kind == "tpm" && class == Software:
		return "INSECURE. A software TPM: protects from NOBODY who runs the machine.", "whoever runs the machine, with everything"
	case kind == "tpm":
		return "proves which programs were started; keeps NOBODY out of memory.", "the TPM's maker, and whoever runs the machine not to look"
	case kind == "snp":
		return operator + ".", "AMD"
	case kind == "tdx", kind == "sgx":
		return operator + ".", "Intel"
	case kind == "azure":
		return operator + ".", "the CPU's maker, and Microsoft, whose paravisor runs inside"
	case kind == "nitro":
		return "keeps the parent machine's administrator out of the room's memory, not Amazon.", "Amazon Web Services, with everything"
	}
	return "UNKNOWN KIND: assume that it keeps nobody out.", "whoever runs the machine, with everything"
}

// brokers says where each owner's keys are, and who can therefore read its data (R25).
func (e *explainer) brokers() {
	e.heading("Where the keys are")
	for _, p := range e.a.Parties {
		if e.a.needsBroker(p.ID) == "" {
			continue
		}
		signed := e.parties[p.ID]
		if signed == nil || signed.Broker == nil {
			e.item("%s: UNKNOWN, its descriptor is missing. Whoever runs it can read all %s.", capital(e.of(p.ID, "broker")), e.does(p.ID, "data of "+e.name(p.ID), "your data"))
			continue
		}
		e.item("%s runs, in %s own words: %q. Whoever runs it can read all %s.", capital(e.of(p.ID, "broker")), e.does(p.ID, "its", "your"), oneLine(signed.Broker.Operator), e.does(p.ID, "data of "+e.name(p.ID), "your data"))
		if e.a.certifies(p.ID) {
			e.more("Whoever runs it can also certify any other key as one of this agreement's rooms: clients that only check names would take it for one.")
		}
	}
	e.say("Nothing is released before each owner has activated the agreement in its own broker; signing alone releases nothing. Each owner can switch off its own data at any time, alone.")
}

func (e *explainer) records() {
	e.heading("What is recorded")
	e.say("Every owner's broker records each release in a log of its own before a key leaves. It records refusals too; those about agreements it never had, and those beyond a bound that keeps strangers from filling the log, it only counts.")
	l := e.a.Ledgers
	if len(l.Witnesses) == 0 {
		e.say("NO SHARED LEDGER witnesses the runs: an owner who changes its own log is found out only by parties that kept an older copy.")
		return
	}
	witnesses := make([]string, len(l.Witnesses))
	for i, w := range l.Witnesses {
		witnesses[i] = fmt.Sprintf("the holder of key %s, whom the author calls %q", oneLine(w.Key), w.Name)
	}
	e.say("Every run is witnessed by at least %d of: %s. Compare the keys with those ledgers' own. What they see says nothing about the data.", l.Quorum, strings.Join(witnesses, "; "))
}

func (e *explainer) duration() {
	a := e.a
	e.heading("For how long")
	e.say("Valid from %s until %s (UTC).", a.Valid.From, a.Valid.Until)
	if a.Supersedes != nil {
		e.say("It replaces version %d (%s): an owner who activates this version retires every lower one for good.", a.Version-1, a.Supersedes.Short())
	}
	e.say("When a broker falls silent or is switched off, the room must stop and wipe within %s.", seconds(a.LeaseMS))
}

func seconds(ms int64) string {
	text := strings.TrimRight(strings.TrimRight(fmt.Sprintf("%d.%03d", ms/1000, ms%1000), "0"), ".")
	if text == "1" {
		return "1 second"
	}
	return text + " seconds"
}

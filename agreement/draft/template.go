package draft

import (
	"fmt"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
)

// Start is what a first draft is made from. Every field may be left empty: the template
// then holds a placeholder in angle brackets, which [Parse] refuses by line until somebody
// fills it in.
type Start struct {
	ID      wire.ID
	Title   string
	Parties []agreement.Party
	// Owners are those of the parties that bring data. Empty: all but the last, or the only one.
	Owners []wire.ID
	From   wire.Time
	Until  wire.Time
	// Platforms are machines to accept, of one protection class. Empty: SEV-SNP with
	// placeholders, since an agreement is confidential unless it says otherwise.
	Platforms []agreement.Platform
	// Software says that their class is software: that nobody is kept out.
	Software  bool
	Witnesses []agreement.Witness
	// Container makes the draft one about a container instead of a query, Work its name; without a
	// name it is called as its image is.
	Container *agreement.Container
	Work      wire.ID
	// Runs are the parties that may ask for runs of the container and that have its result, if it
	// gives one; Connects those that its ports let in where the container does not say whom.
	// Empty: the only party; of several none is chosen, and "agreement check" refuses the draft.
	Runs     []wire.ID
	Connects []wire.ID
}

// Template writes a commented agreement.yaml to start from: one dataset of each owner, a
// table of all their rows, one query over it, one output for the last party.
func Template(s Start) string {
	var b strings.Builder
	parties := s.Parties
	if len(parties) == 0 {
		parties = []agreement.Party{{ID: "alpha"}, {ID: "researcher"}}
	}
	asker := parties[len(parties)-1].ID
	fmt.Fprintf(&b, templateHead, or(string(s.ID), "my-study"), quote(or(s.Title, "<What this study is called>")),
		orTime(s.From, "<the first moment, like 2026-11-24T00:00:00Z>"), orTime(s.Until, "<the first moment after, like 2027-11-24T00:00:00Z>"))
	for _, p := range parties {
		fmt.Fprintf(&b, "  - id: %s\n    descriptor: %s\n", p.ID, orDigest(p.Descriptor))
	}
	writePlatforms(&b, s.Platforms, s.Software)
	if s.Container != nil {
		writeService(&b, s, parties)
	} else {
		inputs := writeInputs(&b, owners(s.Owners, parties), asker)
		fmt.Fprintf(&b, templateBody, inputs, asker, asker)
	}
	if len(s.Witnesses) == 0 {
		b.WriteString("  witnesses: []\n  quorum: 0\n")
	} else {
		b.WriteString("  witnesses:\n")
		for _, w := range s.Witnesses {
			fmt.Fprintf(&b, "    - name: %s\n      key: %s\n", w.Name, quote(w.Key))
		}
		fmt.Fprintf(&b, "  quorum: %d\n", len(s.Witnesses))
	}
	b.WriteString(templateLease)
	return b.String()
}

func owners(named []wire.ID, parties []agreement.Party) []wire.ID {
	if len(named) > 0 {
		return named
	}
	if len(parties) > 1 {
		parties = parties[:len(parties)-1]
	}
	var out []wire.ID
	for _, p := range parties {
		out = append(out, p.ID)
	}
	return out
}

// writeInputs writes one input of each owner, all with the same columns so that a table can
// join their rows, and gives their names.
func writeInputs(b *strings.Builder, owners []wire.ID, receiver wire.ID) string {
	b.WriteString(templateInputs)
	var names []string
	for i, owner := range owners {
		name := wire.ID(string(owner) + "-patients")
		if !name.Valid() { // too long
			name = wire.ID(fmt.Sprintf("patients-%d", i+1))
		}
		fmt.Fprintf(b, templateInput, name, owner, receiver)
		names = append(names, string(name))
	}
	return strings.Join(names, ", ")
}

func writePlatforms(b *strings.Builder, platforms []agreement.Platform, software bool) {
	b.WriteString(templatePlatforms)
	if len(platforms) == 0 {
		platforms = []agreement.Platform{{Kind: "snp"}}
	}
	if software {
		b.WriteString("# INSECURE: whoever runs the machine can read everything. For trying things out only.\nprotection: software\n")
	} else {
		b.WriteString("protection: confidential\n")
	}
	b.WriteString("platforms:\n")
	for _, p := range platforms {
		writePlatform(b, p)
	}
}

func writePlatform(b *strings.Builder, m agreement.Platform) {
	fmt.Fprintf(b, "  - kind: %s\n", m.Kind)
	if m.Root != nil {
		fmt.Fprintf(b, "    root: %s\n", m.Root)
	}
	b.WriteString("    machines: []            # empty: any genuine machine of this kind, anywhere\n    images:\n")
	if len(m.Images) == 0 {
		b.WriteString("      - name: room\n        measurements:\n          measurement: <hex digits, as `strongroom image measure` prints them>\n")
	}
	for _, i := range m.Images {
		fmt.Fprintf(b, "      - name: %s\n        measurements:\n", i.Name)
		for _, name := range sorted(i.Measurements) {
			fmt.Fprintf(b, "          %s: %s\n", name, i.Measurements[name])
		}
	}
	if len(m.MayLack) > 0 {
		fmt.Fprintf(b, "    # Sandbox layers a room may go without where the machine's kernel denies them.\n    may_lack: [%s]\n", strings.Join(texts(m.MayLack), ", "))
	}
}

const templateHead = `# An agreement: who brings what data, what may be computed, who gets which result, on which
# machines. Check it with "strongroom agreement check", read what it means with
# "strongroom agreement explain". What people sign is its canonical form, not this file.

id: %s                # the same in every version
version: 1
# supersedes: sha384:...        # from version 2 on: the digest of the version before
title: %s
purpose: >-
  <Why the data is used, in words everybody who signs would use>
legal_basis: >-
  <What allows it: a contract, a consent, an article of a law>
retention: >-
  <How long results and records are kept>
contact: <Who answers questions, with an address>

# When it may be used. Nothing is released before or after.
valid:
  from: %s
  until: %s

# Who takes part, by the digest of each one's party descriptor ("strongroom party list").
parties:
`

const templatePlatforms = `
# Which machines are good enough. All of one protection class: confidential (hardware keeps
# the operator out of memory), integrity-only (a TPM), or software (nobody is kept out).
`

const templateInputs = `
# What data comes in, from whom. The column with unit: true says whom a row is about. Types
# are text, integer, decimal (with its scale), boolean and date.
inputs:
`

const templateInput = `  - name: %[1]s
    owner: %[2]s
    dataset: patients         # the owner's own name for it: dataset publish --dataset patients
    format: csv               # or parquet, ndjson, arrow
    schema:
      - {name: patient, type: integer, unit: true}
      - {name: diagnosis, type: text}
      - {name: age, type: integer}
    runs_per_day: 20          # counted by the owner's broker
    # What queries may make of the rows; spec/agreement.md, section 3.1, explains each.
    rules:
      answers: groups         # numbers about groups of people, never rows
      min_group: 10           # the fewest of the owner's people in anything shown
      receivers: [%[3]s]
      roles: [filter, group, aggregate] # of every column but the unit
      columns: []             # those that may be used for less: {name: age, roles: [filter]}
`

const templateBody = `
# What queries read: the rows of one or several inputs with the same columns, together.
tables:
  - name: patients
    inputs: [%s]

# What may be run, and by whom. Parameters have types and bounds. "agreement check" tries the
# query; spec/sql.md says what one may do.
work:
  - name: count-by-diagnosis
    kind: sql
    description: How many patients over an age have each diagnosis
    query: |
      SELECT diagnosis, count(*) AS patients
      FROM patients
      WHERE age >= $age
      GROUP BY diagnosis
    tables: [patients]
    parameters:
      - {name: age, type: integer, min: "0", max: "120"}
    may_run: [%s]
    output: counts

# What leaves, to whom, under which rules.
outputs:
  - name: counts
    receivers: [%s]
    format: csv
    max_rows: 1000
    max_bytes: 1048576

# Shared ledgers that witness every run, and how many of them must.
ledgers:
`

const templateLease = `
# How long a room may go on without word from the owners' brokers, in milliseconds.
lease_ms: 10000
`

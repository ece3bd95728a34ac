package policy

import (
	"fmt"
	"slices"
	"strings"

	"strongroom.dev/wire"
)

// checkInputs holds what is asked for against the run and the catalogue (R7, R8).
func (d *decision) checkInputs() {
	var want, got []string
	for _, in := range d.Agreement.InputsOf(d.work) {
		if d.own(in.Owner) {
			want = append(want, string(in.Name))
		}
	}
	for _, in := range d.Inputs {
		got = append(got, string(in.Name))
	}
	expected, found := "exactly this party's inputs of the run: "+listed(want), listed(got)
	owner := len(want) > 0 || d.keeper()
	if len(want) == 0 && !owner {
		expected, found = "a party that owns an input of the run, or keeps it", string(d.Broker.Name)+", which does neither"
	}
	d.need(owner && slices.Equal(want, got), "inputs.complete", expected, found, "ask for every input of this party once, in the agreement's order")
	for _, in := range d.Inputs {
		d.checkInput(in)
	}
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func (d *decision) checkInput(in Input) {
	agreed, found := d.Agreement.InputByName(in.Name)
	statement, digest := in.Statement.Dataset, in.Statement.Digest()
	need := func(ok bool, id, expected, got, fix string) {
		d.need(ok, id, fmt.Sprintf("input %s: %s", in.Name, expected), got, fix)
	}

	need(found && d.own(agreed.Owner) && statement.Owner == d.Broker.Name && statement.Dataset == agreed.Dataset, "input.owner",
		fmt.Sprintf("dataset %s of %s", agreed.Dataset, d.Broker.Name), fmt.Sprintf("dataset %s of %s, for an input of party %q", statement.Dataset, statement.Owner, string(agreed.Owner)),
		"a broker releases only its own party's data: correct the agreement or ask the owner's broker")

	dataset, catalogued := d.Books.Headers[in.Header.Hash]
	got := "header " + in.Header.Hash.Short() + " under no dataset"
	if catalogued {
		got = "header " + in.Header.Hash.Short() + " under dataset " + string(dataset)
	}
	need(found && catalogued && dataset == agreed.Dataset, "input.catalogued", fmt.Sprintf("a header published under dataset %s", agreed.Dataset), got,
		"send the file that the owner published as this dataset")

	entry, known := d.Books.Datasets[statement.Dataset]
	got = fmt.Sprintf("version %d (%s)", statement.Version, digest.Short())
	named := d.named(in.Name)
	pinned := agreed.Statement == nil || *agreed.Statement == digest
	need(known && !entry.Current.IsZero() && entry.Current == digest && named == digest && pinned, "input.current",
		fmt.Sprintf("the version its owner marked current (%s), which the run names (%s)", entry.Current.Short(), named.Short()), got,
		"use the current version and sign a run request that names it")

	agreementDigest := d.Agreement.Digest()
	admitted := known && (entry.AdmitsActivated || slices.Contains(entry.Admits, agreementDigest))
	got = "admitted"
	if !admitted {
		got = "not admitted"
	}
	need(admitted, "input.admitted", "a dataset whose own policy admits agreement "+agreementDigest.Short(), got, "have the owner admit the agreement with `strongroom dataset publish`")

	sound := in.Header.Sound && in.Header.Hash == statement.Header && in.Header.Stanzas == statement.Recipients && statement.Recipients > 0
	got = fmt.Sprintf("header %s with %d recipients", in.Header.Hash.Short(), in.Header.Stanzas)
	if !in.Header.Sound {
		got = "a header that is malformed"
		if in.Header.Why != "" {
			got += ": " + in.Header.Why
		}
	}
	need(sound, "input.header", fmt.Sprintf("header %s with %d recipients, as its owner stated", statement.Header.Short(), statement.Recipients), got, "send the header of the file that the statement is about")
}

// named gives the statement that the run names for an input, zero if none.
func (d *decision) named(input wire.ID) (statement wire.Digest) {
	for _, set := range d.Run.Datasets {
		if set.Input == input {
			return set.Statement
		}
	}
	return statement
}

// checkSpending looks at what may happen only so often (R14).
func (d *decision) checkSpending() {
	got, e := "the first", d.Books.Earlier
	switch {
	case d.retry:
		got = "the same request again, which spends nothing"
	case e != nil && e.ReleaseID == d.ReleaseID:
		got = "a release id used before for another request"
	case e != nil:
		got = "released before as " + e.ReleaseID
	}
	d.need(e == nil || d.retry, "run.once", "the first release for run "+d.Run.RunID, got, "sign a new run request: a run is released to one room, once")

	if len(d.Inputs) == 0 {
		d.need(d.keeper(), "budget.runs", "runs left today", "no input to count for", "ask for this party's inputs")
	}
	for _, in := range d.Inputs {
		agreed, _ := d.Agreement.InputByName(in.Name)
		entry, known := d.Books.Datasets[in.Statement.Dataset.Dataset]
		left := known && entry.Runs >= 0 && entry.Runs < agreed.RunsPerDay
		d.need(left, "budget.runs", fmt.Sprintf("input %s: fewer than %d runs in the last 24 hours", in.Name, agreed.RunsPerDay), fmt.Sprintf("%d", entry.Runs),
			"wait until earlier runs are 24 hours old, or agree on more")
	}
	d.checkBudgets()
}

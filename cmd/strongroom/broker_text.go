package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/broker"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

type brokerInfo = agreement.BrokerInfo

// whoRuns says who can read the owner's data through this broker, and what is insecure.
func whoRuns(w io.Writer, s broker.Status) {
	fmt.Fprintf(w, "  run by      %s (whoever runs a broker can read its owner's data)\n", verdict.Printable(s.Operator))
	fmt.Fprintf(w, "  keys        %s\n", verdict.Printable(s.KeyStore))
	if s.NamesAuthority != "" {
		fmt.Fprintf(w, "  names       of rooms are certified by %s, which knows nothing of rooms\n", verdict.Printable(s.NamesAuthority))
	}
	if s.InsecureSoftware {
		fmt.Fprintln(w, "  INSECURE    releases keys to rooms of class software, which keep nobody out of their memory")
	}
	if s.Lock != nil {
		fmt.Fprintf(w, "  LOCKED      %s: %s\n              refuses everything until it is resolved or you run: strongroom broker confirm %s\n", s.Lock.Kind, verdict.Printable(s.Lock.Reason), s.Lock.Kind)
		if s.Lock.Detail != "" {
			fmt.Fprintf(w, "              %s\n", verdict.Printable(s.Lock.Detail))
		}
	}
	for _, trouble := range s.Troubles {
		fmt.Fprintf(w, "  TROUBLE     witness %s\n", verdict.Printable(trouble))
	}
}

func statusText(w io.Writer, s broker.Status, running bool, now time.Time) {
	state := "not running"
	switch {
	case running && s.Serving:
		state = "serving"
	case running:
		state = "running, LOCKED"
	}
	fmt.Fprintf(w, "Broker of %s: %s\n", s.Party, state)
	whoRuns(w, s)
	fmt.Fprintf(w, "  log         %s, %d entries\n", verdict.Printable(s.Log), s.Size)
	endorsementsText(w, s.Endorsements, now)
	referencesText(w, s.References, now)
	deniedText(w, s.Denied)
	if s.Queued > 0 {
		fmt.Fprintf(w, "  waiting     %d records on their way into the log\n", s.Queued)
	}
	for _, origin := range s.Witnesses {
		fmt.Fprintf(w, "  witness     %s\n", verdict.Printable(origin))
	}
	for _, kind := range slices.Sorted(maps.Keys(s.Recorded)) {
		fmt.Fprintf(w, "  recorded    %d %s\n", s.Recorded[kind], kind)
	}
	if c := s.SinceStart; running {
		fmt.Fprintf(w, "  since start %d challenges, %d refusals (%d only counted), %d malformed\n", c.Challenges, c.Refused, c.Unlogged, c.Malformed)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, a := range s.Agreements {
		if i == 0 {
			fmt.Fprintln(t, "\nAGREEMENT\tVERSION\tDIGEST\tSTANDING\tSINCE")
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\n", a.ID, a.Version, shortDigest(a.Digest), a.Standing, since(a.SinceMS))
	}
	t.Flush()
	for i, d := range s.Datasets {
		if i == 0 {
			fmt.Fprintln(t, "\nDATASET\tVERSION\tSTATEMENT\tRUNS IN 24 H\tADMITS")
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%s\n", d.Dataset, d.Version, d.Statement.Short(), d.Runs, d.Admit)
	}
	t.Flush()
	for i, b := range s.Budgets {
		if i == 0 {
			fmt.Fprintln(t, "\nBUDGET OF\tIN ALL\tSPENT\tLEFT")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", b.Dataset, inAll(b), b.Spent, left(b))
	}
	t.Flush()
	for i, v := range s.Volumes {
		if i == 0 {
			fmt.Fprintln(t, "\nVOLUME OF KEY\tSTATE\tGENERATION\tON DISK\tRUN\tSINCE")
		}
		run := v.RunID
		if run == "" {
			run = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\n", v.Dataset, v.State, v.Generation, v.Mounted, verdict.Printable(run), since(v.SinceMS))
	}
	t.Flush()
}

func shortDigest(text string) string {
	d, err := wire.ParseDigest(text)
	if err != nil {
		return verdict.Short(text)
	}
	return d.Short()
}

func since(ms int64) string { return wire.At(time.UnixMilli(ms)).String() }

// decisionText explains one decision.
func decisionText(w io.Writer, d broker.Decision) {
	fmt.Fprintf(w, "%s  %s  entry %d: %s\n", since(d.TimeMS), d.Kind, d.Number, verdict.Printable(d.Subject))
	if d.Refusal != "" {
		fmt.Fprintf(w, "  REFUSED  %s\n", verdict.Printable(d.Refusal))
	}
	for _, s := range d.Spendings {
		spendingText(w, s)
	}
	for _, c := range d.Checks {
		mark := "ok"
		if !c.OK {
			mark = "NO"
		}
		fmt.Fprintf(w, "  %s  %-22s expected %s\n      %-22s got      %s\n", mark, verdict.Printable(c.ID), verdict.Printable(c.Expected), "", verdict.Printable(c.Got))
		if c.Fix != "" {
			fmt.Fprintf(w, "      %-22s mend     %s\n", "", verdict.Printable(c.Fix))
		}
	}
}

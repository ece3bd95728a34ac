package main

import (
	"crypto/x509"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/endorse"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// shownItem is one endorsement for people and programs.
type shownItem struct {
	Kind    endorse.Kind `json:"kind"`
	Name    string       `json:"name"`
	Subject string       `json:"subject,omitempty"`
	Issued  string       `json:"issued,omitempty"`
	Until   string       `json:"until,omitempty"`
	Number  string       `json:"number,omitempty"`
	Current bool         `json:"current"`
	Bytes   int          `json:"bytes"`
}

func showItem(it endorse.Item, now time.Time) shownItem {
	d := it.Dates()
	s := shownItem{Kind: it.Kind, Name: it.Name, Current: d.Current(now), Bytes: len(it.Data)}
	if !d.Issued.IsZero() {
		s.Issued = wire.At(d.Issued).String()
	}
	if !d.Until.IsZero() {
		s.Until = wire.At(d.Until).String()
	}
	if d.Number != nil {
		s.Number = d.Number.String()
	}
	switch it.Kind {
	case endorse.X509Certificate:
		if c, err := x509.ParseCertificate(it.Data); err == nil {
			s.Subject = c.Subject.CommonName
		}
	case endorse.X509CRL:
		if l, err := x509.ParseRevocationList(it.Data); err == nil {
			s.Subject = l.Issuer.CommonName
		}
	}
	return s
}

func (a *app) endorsementsShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show PATH...",
		Short:   "List endorsements with their dates, verifying nothing",
		Example: "  strongroom endorsements show bundle.json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			sources, err := a.endorsementSources(args, shownBundle)
			if err != nil {
				return err
			}
			set, bundles, err := oneSet(sources)
			if err != nil {
				return err
			}
			return a.printItems(set.Items(), bundles, a.now(), nil)
		},
	}
}

// printItems lists bundles and endorsements; problems are nil where none were looked for.
func (a *app) printItems(items []endorse.Item, bundles []bundleView, now time.Time, problems []string) error {
	shown := make([]shownItem, len(items))
	for i, it := range items {
		shown[i] = showItem(it, now)
	}
	value := map[string]any{"bundles": bundles, "items": shown, "at": wire.At(now)}
	if problems != nil {
		value["problems"] = problems
	}
	return a.print(value, func(w io.Writer) {
		for _, b := range bundles {
			b.text(w, now, problems != nil)
		}
		for _, s := range shown {
			fmt.Fprintf(w, "%s%-20s %-28s %s to %s  %s\n", markUnless(s.Current), s.Kind, verdict.Short(s.Subject+unlessEmpty(s.Number, " number ")), or(s.Issued, "undated"), or(s.Until, "open"), verdict.Printable(s.Name))
		}
		for _, p := range problems {
			fmt.Fprintln(w, verdict.Printable(p))
		}
	})
}

func (b bundleView) text(w io.Writer, now time.Time, verified bool) {
	by := make([]string, len(b.SignedBy))
	for i, id := range b.SignedBy {
		by[i] = "key " + id.Short()
	}
	current := !now.Before(b.Created.Time()) && now.Before(b.Expires.Time())
	doubt := ""
	if !verified {
		doubt = " (not verified: strongroom endorsements check does it)"
	}
	name := verdict.Printable(b.File)
	if b.Name != "" {
		name += " (" + string(b.Name) + ")"
	}
	fmt.Fprintf(w, "%sbundle %s from %s to %s, signed by %s%s\n", markUnless(current), name, b.Created, b.Expires, or(strings.Join(by, ", "), "nobody"), doubt)
}

func markUnless(current bool) string {
	if current {
		return "  "
	}
	return "! "
}

func unlessEmpty(s, before string) string {
	if s == "" {
		return ""
	}
	return before + s
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func (a *app) endorsementsCheck() *cobra.Command {
	var f endorsementFlags
	var at string
	var within int
	cmd := &cobra.Command{
		Use:   "check PATH...",
		Short: "Check that endorsements are current, and bundles signed by whom you trust",
		Long: `Checks dates, and who signed bundles. Vendors' own signatures are checked where they
are used, by verify. Exits 3 if something is outdated, or will be within --within days: an endorsement,
or the bundle itself.`,
		Example: `  strongroom endorsements check endorsements.bundle --endorsements-key packer.pub --within 7`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			now := a.now()
			if at != "" {
				var err error
				if now, err = timeFlag("--at", at); err != nil {
					return err
				}
			}
			if within < 0 {
				return verdict.Misuse("--within", "days, 0 or more", fmt.Sprint(within), "correct it")
			}
			f.paths = args
			set, bundles, err := a.trustedEndorsements(f, now)
			if err != nil {
				return err
			}
			later := now.AddDate(0, 0, within)
			problems := append(ending(bundles, later), outdated(set.Items(), now, later)...)
			if err := a.printItems(set.Items(), bundles, now, problems); err != nil || len(problems) == 0 {
				return err
			}
			a.printed = true
			return verdict.Refuse("endorsements.dates", "endorsements that are current", problems[0], "strongroom endorsements fetch gets new ones, and pack makes a new bundle of them")
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "check as of this time (default: now)")
	cmd.Flags().IntVar(&within, "within", 0, "also refuse what ends within so many days")
	cmd.Flags().StringArrayVar(&f.keys, "endorsements-key", nil, "key that may have signed bundles: ed25519:..., or the file of one or of its signing key (repeatable)")
	return cmd
}

// ending says which bundles are over at a later time; those that are over now were refused.
func ending(bundles []bundleView, later time.Time) []string {
	problems := []string{}
	for _, b := range bundles {
		if !later.Before(b.Expires.Time()) {
			problems = append(problems, fmt.Sprintf("bundle %s ends %s", b.File, b.Expires))
		}
	}
	return problems
}

func outdated(items []endorse.Item, now, later time.Time) []string {
	problems := []string{}
	for _, it := range items {
		d := it.Dates()
		switch {
		case !d.Current(now):
			problems = append(problems, fmt.Sprintf("%s %s is for %s to %s", it.Kind, it.Name, wire.At(d.Issued), wire.At(d.Until)))
		case !d.Current(later):
			problems = append(problems, fmt.Sprintf("%s %s ends %s", it.Kind, it.Name, wire.At(d.Until)))
		}
	}
	return problems
}

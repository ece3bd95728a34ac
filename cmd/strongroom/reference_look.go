package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/reference"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// setView is a set for people and programs.
type setView struct {
	reference.Name
	Created wire.Time         `json:"created"`
	Expires wire.Time         `json:"expires"`
	Groups  []reference.Group `json:"groups"`
	// SignedBy are the ids of keys whose signatures stand there.
	SignedBy []keys.KeyID `json:"signed_by"`
	// Logged says whether a proof stands there that a log has recorded it.
	Logged bool `json:"logged"`
}

func viewSet(p *reference.Published) setView {
	v := p.Values
	s := setView{p.Name(), v.Created, v.Expires, v.Groups, []keys.KeyID{}, p.Receipt != nil}
	for _, sig := range p.Document.Signatures {
		s.SignedBy = append(s.SignedBy, sig.Key)
	}
	return s
}

func (s setView) text(w io.Writer) {
	fmt.Fprintf(w, "%s version %d, security version %d, from %s to %s\n", s.Product, s.Version, s.SecurityVersion, s.Created, s.Expires)
	fmt.Fprintf(w, "  digest     %s\n", s.Digest)
	for _, id := range s.SignedBy {
		fmt.Fprintf(w, "  signed by  %s\n", id.Short())
	}
	if !s.Logged {
		fmt.Fprintln(w, "  no log has recorded it yet")
	}
	for _, g := range s.Groups {
		fmt.Fprintf(w, "  %s on %s\n", g.Name, g.Platform)
		for _, register := range slices.Sorted(maps.Keys(g.Measurements)) {
			fmt.Fprintf(w, "    %s is %s\n", register, g.Measurements[register])
		}
		for _, path := range slices.Sorted(maps.Keys(g.Claims)) {
			fmt.Fprintf(w, "    %s is %q\n", path, g.Claims[path])
		}
		for _, path := range slices.Sorted(maps.Keys(g.Minimum)) {
			fmt.Fprintf(w, "    %s is at least %d\n", path, g.Minimum[path])
		}
	}
}

func (a *app) referenceShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show SET",
		Short:   "Say what a set holds, verifying nothing",
		Example: "  strongroom reference show room.set",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, _, err := a.readSet(args[0])
			if err != nil {
				return err
			}
			v := viewSet(p)
			return a.print(v, func(w io.Writer) {
				v.text(w)
				fmt.Fprintln(w, "Nothing of this is verified: strongroom reference check does.")
			})
		},
	}
}

func (a *app) readSet(file string) (*reference.Published, []byte, error) {
	data, err := a.readDocument(file, "a set of reference values")
	if err != nil {
		return nil, nil, err
	}
	p, err := reference.Parse(data)
	return p, data, inFile(file, err)
}

func (a *app) referenceCheck() *cobra.Command {
	var f lineFlags
	var at string
	var within int
	cmd := &cobra.Command{
		Use:   "check SET",
		Short: "Check that a set may be used: signatures, log, dates, no step back",
		Long: `Checks a set by a release line: the one of a policy, or one that the flags spell out. Nothing is
remembered of it. Exits 3 if it may not be used, or not any more within --within days, and 4
if it is not genuine.`,
		Example: `  strongroom reference check room.set --policy production.yaml --within 14
  strongroom reference check room.set --product room --key alice.pub --key bob.pub --log 'releases.example+1a2b3c4d+...'`,
		Args: cobra.ExactArgs(1),
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
			set, _, err := a.verifiedSet(args[0], f, now, at == "")
			if err != nil {
				return err
			}
			if later := now.AddDate(0, 0, within); !later.Before(set.Expires().Time()) {
				return inFile(args[0], verdict.Refuse("reference.dates", fmt.Sprintf("a set that lasts %d days", within), "one that expires "+set.Expires().String(), "get the product's next set"))
			}
			return a.printSet(set)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&at, "at", "", "check as of this time (default: now); what was used lately does not count then")
	cmd.Flags().IntVar(&within, "within", 0, "also refuse what ends within so many days")
	return cmd
}

func (a *app) referenceAdd() *cobra.Command {
	var f lineFlags
	cmd := &cobra.Command{
		Use:   "add SET",
		Short: "Check a set and keep it, so that verify finds it",
		Long: `Checks a set as "reference check" does, keeps a copy in the home directory, and remembers it:
from then on nothing older of that product is used. "verify --policy" finds it there. It is
verified again each time, by the policy that asks for it.`,
		Example: `  strongroom reference add room.set --policy production.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			set, data, err := a.verifiedSet(args[0], f, a.now(), true)
			if err != nil {
				return err
			}
			h, err := home.Create(a.homeDir)
			if err != nil {
				return err
			}
			if err := h.AddReference(set.Name(), data); err != nil {
				return err
			}
			return a.printSet(set)
		},
	}
	f.add(cmd)
	return cmd
}

// verifiedSet reads a set and verifies it by every line that is asked for. At another time
// than now, what was used lately says nothing.
func (a *app) verifiedSet(file string, f lineFlags, now time.Time, remembers bool) (*reference.Set, []byte, error) {
	p, data, err := a.readSet(file)
	if err != nil {
		return nil, nil, err
	}
	lines, err := a.lines(f, p.Values.Product)
	if err != nil {
		return nil, nil, err
	}
	var known reference.Name
	if h, err := a.homeIfThere(); err != nil {
		return nil, nil, err
	} else if h != nil && remembers {
		seen, err := h.SeenReferences()
		if err != nil {
			return nil, nil, err
		}
		known = seen[p.Values.Product]
	}
	var set *reference.Set
	for _, line := range lines {
		if set, err = reference.Verify(data, line, known, now); err != nil {
			return nil, nil, inFile(file, err)
		}
	}
	return set, data, nil
}

func (a *app) printSet(set *reference.Set) error {
	checks, warnings := set.Checks()
	value := struct {
		reference.Name
		Expires  wire.Time       `json:"expires"`
		Checks   []verdict.Check `json:"checks"`
		Warnings []string        `json:"warnings"`
	}{set.Name(), set.Expires(), checks, append([]string{}, warnings...)}
	return a.print(value, func(w io.Writer) {
		fmt.Fprintf(w, "%s version %d, security version %d, until %s\n", value.Product, value.Version, value.SecurityVersion, value.Expires)
		for _, c := range checks {
			mark := "ok  "
			if slices.Contains(warnings, c.ID) {
				mark = "warn"
			}
			fmt.Fprintf(w, "  %s %-22s %s\n", mark, c.ID, verdict.Printable(said(c)))
		}
	})
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/broker"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func (a *app) partyCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "party",
		Short: "Who you are, and whom you know",
		Long: `A party is a signed descriptor: a name, signing keys, a broker, and where results go.
You make your own once, exchange descriptors with the others, and compare fingerprints
with each of them by a way nobody can forge (in person, on the phone).`,
	}, a.partyInit(), a.partyShow(), a.partyAdd(), a.partyList(), a.partyRevoke(), a.partyUpdate())
}

func (a *app) partyInit() *cobra.Command {
	var s home.Setup
	var name string
	var more []string
	var noData bool
	cmd := &cobra.Command{
		Use:   "init --name NAME --title TITLE",
		Short: "Make your party: keys and a signed descriptor",
		Example: `  strongroom party init --name alpha --title "Alpha Hospital" --domain alpha.example \
      --broker-address broker.alpha.example:7443 --operator "in house, Berlin"
  strongroom party init --name carol --title "Carol, researcher" --no-data`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s.Name, s.Data = wire.ID(name), !noData
			if noData && (s.BrokerAddress != "" || s.Operator != "") {
				return verdict.Misuse("--no-data", "no broker flags with it", "--broker-address or --operator", "leave one of them out")
			}
			if s.Data && s.BrokerAddress == "" {
				s.BrokerAddress = home.DefaultBroker
			}
			if s.Data && s.Operator == "" {
				s.Operator = home.DefaultOperator
			}
			var err error
			if s.More, err = loadKeys(more); err != nil {
				return err
			}
			_, party, err := home.Init(a.homeDir, s, a.now())
			if err != nil {
				return namedByFlags(err)
			}
			return a.print(showParty(party), func(w io.Writer) {
				fmt.Fprintf(w, "%s is ready in %s\n\n", party.Name, a.homeDir)
				partyText(w, party)
				fmt.Fprintf(w, "\nNext: give the others your descriptor (%s party show -o %s.json) and let them\ncompare the fingerprint with you by a way nobody can forge.\n", a.self(), party.Name)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "name of 1 to 63 of a-z, 0-9 and -; agreements and files use it")
	f.StringVar(&s.Title, "title", "", `name for people: "Alpha Hospital"`)
	f.StringVar(&s.Domain, "domain", "", "a DNS name you are known by (optional)")
	f.StringVar(&s.BrokerAddress, "broker-address", "", "`HOST:PORT` of your broker (default localhost:7443)")
	f.StringVar(&s.Operator, "operator", "", `who runs your broker, and where; the others read it (default "in house")`)
	f.BoolVar(&noData, "no-data", false, "you bring no data, so you need no broker")
	f.StringArrayVar(&more, "key", nil, "further signing key `FILE` of the party (repeat for several)")
	f.Int64Var(&s.Threshold, "threshold", 1, "how many of the party's keys must sign")
	f.IntVar(&s.Years, "years", 5, "how long the signing keys are valid, 1 to 10")
	mustHave(cmd, "name", "title")
	return cmd
}

// namedByFlags says which flag a bad member of a new descriptor came from.
func namedByFlags(err error) error {
	e := verdict.As(err)
	flag, found := map[string]string{
		"name": "--name", "title": "--title", "domain": "--domain", "broker.address": "--broker-address",
		"broker.operator": "--operator", "threshold": "--threshold", "keys": "--key",
	}[e.Where]
	if !found {
		return err
	}
	named := *e
	named.Where = flag
	return &named
}

func loadKeys(files []string) ([]*keys.SigningKey, error) {
	var out []*keys.SigningKey
	for _, file := range files {
		key, err := loadSigningKey(file)
		if err != nil {
			return nil, err
		}
		out = append(out, key)
	}
	return out, nil
}

func (a *app) partyShow() *cobra.Command {
	var out string
	var force bool
	var version int64
	cmd := &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show your descriptor, or that of a party in your address book",
		Example: `  strongroom party show
  strongroom party show -o alpha.json     # the file to give to others
  strongroom party show beta`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := a.openHome()
			if err != nil {
				return err
			}
			if err := a.noStdoutWithJSON(out); err != nil {
				return err
			}
			party, entry, err := findParty(h, args, version)
			if err != nil {
				return err
			}
			if out != "" {
				data, err := party.Document.Encode()
				if err != nil {
					return err
				}
				if err := a.saveFile(out, data, 0o644, force); err != nil || out == "-" {
					return err
				}
			}
			var view any = showParty(party)
			if entry != nil {
				view = showEntry(*entry)
			}
			return a.print(view, func(w io.Writer) {
				partyText(w, party)
				entryText(w, entry)
				if out != "" {
					fmt.Fprintf(w, "\nWritten to %s\n", out)
				}
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "out", "o", "", "write the signed descriptor to `FILE` (- for standard output)")
	f.BoolVar(&force, "force", false, "replace FILE if it exists")
	f.Int64Var(&version, "version", 0, "an older version of your own descriptor")
	return cmd
}

// findParty gives one's own party, or one of the address book with its entry.
func findParty(h *home.Home, args []string, version int64) (*agreement.SignedParty, *home.Entry, error) {
	own, err := h.Descriptor()
	if len(args) == 1 && (err != nil || args[0] != string(own.Name)) {
		e, err := h.Lookup(args[0])
		return e.Party, &e, err
	}
	if err != nil || version == 0 || version == own.Version {
		return own, nil, err
	}
	versions, err := h.Versions()
	if err != nil {
		return nil, nil, err
	}
	for _, p := range versions {
		if p.Version == version {
			return p, nil, nil
		}
	}
	return nil, nil, verdict.Misuse("--version", fmt.Sprintf("1 to %d", own.Version), fmt.Sprint(version), "leave it out for the latest")
}

func (a *app) partyAdd() *cobra.Command {
	var checked, label string
	cmd := &cobra.Command{
		Use:   "add FILE --checked HOW",
		Short: "Pin another party in your address book",
		Long: `Pins a party's descriptor. Compare the fingerprint with the party first, by a way nobody
can forge, and say how you did: it is kept with the entry. A newer version of a party you
have pinned must be signed by the old keys as well.`,
		Example: `  strongroom party add beta.json --checked "read aloud on the phone with Dr. Meier, 3 May"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			h, err := a.openHome()
			if err != nil {
				return err
			}
			data, err := a.readDocument(args[0], "a party descriptor")
			if err != nil {
				return err
			}
			party, err := agreement.ParseParty(data)
			if err != nil {
				return inFile(args[0], notKind(args[0], data, "a party descriptor", err))
			}
			if strings.TrimSpace(checked) == "" {
				return verdict.Misuse("party.checked", "words on how you compared the fingerprint of "+string(party.Name)+": "+grouped(party.Digest()), "none",
					`compare it with the party, then say how with --checked "read aloud on the phone with Dr. Meier"`)
			}
			entry, err := h.Pin(party, label, checked, a.now())
			if err != nil {
				return inFile(args[0], err)
			}
			return a.print(showEntry(entry), func(w io.Writer) {
				fmt.Fprintf(w, "Pinned %s\n\n", entry.Label)
				partyText(w, party)
				entryText(w, &entry)
			})
		},
	}
	cmd.Flags().StringVar(&checked, "checked", "", "`HOW` you compared the fingerprint with the party (required)")
	cmd.Flags().StringVar(&label, "label", "", "your own name for the party, which screens show (default: its own, marked as such)")
	return cmd
}

func (a *app) partyList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List your address book",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			h, err := a.openHome()
			if err != nil {
				return err
			}
			book, err := h.Book()
			if err != nil {
				return err
			}
			views := make([]entryView, 0, len(book))
			for _, e := range book {
				views = append(views, showEntry(e))
			}
			return a.print(map[string]any{"parties": views}, func(w io.Writer) {
				if len(book) == 0 {
					fmt.Fprintln(w, "Nobody yet: strongroom party add FILE --checked HOW")
					return
				}
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				fmt.Fprintln(t, "LABEL\tNAME\tVERSION\tFINGERPRINT\tADDED\tCHECKED")
				for _, e := range book {
					state := ""
					if e.Revoked != nil {
						state = "REVOKED " + e.Revoked.String() + "; "
					}
					fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s%s\n", e.Label, e.Party.Name, e.Party.Version, e.Party.Digest().Short(), e.Added, state, e.Checked)
				}
				t.Flush()
			})
		},
	}
}

// entryView is an entry of the address book in JSON.
type entryView struct {
	partyView
	Label   string     `json:"label"`
	Checked string     `json:"checked"`
	Added   wire.Time  `json:"added"`
	Revoked *wire.Time `json:"revoked,omitempty"`
}

// partyView is a party in JSON.
type partyView struct {
	Digest     wire.Digest     `json:"digest"`
	Party      json.RawMessage `json:"party"`
	Signatures []keys.KeyID    `json:"signatures"`
}

func showParty(p *agreement.SignedParty) partyView {
	v := partyView{Digest: p.Digest(), Party: p.Document.Body, Signatures: []keys.KeyID{}}
	for _, s := range p.Document.Signatures {
		v.Signatures = append(v.Signatures, s.Key)
	}
	return v
}

func showEntry(e home.Entry) entryView {
	return entryView{showParty(e.Party), e.Label, e.Checked, e.Added, e.Revoked}
}

func partyText(w io.Writer, p *agreement.SignedParty) {
	fmt.Fprintf(w, "%s  %s\n", p.Name, verdict.Printable(p.Title))
	fmt.Fprintf(w, "  fingerprint  %s\n", grouped(p.Digest()))
	if p.Domain != "" {
		fmt.Fprintf(w, "  domain       %s\n", p.Domain)
	}
	fmt.Fprintf(w, "  version      %d\n", p.Version)
	fmt.Fprintf(w, "  keys         %d of %d must sign\n", p.Threshold, len(p.Keys))
	for _, k := range p.Keys {
		fmt.Fprintf(w, "               %s  %s  %s to %s\n", k.Public.ID().Short(), k.Public.Algorithm(), k.NotBefore, k.NotAfter)
	}
	if p.Broker == nil {
		fmt.Fprintln(w, "  broker       none: brings no data")
	} else {
		fmt.Fprintf(w, "  broker       %s, run by: %s\n", p.Broker.Address, verdict.Printable(p.Broker.Operator))
		fmt.Fprintf(w, "  log key      %s\n", verdict.Printable(p.Broker.LogKey))
	}
	fmt.Fprintf(w, "  results      to %d recipient(s)\n", len(p.Results))
}

func entryText(w io.Writer, e *home.Entry) {
	if e == nil {
		return
	}
	fmt.Fprintf(w, "  label        %s\n  checked      %s, %s\n", e.Label, e.Added, e.Checked)
	if e.Revoked != nil {
		fmt.Fprintf(w, "  REVOKED      %s\n", e.Revoked)
	}
}

func (a *app) partyRevoke() *cobra.Command {
	var again bool
	cmd := &cobra.Command{
		Use:   "revoke NAME|DIGEST",
		Short: "Stop trusting a party: every agreement that names it stops",
		Long: `Revokes a pinned party: all its versions when you name it by name or label, one when you
give its digest. Your own broker is told, and refuses every agreement that names it from
then on. There is no way back but pinning a new version of the party.`,
		Example: `  strongroom party revoke beta`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := a.openHome()
			if err != nil {
				return err
			}
			revoked, err := h.Revoke(args[0], again, a.now())
			if err != nil {
				return err
			}
			events, err := a.tellBroker(cmd.Context(), h, revoked)
			if err != nil {
				e := *verdict.As(err)
				e.Fix = "the party is revoked in your address book, but your broker does not know: mend that, then: " + a.self() + " party revoke " + shellWord(args[0]) + " --again"
				return &e
			}
			return a.print(map[string]any{"revoked": revoked, "broker": events}, func(w io.Writer) {
				for _, d := range revoked {
					fmt.Fprintln(w, "Revoked", d)
				}
				for _, e := range events {
					fmt.Fprintln(w, "  "+verdict.Printable(e.Done))
				}
			})
		},
	}
	cmd.Flags().BoolVar(&again, "again", false, "tell your broker again about a party that you revoked before")
	return cmd
}

// tellBroker has the home's own broker, if it has one, refuse what names a revoked party.
func (a *app) tellBroker(ctx context.Context, h *home.Home, revoked []wire.Digest) ([]broker.Event, error) {
	events := []broker.Event{}
	own, err := h.Descriptor()
	if err != nil || own.Broker == nil {
		return events, err
	}
	admin, err := a.brokerAdmin(ctx, h)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	for _, d := range revoked {
		e, err := admin.Revoke(ctx, d)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

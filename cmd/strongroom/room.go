package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/attest/snp"
	"strongroom.dev/attest/tdx"
	"strongroom.dev/client"
	"strongroom.dev/host"
	"strongroom.dev/internal/home"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func (a *app) roomCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "room",
		Short: "The rooms of a host: list, status, fetch, verify, evidence, stop",
	}
	var url string
	cmd.PersistentFlags().StringVar(&url, "host", "http://127.0.0.1:7600", "the host's `URL`")
	at := func() (client.Host, error) {
		if !isURL(url) {
			return client.Host{}, verdict.Misuse("--host", "the URL of a host", verdict.Short(url), "as in --host http://127.0.0.1:7600")
		}
		return client.Host{URL: strings.TrimSuffix(url, "/")}, nil
	}
	return group(cmd, a.roomList(at), a.roomStatus(at), a.roomFetch(at), a.roomVerify(at), a.roomEvidence(at), a.roomStop(at))
}

func (a *app) roomList(at func() (client.Host, error)) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the rooms of a host", Args: cobra.NoArgs,
		Example: "  strongroom room list --host http://127.0.0.1:7600",
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := at()
			if err != nil {
				return err
			}
			rooms, err := at.Rooms(cmd.Context())
			if err != nil {
				return err
			}
			if rooms == nil {
				rooms = []host.Info{}
			}
			return a.print(rooms, func(w io.Writer) {
				if len(rooms) == 0 {
					fmt.Fprintln(w, "None yet: strongroom run AGREEMENT --work NAME --host "+shellWord(at.URL))
				}
				for _, r := range rooms {
					fmt.Fprintf(w, "%s  %-8s %s  %s for %s, run %s\n", verdict.Printable(r.ID), verdict.Printable(r.State), r.Started, r.Work, r.Requester, verdict.Printable(r.RunID))
				}
			})
		},
	}
}

func (a *app) roomStatus(at func() (client.Host, error)) *cobra.Command {
	return &cobra.Command{
		Use: "status ROOM|RUN", Short: "Show what a host says of a room", Args: cobra.ExactArgs(1),
		Example: "  strongroom room status 3f2a9c01",
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := at()
			if err != nil {
				return err
			}
			r, err := roomNamed(cmd.Context(), at, args[0])
			if err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { printRoom(w, r) })
		},
	}
}

func printRoom(w io.Writer, r host.Info) {
	fmt.Fprintf(w, "Room %s: %s\n", verdict.Printable(r.ID), verdict.Printable(r.State))
	fmt.Fprintf(w, "  %s for %s, run %s, started %s\n", r.Work, r.Requester, verdict.Printable(r.RunID), r.Started)
	fmt.Fprintf(w, "  agreement %s: %s\n", r.Agreement.Short(), verdict.Printable(r.Title))
	keeps := "INSECURE: the host can read it"
	if r.Platform == snp.Name || r.Platform == tdx.Name {
		keeps = "by the host's word: strongroom room verify checks it"
	}
	fmt.Fprintf(w, "  platform %s, %s\n", verdict.Printable(string(r.Platform)), keeps)
	if r.Step != "" {
		fmt.Fprintf(w, "  last step: %s\n", r.Step.Text())
		printPorts(w, r.Ports)
	}
	if r.Error != "" {
		fmt.Fprintf(w, "  stopped: %s\n", verdict.Printable(r.Error))
	}
	for _, name := range r.Files {
		fmt.Fprintf(w, "  let out: %s\n", verdict.Printable(name))
	}
}

func (a *app) roomStop(at func() (client.Host, error)) *cobra.Command {
	return &cobra.Command{
		Use: "stop ROOM|RUN", Short: "Stop a room; what it holds in memory is gone", Args: cobra.ExactArgs(1),
		Example: "  strongroom room stop 3f2a9c01",
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := at()
			if err != nil {
				return err
			}
			r, err := roomNamed(cmd.Context(), at, args[0])
			if err != nil {
				return err
			}
			r, err = at.Stop(cmd.Context(), r.ID)
			if err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { printRoom(w, r) })
		},
	}
}

func (a *app) roomVerify(at func() (client.Host, error)) *cobra.Command {
	var endorsements endorsementFlags
	var references referenceFlags
	var image imageFlags
	cmd := &cobra.Command{
		Use: "verify ROOM|RUN", Short: "Check the evidence of a room against an agreement you signed", Args: cobra.ExactArgs(1),
		Long: `Takes the evidence that a room showed each owner's broker and checks it against the agreement
in your own home directory: genuine machine, agreed image, this agreement, this request. It says
that such a room existed once and held these keys. It can't say that the room is there now:
the challenge comes from the host, so the evidence of a room that has ended passes too.
Whether brokers gave it data is theirs to say, and what came out of it is for its results'
proofs. Evidence of SEV-SNP, TDX or Azure needs what their makers sign: --endorsements. Where
the agreement names a release line, --reference gives the set that lists the room's image; the
newest of those given counts, besides those that "reference add" keeps.

Of a machine with a TPM it tells what booted, line by line, compared with the agreement's image;
--image DIR compares it with the files of an image directory and demands that nothing else
booted.

Exit 0: as agreed; what "warn" stands before deserves a look. 3: genuine, but of another image, or
not to be trusted. 4: not genuine, or about something else.`,
		Example: "  strongroom room verify 3f2a9c01 --host http://127.0.0.1:7600 --endorsements endorsements/",
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := at()
			if err != nil {
				return err
			}
			r, err := roomNamed(cmd.Context(), at, args[0])
			if err != nil {
				return err
			}
			return a.verifyRoom(r, endorsements, references, image)
		},
	}
	endorsements.add(cmd)
	references.addRooms(cmd)
	image.add(cmd)
	return cmd
}

// unknownOfRoom is what evidence for somebody else's challenge leaves open.
var unknownOfRoom = []string{
	"whether the room is there now: the host chose the challenge, and evidence of an ended room looks the same",
	"whether the owners' brokers set that challenge and gave it keys: their logs say so",
}

func (a *app) verifyRoom(r host.Info, endorsements endorsementFlags, references referenceFlags, named imageFlags) error {
	h, err := a.openHome()
	if err != nil {
		return err
	}
	endorsed, err := a.endorsedNow(endorsements, h)
	if err != nil {
		return err
	}
	table := endorsed.platforms()
	ag, err := h.Agreement(r.Agreement)
	if err != nil {
		return err
	}
	sets, err := a.roomReferences(references, h, ag.Agreement)
	if err != nil {
		return err
	}
	if len(r.Shown) == 0 {
		return verdict.Refuse("room.evidence", "evidence of the room", "none so far", "wait until it has been challenged")
	}
	image, err := a.readBootImage(named)
	if err != nil {
		return err
	}
	brokers := []shownTo{}
	for _, s := range r.Shown {
		shown := roomShown{Shown: s, agreement: ag, broker: brokerOf(h, ag, s.Broker), endorsed: endorsed, image: image, now: a.now()}
		one, err := shown.verify(h, table, sets)
		if err != nil {
			if !a.json {
				one.text(a.out) // which check it is, and which line
			}
			return fmt.Errorf("evidence for the broker of %s: %w", s.Broker, err)
		}
		brokers = append(brokers, one)
	}
	return a.print(map[string]any{"room": r.ID, "verdict": "genuine", "class": ag.Protection, "agreement": ag.Digest(), "brokers": brokers, "unknown": unknownOfRoom}, func(w io.Writer) {
		fmt.Fprintf(w, "Evidence of room %s is genuine under %s version %d, class %s\n", verdict.Printable(r.ID), ag.ID, ag.Version, ag.Protection)
		for _, text := range unknownOfRoom {
			fmt.Fprintf(w, "  not known: %s\n", text)
		}
		for _, b := range brokers {
			b.text(w)
		}
	})
}

// brokerOf gives the party of an agreement whose broker has a name; nil if it is not in the
// address book, so that nothing rests on its word.
func brokerOf(h *home.Home, ag *agreement.SignedAgreement, name wire.ID) *agreement.SignedParty {
	for _, p := range ag.Parties {
		if party, _, err := h.Party(p.Descriptor); err == nil && party.Name == name {
			return party
		}
	}
	return nil
}

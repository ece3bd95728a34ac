package main

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/client"
	"strongroom.dev/host"
	"strongroom.dev/verdict"
)

// fetchLater says what to do about a run whose end was not seen; url is where its room goes
// on, "" nowhere.
func (a *app) fetchLater(url, runID, out string) string {
	if url == "" {
		return "a room on this machine ends with the command that started it, and its run is spent: sign a new request; a host's room goes on (--host URL)"
	}
	return "the room goes on there; fetch its result later: " + a.self() + " room fetch " + runID + " --host " + shellWord(url) + " --out " + shellWord(out)
}

// serveLater says the same about a run of a service, which has no result.
func (a *app) serveLater(url, runID string) string {
	if url == "" {
		return "the container was killed, its volumes were not closed (the next run of them says so), and its run is spent: sign a new request; one Ctrl-C asks a container to end, and closes them"
	}
	at := runID + " --host " + shellWord(url)
	return "the container goes on there: " + a.self() + " room status " + at + " shows its ports, " + a.self() + " room stop " + at + " ends it"
}

// unseen makes an error out of what kept this program from seeing a room's end, or its result,
// with what mends it. A room's own reasons, and what is not genuine, stay as they are.
func unseen(ctx context.Context, err error, room, later string) error {
	if ctx.Err() != nil {
		got := "an interruption"
		if room != "" {
			got += " while room " + verdict.Printable(verdict.Short(room)) + " was running"
		}
		return &verdict.Error{Kind: verdict.Broken, Check: "run.interrupted", Expected: "to see the run to its end", Got: got, Fix: later, Err: err}
	}
	e := *verdict.As(err)
	switch {
	case e.Check == "room.id": // the host knew it before
		return &verdict.Error{Kind: verdict.Broken, Check: "room.lost", Expected: "a host that knows its room " + verdict.Printable(verdict.Short(room)), Got: "it has forgotten it",
			Fix: "the run is spent: sign a new request", Err: err}
	case e.Kind == verdict.Broken && e.Check != "run.result" || errors.Is(err, os.ErrPermission):
		e.Fix = later
	}
	return &e
}

func (a *app) roomFetch(at func() (client.Host, error)) *cobra.Command {
	var out string
	var endorsements endorsementFlags
	var references referenceFlags
	cmd := &cobra.Command{
		Use: "fetch RUN", Short: "Fetch the proven result of a run from a host, now or when it is done", Args: cobra.ExactArgs(1),
		Long: `Fetches what a run's room let out, with its proof, which it checks before it says so: after
"strongroom run" was interrupted, or as another receiver of the result. It waits for a run
that is not done. RUN is the run's id, or the room's; the agreement is the one you signed.`,
		Example: "  strongroom room fetch 0f8e4c1d2b3a49586776859403122130 --host http://127.0.0.1:7600 --out results",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			at, err := at()
			if err != nil {
				return err
			}
			return a.fetchRun(ctx, at, args[0], out, endorsements, references)
		},
	}
	cmd.Flags().StringVar(&out, "out", ".", "`DIR` to put results into")
	endorsements.add(cmd)
	references.addRooms(cmd)
	return cmd
}

func (a *app) fetchRun(ctx context.Context, at client.Host, name, out string, endorsements endorsementFlags, references referenceFlags) error {
	h, err := a.openHome()
	if err != nil {
		return err
	}
	rooms, err := at.Rooms(ctx)
	if err != nil {
		return err
	}
	info, err := roomOf(rooms, name)
	if err != nil {
		return err
	}
	ag, err := h.Agreement(info.Agreement)
	if err != nil {
		return err
	}
	names, err := offeredNames(ag.Agreement, info)
	if err != nil {
		return err
	}
	want := wanted{id: info.RunID, endorsements: endorsements, references: references}
	request, err := h.Run(info.RunID)
	if err != nil {
		return err
	}
	if request != nil {
		digest := request.Digest()
		want.request = &digest
	}
	if err := placeFor(out, names, host.ResultSize(ag.Agreement, info.Work)); err != nil {
		return err
	}
	if err := a.canProve(h, ag.Agreement, endorsements, references); err != nil {
		return err
	}
	later := a.fetchLater(at.URL, info.RunID, out)
	room := remoteRoom{at, info.ID}
	if err := a.follow(ctx, room, later, nil); err != nil {
		return err
	}
	return a.collect(ctx, out, names, room, want, later)
}

// roomOf finds the room of a run, or that of its own name; of several for one run, the one
// that came furthest: only one can have got the keys.
func roomOf(rooms []host.Info, name string) (host.Info, error) {
	rank := []string{"lost", "stopped", "running", "done"}
	best, found := host.Info{}, false
	for _, r := range rooms {
		if r.ID == name && !isRunID(name) { // hosts choose the names of rooms, and could name one as the run is named
			return r, nil
		}
		if r.RunID == name && (!found || slices.Index(rank, r.State) >= slices.Index(rank, best.State)) {
			best, found = r, true
		}
	}
	if !found {
		return best, verdict.Misuse("room.id", "a run, or a room, that this host knows", verdict.Short(name), "strongroom room list shows them; a host remembers its last rooms only")
	}
	return best, nil
}

func isRunID(name string) bool {
	id, err := hex.DecodeString(name)
	return err == nil && len(id) == 16
}

// roomNamed gives a room by its own name or by its run's.
func roomNamed(ctx context.Context, at client.Host, name string) (host.Info, error) {
	if !isRunID(name) {
		return at.Room(ctx, name)
	}
	rooms, err := at.Rooms(ctx)
	if err != nil {
		return host.Info{}, err
	}
	return roomOf(rooms, name)
}

// offeredNames gives the names of a run's results, from the agreement. What the host says of
// the run is checked against the proof later.
func offeredNames(ag agreement.Agreement, info host.Info) ([]string, error) {
	id, err := hex.DecodeString(info.RunID) // it becomes part of file names
	if _, found := ag.WorkByName(info.Work); !found || err != nil || len(id) != 16 {
		return nil, verdict.NotGenuine("result.run", "work of the agreement", verdict.Printable(verdict.Short(string(info.Work)+", run "+info.RunID)), "do not use this host")
	}
	return resultNames(ag, agreement.Run{Work: info.Work, RunID: info.RunID}), nil
}

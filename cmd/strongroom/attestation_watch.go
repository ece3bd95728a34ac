package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/appraise"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/durable"
	"strongroom.dev/verdict"
	"strongroom.dev/watch"
)

// watchState is the file of a watcher's state in its directory.
const watchState = "watch.json"

type watchFlags struct {
	fleet, dir, webhook, heartbeat string
	once, allowSoftware            bool
	endorsements                   endorsementFlags
	reference                      referenceFlags
}

func (a *app) attestationWatch() *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Attest a fleet of rooms again and again, and tell what changes",
		Long: `Asks every room of a fleet for evidence that carries a fresh nonce, judges it by the room's
policy, and posts every change (also another machine, or other code, behind the same address) to
a webhook, at least once each. After each round it posts a heartbeat: whoever gets it notices
when the watcher stops, and "attestation fleet" shows rooms as unknown then.

The fleet is a YAML file:

  every_seconds: 600
  targets:
  - name: room-a
    url: https://room-a.example/evidence?nonce={nonce}
    policy: production.yaml        # relative to this file; leave out for the platform's own rules`,
		Example: `  strongroom attestation watch --fleet fleet.yaml --dir watch --endorsements endorsements/ \
      --webhook https://alerts.example/hook --heartbeat https://alive.example/strongroom
  strongroom attestation watch --fleet fleet.yaml --dir watch --once`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.watchFleet(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.fleet, "fleet", "", "`FILE` that lists the rooms")
	flags.StringVar(&f.dir, "dir", "", "`DIR` for what is known of them; made if absent")
	flags.StringVar(&f.webhook, "webhook", "", "`URL` that changes are posted to")
	flags.StringVar(&f.heartbeat, "heartbeat", "", "`URL` that the end of each round is posted to")
	flags.BoolVar(&f.once, "once", false, "one round only; exits 3 if a room does not pass")
	flags.BoolVar(&f.allowSoftware, "insecure-allow-software", false, "let software platforms pass as warnings")
	f.endorsements.add(cmd)
	f.reference.add(cmd)
	mustHave(cmd, "fleet", "dir")
	return cmd
}

func (a *app) watchFleet(cmd *cobra.Command, f watchFlags) error {
	cfg, err := a.watchConfig(f)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fileError(f.dir, "a directory", err)
	}
	unlock, err := durable.Lock(filepath.Join(f.dir, "lock"), 0)
	if err != nil {
		return verdict.Refuse("watch.lock", "a directory that no other watcher uses", verdict.Short(err.Error()), "stop the other one, or give this one a directory of its own")
	}
	defer unlock()
	w, err := watch.New(cfg)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if f.once {
		if err := w.Round(ctx); err != nil {
			return err
		}
		return a.printFleet(w.State())
	}
	a.say("watching %d rooms, every %s", len(cfg.Fleet.Targets), cfg.Fleet.Every())
	return w.Run(ctx, func(s watch.State) {
		a.say("%s round over: %s", s.Round, tally(s, a.now()))
	})
}

func (a *app) watchConfig(f watchFlags) (watch.Config, error) {
	data, err := a.readDocument(f.fleet, "a fleet")
	if err != nil {
		return watch.Config{}, err
	}
	fleet, err := watch.ParseFleet(f.fleet, data)
	if err != nil {
		return watch.Config{}, err
	}
	policies := make(map[string]*appraise.Policy)
	for _, t := range fleet.Targets {
		if t.Policy == "" || policies[t.Policy] != nil {
			continue
		}
		if policies[t.Policy], err = a.readPolicy(besidePolicy(f.fleet, t.Policy)); err != nil {
			return watch.Config{}, err
		}
	}
	// Endorsements are read anew in every round, so that fetching new ones is enough. What is said
	// of them is said once.
	_, memory, err := a.rememberedEndorsements(f.endorsements, a.now(), true)
	if err != nil {
		return watch.Config{}, err
	}
	if memory.seen == nil && len(f.endorsements.paths) > 0 {
		a.sayForgotten()
	}
	quiet := a.quiet()
	if _, err := a.referenceSets(f.reference.paths); err != nil {
		return watch.Config{}, err
	}
	var remember sync.Mutex // rooms are judged at the same time, and home is one
	judge := func(t watch.Target, evidence, nonce []byte, now time.Time) appraise.Result {
		remember.Lock()
		defer remember.Unlock()
		set, memory, err := quiet.rememberedEndorsements(f.endorsements, now, true)
		if err != nil {
			a.say("endorsements: %s", err)
			set = endorse.Set{}
		}
		d := appraise.Demand{Policy: policies[t.Policy], Now: now, Freshness: appraise.Freshness{Nonce: nonce}, InsecureAllowSoftware: f.allowSoftware, Seen: memory.seen}
		if d.Policy != nil && len(d.Policy.Lines()) > 0 {
			if d.References, err = a.references(f.reference, d.Policy, true); err != nil {
				a.say("reference values: %s", err)
			}
		}
		r := examineOne(examiners(set), d, string(t.Name), evidence)
		if err := a.sawReferences([]appraised{r}); err != nil {
			a.say("reference values: %s", err) // the next round sees an older set pass: say so now
		}
		if err := quiet.sawEndorsements(memory, []appraised{r}); err != nil {
			a.say("endorsements: %s", err)
		}
		return r.Result
	}
	return watch.Config{
		Fleet: fleet, Path: filepath.Join(f.dir, watchState), Judge: judge, Webhook: f.webhook, Heartbeat: f.heartbeat,
		Nonce:  func() (n [32]byte) { rand.Read(n[:]); return n },
		Now:    a.now,
		Logger: slog.New(slog.NewTextHandler(a.err, nil)),
	}, nil
}

func (a *app) attestationFleet() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Show how the rooms stand that a watcher watches",
		Long: `Reads what "attestation watch" keeps. Exits 3 if a room does not pass, or if the watcher has
missed two rounds: then nothing is known of any of them.`,
		Example: `  strongroom attestation fleet --dir watch`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			path := filepath.Join(dir, watchState)
			if _, err := os.Stat(path); err != nil {
				return fileError(path, "what a watcher keeps", err)
			}
			s, err := watch.Load(path)
			if err != nil {
				return err
			}
			return a.printFleet(s)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "`DIR` of the watcher")
	mustHave(cmd, "dir")
	return cmd
}

// shownTarget is one room for people and programs.
type shownTarget struct {
	Name string `json:"name"`
	watch.Seen
	Changes []watch.Change `json:"changes"`
}

func (a *app) printFleet(s watch.State) error {
	now := a.now()
	shown := []shownTarget{}
	var first *shownTarget
	for _, name := range slices.Sorted(maps.Keys(s.Targets)) {
		shown = append(shown, shownTarget{name, s.Now(name, now), s.History[name]})
	}
	for i, t := range shown {
		if first == nil && t.Standing != watch.Good && t.Standing != watch.Warned {
			first = &shown[i]
		}
	}
	err := a.print(map[string]any{"round": s.Round, "stale": s.Stale(now), "targets": shown}, func(w io.Writer) {
		for _, t := range shown {
			good := "never"
			if !t.LastGood.IsZero() {
				good = t.LastGood.String()
			}
			fmt.Fprintf(w, "%-20s %-12s last good %-21s %s\n", t.Name, t.Standing, good, verdict.Printable(t.Says))
		}
	})
	if err != nil || first == nil {
		return err
	}
	a.printed = true
	return verdict.Refuse("watch.standing", "every room passing", fmt.Sprintf("%s is %s: %s", first.Name, first.Standing, first.Says), "look at the room; verify its evidence with --explain")
}

// tally counts rooms by standing.
func tally(s watch.State, now time.Time) string {
	counts := make(map[string]int)
	for name := range s.Targets {
		counts[string(s.Now(name, now).Standing)]++
	}
	text := ""
	for _, standing := range slices.Sorted(maps.Keys(counts)) {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%d %s", counts[standing], standing)
	}
	return text
}

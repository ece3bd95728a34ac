package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/broker"
	"strongroom.dev/server"
	"strongroom.dev/verdict"
)

// brokerFlags are what a serving broker is told.
type brokerFlags struct {
	listen           string
	insecureSoftware bool
	others           brokerOthers
	endorsements     endorsementFlags
	names            namesFlags
}

func (a *app) brokerServe() *cobra.Command {
	var flags brokerFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve rooms that ask for keys",
		Long: `Serves until it is told to stop. Before it serves it asks the shared ledgers and the other
parties' brokers what they last saw of its log: if that is more than it has, or if none
can be asked, it refuses everything until "strongroom broker confirm".

Those it was told of are remembered in broker/others.json of the home, and asked at every
later start and for officers' commands; take one out there if it is gone for good.

What passes over the network is signed or sealed end to end, so plain HTTP is enough.

Rooms on SEV-SNP, on TDX and on Azure's confidential machines get keys only with what their makers
sign about them: --endorsements names it, as for "verify", where "endorsements fetch" or
"endorsements pack" put it. It is read anew every minute, and on SIGHUP. Nothing goes back: a list
or bundle that is older than one that was used is refused. "broker status" says until when it lasts.

Names of rooms that an agreement has you certify are certified by your broker's own authority
("broker authority"), or with --acme by one that clients know already: a public one, or your
organisation's. Rooms are certified after they were given keys, and only then; their TLS keys stay
inside. To keep everybody else from having the names certified, name the account that the broker
prints in the names' CAA records (RFC 8657). Every new room takes a certificate: mind the
authority's limits.`,
		Example: `  strongroom broker serve --listen 127.0.0.1:7443 \
      --witness http://127.0.0.1:7500=ledger.example+1a2b3c4d+AQ...
  strongroom broker serve --endorsements endorsements/
  strongroom broker serve --acme https://acme-v02.api.letsencrypt.org/directory \
      --acme-accept-terms --acme-dns /usr/local/bin/dns-hook`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			names, err := flags.names.open(a, cmd)
			if err != nil {
				return err
			}
			defer names.Close()
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return a.serveBroker(ctx, flags, names)
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.listen, "listen", "127.0.0.1:7443", "`HOST:PORT` to listen on; port 0 chooses one")
	f.BoolVar(&flags.insecureSoftware, "insecure-allow-software", false, "release keys to rooms of class software too: they keep nobody out of their memory")
	f.StringArrayVar(&flags.others.Witnesses, "witness", nil, "where a shared ledger is, and its verifier key: `URL=KEY` (repeat)")
	f.StringArrayVar(&flags.others.Peers, "peer", nil, "where the broker of a log is, if not at its descriptor's address: `ORIGIN=URL` (repeat)")
	flags.endorsements.add(cmd)
	flags.names.add(cmd)
	return cmd
}

func (a *app) serveBroker(ctx context.Context, flags brokerFlags, names *namesService) error {
	h, own, err := a.brokerHome()
	if err != nil {
		return err
	}
	if _, err := flags.others.config(own.LogKey); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", flags.listen)
	if err != nil {
		return noListener("--listen", err)
	}
	defer listener.Close()
	endorsed, err := a.brokerEndorsements(h, flags.endorsements)
	if err != nil {
		return err
	}
	if err := keepSecrets(); err != nil {
		return err
	}
	others, err := rememberOthers(h, flags.others)
	if err != nil {
		return err
	}
	cfg, err := others.config(own.LogKey)
	if err != nil {
		return err
	}
	cfg.InsecureAllowSoftware = flags.insecureSoftware
	cfg.Platforms = endorsed.platforms()
	if names != nil {
		cfg.Names, cfg.NamesPerWeek = names.authority, flags.names.weekly
	}
	if len(flags.endorsements.paths) > 0 {
		cfg.Endorsements = func() broker.Endorsements { return *endorsed.status.Load() }
	}
	cfg.Tell = telling(slog.New(slog.NewTextHandler(a.err, nil)))
	b, err := a.openBroker(ctx, h, cfg)
	if err != nil {
		return err
	}
	defer b.Close()
	admin, done, err := listenAdmin(h.BrokerSocket())
	if err != nil {
		return err
	}
	defer done()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // before anybody learns that there is somebody to signal
	defer signal.Stop(hup)
	if err := a.brokerReady(ctx, b, listener.Addr().String()); err != nil {
		return err
	}
	go endorsed.renew(ctx, hup)
	names.serve(ctx, a, b.Broker, slog.New(slog.NewTextHandler(a.err, nil)))
	return a.serveBoth(ctx, b, listener, admin)
}

// telling writes a line for each grant and each recorded refusal: ids and the check, no data.
func telling(log *slog.Logger) func(broker.Told) {
	return func(t broker.Told) {
		if t.Kind == "grant" {
			log.Info("keys given", "agreement", shortDigest(t.Agreement), "run", t.RunID, "release", t.ReleaseID)
			return
		}
		attrs := []any{"check", t.Check, "agreement", shortDigest(t.Agreement)}
		if t.RunID != "" {
			attrs = append(attrs, "run", t.RunID, "release", t.ReleaseID)
		}
		log.Info("refused", attrs...)
	}
}

// listenAdmin makes the admin socket, for its owner alone. The state's lock keeps a second
// broker out, so a socket that is there is a dead one's.
func listenAdmin(path string) (net.Listener, func(), error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	short, done, err := socketPath(path)
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("unix", short)
	if err == nil {
		err = os.Chmod(path, 0o600) // the directory is private already
	}
	if err != nil {
		done()
		return nil, nil, &verdict.Error{Kind: verdict.Broken, Check: "broker.socket", Expected: "an admin socket", Got: err.Error(), Where: path, Fix: "look at the directory's permissions", Err: err}
	}
	return listener, func() { listener.Close(); done() }, nil
}

// brokerReady says who runs what, where, and what is insecure about it (R25).
func (a *app) brokerReady(ctx context.Context, b *openBroker, address string) error {
	s, err := b.Status(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.err, "Broker of %s listening on http://%s\n", s.Party, address)
	whoRuns(a.err, s)
	if !a.json {
		return nil
	}
	return json.NewEncoder(a.out).Encode(map[string]any{"address": address, "party": s.Party, "operator": s.Operator, "key_store": s.KeyStore,
		"insecure_software": s.InsecureSoftware, "serving": s.Serving, "lock": s.Lock, "log": s.Log, "size": s.Size})
}

// serveBoth serves rooms and officers until ctx ends or the log fails.
func (a *app) serveBoth(ctx context.Context, b *openBroker, rooms, officers net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	logger := slog.New(slog.NewTextHandler(a.err, nil))
	ended := make(chan error, 2)
	serve := func(l net.Listener, handler http.Handler) {
		ended <- server.Serve(ctx, l, handler, logger)
		stop() // one without the other is no broker
	}
	go serve(rooms, server.Broker(b.Broker, logger))
	go serve(officers, server.BrokerAdmin(b.Broker, logger))
	go a.recheck(ctx, b)
	var failed error
	select {
	case <-ctx.Done():
	case <-b.log.Failed():
		// What reached the disk is not known: the next start finds out.
		failed = b.log.Err()
		stop()
	}
	return errors.Join(failed, <-ended, <-ended)
}

// recheck looks every other second whether somebody can be asked, while nobody could be.
func (a *app) recheck(ctx context.Context, b *openBroker) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := b.Recheck(ctx); err != nil {
				a.say("broker: %v", err)
			}
		}
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/ear"
	"strongroom.dev/internal/durable"
	"strongroom.dev/internal/version"
	"strongroom.dev/server"
	"strongroom.dev/store/attestation"
	"strongroom.dev/store/postgres"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

func (a *app) attestationCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "attestation",
		Short: "Run an attestation service: evidence in, judged results and tokens out",
		Long: `An attestation service judges evidence of any platform by policies, for relying parties that
know no evidence: brokers and clients of other makes, key vaults, clouds. What it says, it signs;
docs/attestation-service.md shows how to gate on it.`,
	}, a.attestationServe(), a.attestationPolicy(), a.attestationToken(), a.attestationWatch(), a.attestationFleet())
}

// The files of an attestation service's directory.
const (
	attestationState  = "state.db"
	attestationSocket = "admin.sock"
)

type attestationFlags struct {
	dir, listen, watch, issuer string
	database                   postgres.Config
	policies, gates            []string
	signing, federation        string
	endorsements               endorsementFlags
	references                 referenceFlags
	renew                      time.Duration
	limits                     server.AttestationLimits
	singleUse, allowSoftware   bool
}

func (a *app) attestationServe() *cobra.Command {
	var f attestationFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve attesters and relying parties until told to stop",
		Long: `Serves over HTTP. The first call makes the directory, with the keys that sign tokens; they
change every 30 days by themselves. GET /openapi.json on the service describes all it does.

Tokens name --issuer, the address by which clients reach the service, so it has to stay the
same. Put TLS in front of it: relying parties fetch keys there, and clouds take https only.

Officers' operations (policies) are on the socket admin.sock in the directory, for its owner
alone; "strongroom attestation policy" uses it. Metrics are there too, and at --watch.

Software made by others (clouds, vaults, clients of other services) gets tokens only for
audiences named with --gate, judged by the policy named there.

Several instances behind one address share a database, --database, without its password (see
~/.pgpass, PGPASSFILE), and with sslmode=verify-full if it is on another machine; each has a
directory of its own for its socket. Whoever reads the database's table can sign tokens.

Endorsements and reference values are read again on SIGHUP and every --renew.`,
		Example: `  strongroom attestation serve --dir attestation --issuer https://attest.example.org \
      --endorsements vendors/ --policy rooms.yaml
  strongroom attestation serve --dir attestation --issuer https://attest.example.org \
      --gate federation:rooms=https://vault.example.org`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return a.serveAttestation(ctx, f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "dir", "", "`DIR` of the service; made by the first call")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:7600", "`HOST:PORT` to listen on; port 0 chooses one")
	flags.StringVar(&f.watch, "watch", "", "`HOST:PORT` for metrics and health besides; none if not given")
	flags.StringVar(&f.database.Address, "database", "", "`URL` of a PostgreSQL database for the state that several instances share (default: a file in --dir)")
	flags.BoolVar(&f.database.InsecureConnection, "insecure-database", false, "reach a database on another machine without checking who answers: whoever does can sign tokens")
	flags.StringVar(&f.issuer, "issuer", "", "`URL` by which clients reach the service (default: http and the address listened on)")
	flags.StringArrayVar(&f.policies, "policy", nil, "`FILE` of a policy to add and put in force, if its version is new; the first judges where a request names none (repeat)")
	flags.StringArrayVar(&f.gates, "gate", nil, "an audience that others' software gates, as `SHAPE:POLICY=AUDIENCE`, SHAPE being federation, maa or ita (repeat)")
	flags.StringVar(&f.signing, "signing", string(ear.ES256), "algorithm of EAR tokens: ES256 or ES384")
	flags.StringVar(&f.federation, "federation-signing", "", "algorithm of federation tokens: ES256, ES384, or RS256 for clouds that take no other (default: as --signing)")
	flags.DurationVar(&f.renew, "renew", time.Hour, "how often endorsements and reference values are read again; 0 for never")
	flags.IntVar(&f.limits.PerClient, "client-rate", 50, "requests a second from one address, on the average; 0 for no limit, behind something that has one")
	flags.IntVar(&f.limits.AtOnce, "at-once", 64, "requests worked on at the same time")
	flags.BoolVar(&f.singleUse, "single-use", false, "have each challenge redeemed once only, in the service's store")
	flags.BoolVar(&f.allowSoftware, "insecure-allow-software", false, "let software platforms pass, with a warning, where no policy judges")
	f.endorsements.add(cmd)
	f.references.add(cmd)
	mustHave(cmd, "dir")
	return cmd
}

func (a *app) serveAttestation(ctx context.Context, f attestationFlags) error {
	gates, err := parseGates(f.gates)
	if err != nil {
		return err
	}
	policies, err := a.readPolicies(f.policies)
	if err != nil {
		return err
	}
	if f.limits.PerClient < 0 || f.limits.AtOnce < 1 || f.limits.AtOnce > 4096 {
		return verdict.Misuse("--client-rate", "no less than 0, and --at-once from 1 to 4096", fmt.Sprintf("%d and %d", f.limits.PerClient, f.limits.AtOnce), "correct them")
	}
	set, bundles, err := a.versionedEndorsements(f.endorsements)
	if err != nil {
		return err
	}
	references, err := a.referenceSets(f.references.paths)
	if err != nil {
		return err
	}
	// Everything that can be wrong in the call is found before anything is made, a busy port too.
	listeners, err := attestationListeners(f)
	if err != nil {
		return err
	}
	defer listeners.close()
	base := f.issuer
	if base == "" {
		base = "http://" + listeners.public.Addr().String()
	}
	logger := slog.New(slog.NewTextHandler(a.err, nil))
	cfg := verifier.Config{Base: base, Logger: logger, Table: examiners, Endorsements: set, Bundles: bundles, References: references, Gates: gates, SingleUse: f.singleUse, InsecureAllowSoftware: f.allowSoftware,
		EAR: ear.Algorithm(f.signing), Federation: ear.Algorithm(f.federation), Rotation: ear.Usual(), Build: "strongroom " + version.Version, Now: a.now}
	if len(policies) > 0 {
		cfg.Policy = policies[0].ID
	}
	if err := cfg.Check(); err != nil {
		return err
	}
	if f.database.Address != "" {
		if err := f.database.Check(); err != nil {
			return err
		}
	}
	if err := keepSecrets(); err != nil {
		return err
	}
	store, err := openAttestation(ctx, f)
	if err != nil {
		return err
	}
	defer store.Close()
	cfg.Store = store
	s, err := verifier.Open(ctx, cfg)
	if err != nil {
		return err
	}
	if err := putInForce(ctx, s, policies, logger); err != nil {
		return err
	}
	if err := a.warnOfLacking(ctx, s); err != nil {
		return err
	}
	return a.runAttestation(ctx, f, s, listeners, logger)
}

// attestationStore is a store that can be let go of.
type attestationStore interface {
	verifier.Store
	Close() error
}

// openAttestation opens the state, in the directory or in a database, making what is not there.
func openAttestation(ctx context.Context, f attestationFlags) (attestationStore, error) {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return nil, misfile(f.dir, "a directory for the attestation service", err.Error(), "name another with --dir")
	}
	if f.database.Address != "" {
		return openDatabase(ctx, f)
	}
	return attestation.Open(filepath.Join(f.dir, attestationState), 2*time.Second)
}

// lockedStore is a store in a database, with the lock of the directory that its process serves
// officers in: a file would have one of its own.
type lockedStore struct {
	*postgres.Store
	unlock func()
}

func (s lockedStore) Close() error { s.unlock(); return s.Store.Close() }

func openDatabase(ctx context.Context, f attestationFlags) (attestationStore, error) {
	unlock, err := durable.Lock(filepath.Join(f.dir, "lock"), 0)
	if errors.Is(err, durable.ErrLocked) {
		return nil, &verdict.Error{Kind: verdict.Broken, Check: "attestation.state", Expected: "a directory for this instance alone", Got: "another process serves in " + f.dir, Fix: "give each instance a --dir of its own", Err: err}
	}
	if err != nil {
		return nil, err
	}
	s, err := postgres.Open(ctx, f.database)
	if err != nil {
		unlock()
		return nil, err
	}
	return lockedStore{s, unlock}, nil
}

// listeners are the sockets of a service: for everybody, and for watchers.
type listeners struct{ public, watch net.Listener }

func (l listeners) close() {
	l.public.Close()
	if l.watch != nil {
		l.watch.Close()
	}
}

func attestationListeners(f attestationFlags) (l listeners, err error) {
	if l.public, err = net.Listen("tcp", f.listen); err != nil {
		return l, noListener("--listen", err)
	}
	if f.watch == "" {
		return l, nil
	}
	if l.watch, err = net.Listen("tcp", f.watch); err != nil {
		l.public.Close()
		return l, noListener("--watch", err)
	}
	return l, nil
}

// parseGates reads --gate.
func parseGates(texts []string) ([]verifier.Gate, error) {
	var gates []verifier.Gate
	for _, text := range texts {
		shape, rest, found := strings.Cut(text, ":")
		policy, audience, found2 := strings.Cut(rest, "=")
		g := verifier.Gate{Audience: audience, Policy: wire.ID(policy)}
		for _, s := range ear.Shapes() {
			if s.Name == shape && s.Name != ear.EAR().Name {
				g.Shape = s
			}
		}
		if !found || !found2 || g.Shape.Name == "" || !g.Policy.Valid() || audience == "" {
			return nil, verdict.Misuse("--gate", "SHAPE:POLICY=AUDIENCE, such as federation:rooms=https://vault.example.org", verdict.Short(text), "SHAPE is federation, maa or ita")
		}
		gates = append(gates, g)
	}
	return gates, nil
}

// filePolicy is a policy read from a file, with its text.
type filePolicy struct {
	ID      wire.ID
	Version int64
	Digest  wire.Digest
	path    string
	text    []byte
}

func (a *app) readPolicies(paths []string) ([]filePolicy, error) {
	var all []filePolicy
	for _, path := range paths {
		text, p, err := a.policyText(path)
		if err != nil {
			return nil, err
		}
		all = append(all, filePolicy{p.ID, p.Version, p.Digest(), path, text})
	}
	return all, nil
}

// putInForce adds what is new. What the service knows stays as its officers left it, in force or
// not; a version that is older than the newest and was never there, or another text under a
// version that was, is an error, since somebody means it to hold.
func putInForce(ctx context.Context, s *verifier.Service, policies []filePolicy, logger *slog.Logger) error {
	for _, p := range policies {
		known, err := s.Policy(ctx, p.ID, p.Version)
		if err == nil && known.Digest != p.Digest {
			return verdict.Refuse("appraisal.version", "a new version for another text", fmt.Sprintf("version %d of policy %s is %s in the service, and %s in %s", p.Version, p.ID, known.Digest.Short(), p.Digest.Short(), p.path), "raise the version in the file")
		}
		if err == nil {
			continue
		}
		if _, err = s.AddPolicy(ctx, p.ID, p.text); err != nil {
			return inFile(p.path, err)
		}
		if _, err := s.Activate(ctx, p.ID, p.Version); err != nil {
			return inFile(p.path, err)
		}
		logger.LogAttrs(ctx, slog.LevelInfo, "policy in force", slog.String("policy", string(p.ID)), slog.Int64("version", p.Version), slog.String("by", "--policy"))
	}
	return nil
}

// warnOfLacking says which policies are to judge and are not in force. That is no reason not to
// start: officers add policies to a service that runs.
func (a *app) warnOfLacking(ctx context.Context, s *verifier.Service) error {
	ids, err := s.Lacking(ctx)
	for _, id := range ids {
		a.say("attestation: no version of policy %s is in force: what it is to judge is refused, and /readyz says 503, until \"strongroom attestation policy add\" and \"activate\" put one in force", id)
	}
	return err
}

// runAttestation serves until ctx ends. One listener without the others is no service.
func (a *app) runAttestation(ctx context.Context, f attestationFlags, s *verifier.Service, l listeners, logger *slog.Logger) error {
	socket := filepath.Join(f.dir, attestationSocket)
	officers, done, err := listenAdmin(socket)
	if err != nil {
		e := *verdict.As(err)
		e.Check = "attestation.socket"
		return &e
	}
	defer done()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	api := server.NewAttestation(s, f.limits, logger)
	parts := map[net.Listener]http.Handler{l.public: api.Handler(), officers: api.Admin()}
	if l.watch != nil {
		parts[l.watch] = api.Watch()
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // before anybody learns that there is somebody to signal
	defer signal.Stop(hup)
	if err := a.attestationReady(s, f, l, socket); err != nil {
		return err
	}
	ended := make(chan error, len(parts)+1)
	for listener, handler := range parts {
		go func() {
			ended <- server.Serve(ctx, listener, handler, logger)
			stop()
		}()
	}
	go func() { ended <- a.upkeep(ctx, f, s, hup) }()
	var all error
	for range len(parts) + 1 {
		all = errors.Join(all, <-ended)
	}
	return all
}

func (a *app) attestationReady(s *verifier.Service, f attestationFlags, l listeners, socket string) error {
	ready := map[string]any{"address": l.public.Addr().String(), "issuer": s.Base(), "admin": socket, "insecure_software": f.allowSoftware}
	if l.watch != nil {
		ready["watch"] = l.watch.Addr().String()
	}
	if f.issuer == "" {
		a.say("attestation: tokens name %s, where nobody else reaches this service; give --issuer what clients use", s.Base())
	}
	if f.database.InsecureConnection {
		a.say("INSECURE: whoever answers for the database can sign tokens")
	}
	if f.allowSoftware {
		a.say("INSECURE: software platforms pass where no policy judges")
	}
	return a.print(ready, func(w io.Writer) {
		fmt.Fprintf(w, "Attestation service %s listening on http://%s\n", s.Base(), l.public.Addr())
		fmt.Fprintf(w, "Officers: %s\n", socket)
	})
}

// upkeep renews keys, endorsements and reference values. What fails is said, and tried again.
func (a *app) upkeep(ctx context.Context, f attestationFlags, s *verifier.Service, hup <-chan os.Signal) error {
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	renewed := a.now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			renewed = a.now()
			a.renew(ctx, f, s)
		case <-minute.C:
			if err := s.Upkeep(ctx); err != nil {
				a.say("attestation: %v", err)
			}
			if f.renew > 0 && a.now().Sub(renewed) >= f.renew {
				renewed = a.now()
				a.renew(ctx, f, s)
			}
		}
	}
}

// renew reads endorsements and reference values again. If that fails, the service goes on with what it has: it is
// dated, and refuses by itself when it has expired.
func (a *app) renew(ctx context.Context, f attestationFlags, s *verifier.Service) {
	set, bundles, err := a.versionedEndorsements(f.endorsements)
	var references [][]byte
	if err == nil {
		references, err = a.referenceSets(f.references.paths)
	}
	if err == nil {
		err = s.Renew(ctx, set, bundles, references)
	}
	if err != nil {
		a.say("attestation: endorsements and reference values stay as they were: %v", err)
		return
	}
	a.say("attestation: %d endorsements read, and %d sets of reference values", set.Len(), len(references))
}

package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/attest/azure"
	"strongroom.dev/attest/snp"
	"strongroom.dev/attest/tdx"
	"strongroom.dev/host"
	"strongroom.dev/host/qemu"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// running is one call of `run`.
type running struct {
	hostFlags
	containerFlags
	vm         vmFlags
	agreement  string
	work       string
	parameters []string
	query      string
	queryFile  string
	epsilon    string
	host       string
	hostNamed  bool
	out        string
	requestIn  string
	requestOut string
	expires    time.Duration
	dryRun     bool

	endorsements endorsementFlags
	references   referenceFlags
}

func (a *app) runCommand() *cobra.Command {
	var r running
	cmd := &cobra.Command{
		Use:   "run AGREEMENT --work NAME [--param NAME=VALUE]",
		Short: "Run agreed work in a room and fetch its proven result",
		Long: `Signs a request for one run, has a room started, shows how it goes on, and fetches the sealed
results with their proofs, which it checks before it says so. Open a result with
"strongroom open".

AGREEMENT is a signed file, or the id or digest of one that you signed. --host dev starts the
room on this machine, on the insecure dev platform; --host qemu starts it here as a virtual
machine of the room image --image; a URL asks a host.`,
		Example: `  strongroom run study.json --work means-by-diagnosis --param min_area=500
  strongroom run study --work counts --host http://127.0.0.1:7600 --out results
  strongroom run study --work counts --host qemu --image room --ledger ledger.example=http://127.0.0.1:7500
  strongroom run study --work ask --query "SELECT ward, count(*) AS n FROM visits GROUP BY ward"
  strongroom run study --work counts --dry-run            # what would be signed and asked

A room of a host goes on when this command is interrupted; "strongroom room fetch" fetches
its result. A room on this machine ends with it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.agreement, r.hostNamed = args[0], cmd.Flags().Changed("host")
			if err := r.check(cmd.Flags().Changed); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return a.runWork(ctx, &r)
		},
	}
	r.hostFlags.add(cmd)
	r.containerFlags.add(cmd)
	r.vm.add(cmd, string(qemu.TPM), "what a room of --host qemu runs on: tpm, snp or tdx")
	f := cmd.Flags()
	f.StringVar(&r.work, "work", "", "name of the agreed work")
	f.StringArrayVar(&r.parameters, "param", nil, "`NAME=VALUE` of a parameter of the work (repeat)")
	f.StringVar(&r.query, "query", "", "the `SQL` to ask, of ad-hoc work")
	f.StringVar(&r.queryFile, "query-file", "", "read the query from `FILE`, - for standard input")
	f.StringVar(&r.epsilon, "epsilon", "", "what to spend, of ad-hoc work under differential privacy")
	f.StringVar(&r.host, "host", "dev", "dev, qemu, or the `URL` of a host")
	f.StringVar(&r.out, "out", ".", "`DIR` to put results into")
	f.DurationVar(&r.expires, "expires", time.Hour, "how long the request may wait for a room, at most 24h")
	f.StringVar(&r.requestIn, "request", "", "use this signed request `FILE` instead of signing one")
	f.StringVar(&r.requestOut, "save-request", "", "also write the signed request to `FILE`")
	f.BoolVar(&r.dryRun, "dry-run", false, "show the request; sign and start nothing")
	r.endorsements.add(cmd)
	r.references.addRooms(cmd)
	return cmd
}

// check finds what is wrong with the flags alone.
func (r *running) check(given func(flag string) bool) error {
	if r.expires <= 0 || r.expires > agreement.MaxRunAhead {
		return verdict.Misuse("--expires", "a time above zero, at most 24h", r.expires.String(), "as in --expires 1h")
	}
	if r.work == "" && r.requestIn == "" {
		return verdict.Misuse("--work", "the name of agreed work", "none", "strongroom agreement explain shows what may run")
	}
	return r.checkHost(given)
}

func (a *app) runWork(ctx context.Context, r *running) error {
	h, err := a.openHome()
	if err != nil {
		return err
	}
	ag, yaml, err := a.loadAgreement(r.agreement)
	if err != nil {
		return err
	}
	if yaml {
		return verdict.Misuse("agreement.signed", "an agreement that all parties signed", r.agreement+", a draft", "strongroom agreement sign makes the signed form")
	}
	parties, _, err := h.Parties(ag.Agreement)
	if err != nil {
		return err
	}
	if err := ag.Verify(parties, a.now()); err != nil {
		return err
	}
	if err := r.forgotHost(h, ag.Agreement); err != nil {
		return err
	}
	site := a.site(r)
	defer site.close()
	run, err := a.requestFor(ctx, h, r, ag, parties, site)
	if err != nil || r.dryRun {
		return err
	}
	job, err := jobOf(ag, parties, run)
	if err != nil {
		return err
	}
	work, _ := ag.WorkByName(run.Work)
	if err := r.fill(&job, work, site.url() != ""); err != nil {
		return err
	}
	// A run has one answer and is paid for once: look for a place for it before it starts.
	names := resultNames(ag.Agreement, run.Run)
	if err := placeFor(r.out, names, host.ResultSize(ag.Agreement, run.Work)); err != nil {
		return err
	}
	if err := a.canProve(h, ag.Agreement, r.endorsements, r.references); err != nil {
		return err
	}
	if err := a.activatedHere(ctx, ag, run.Work, run.Requester); err != nil {
		return err
	}
	if err := site.ready(ctx, ag.Agreement, run.Work); err != nil {
		return err
	}
	if err := a.keepRequest(h, r, run); err != nil {
		return err
	}
	return a.runIn(ctx, site, r, names, job, run)
}

// canProve reads endorsements and reference values before a run is paid for, and warns if the
// results of one could not be proven without.
func (a *app) canProve(h *home.Home, ag agreement.Agreement, f endorsementFlags, r referenceFlags) error {
	sets, err := a.setsFor(r, h)
	if err != nil {
		return err
	}
	if lacksSets(ag, sets) {
		a.say("WARNING: the agreement names release lines: a result is proven only with the set of reference values that the owners' brokers accepted its room by (--reference, or strongroom reference add)")
	}
	if _, err := a.endorsedThen(f); err != nil {
		return err
	}
	confidential := func(p agreement.Platform) bool {
		return p.Kind == snp.Name || p.Kind == tdx.Name || p.Kind == azure.Name
	}
	if len(f.paths) == 0 && slices.ContainsFunc(ag.Platforms, confidential) {
		a.say("WARNING: without --endorsements no result of a room on SEV-SNP, TDX or Azure is proven: its makers' lists and statements judge its evidence (strongroom endorsements fetch)")
	}
	return nil
}

// keepRequest keeps the signed request where it is found again, before anything starts.
func (a *app) keepRequest(h *home.Home, r *running, run *agreement.SignedRun) error {
	if r.requestOut != "" {
		data, err := run.Document.Encode()
		if err != nil {
			return err
		}
		if err := a.saveFile(r.requestOut, data, 0o644, false); err != nil {
			return err
		}
	}
	return h.SaveRun(run)
}

// runIn starts the room and stays with it to the end.
func (a *app) runIn(ctx context.Context, site site, r *running, names []string, job host.Job, run *agreement.SignedRun) error {
	ag, err := agreement.ParseAgreement(job.Agreement)
	if err != nil {
		return err
	}
	work, _ := ag.WorkByName(run.Work)
	later := a.fetchLater(site.url(), run.RunID, r.out)
	if work.Container != nil && len(names) == 0 {
		later = a.serveLater(site.url(), run.RunID)
	}
	if local, here := site.(*localSite); here {
		var end context.CancelFunc
		ctx, end = gently(ctx, local.finish)
		defer end()
	}
	room, err := site.start(ctx, job, run)
	if err != nil {
		if ctx.Err() != nil {
			return unseen(ctx, err, "", later)
		}
		return err
	}
	a.say("room %s is starting, run %s", verdict.Printable(room.id()), run.RunID)
	if err := a.follow(ctx, room, later, a.whenServing(room, ag.Agreement, work, run)); err != nil {
		return err
	}
	if err := a.collectLogs(ctx, r.out, room, run.RunID); err != nil || len(names) == 0 {
		return err
	}
	digest := run.Digest()
	return site.keep(a.collect(ctx, r.out, names, room, wanted{run.RunID, &digest, r.endorsements, r.references}, later))
}

// requestFor makes and signs the run request, or reads one that was signed before.
func (a *app) requestFor(ctx context.Context, h *home.Home, r *running, ag *agreement.SignedAgreement, parties []*agreement.SignedParty, s site) (*agreement.SignedRun, error) {
	me, requester, err := ownParty(h, ag, parties)
	if err != nil {
		return nil, err
	}
	if r.requestIn != "" {
		data, err := a.readDocument(r.requestIn, "a signed run request")
		if err != nil {
			return nil, err
		}
		run, err := agreement.ParseRun(data)
		if err != nil {
			return nil, err
		}
		return run, run.Verify(ag, requester, a.now())
	}
	body, err := a.fillRequest(ctx, r, ag, parties, me, s)
	if err != nil {
		return nil, err
	}
	run, err := agreement.NewRun(body)
	if err != nil {
		return nil, err
	}
	if r.dryRun {
		at := r.where()
		return run, a.print(wouldRun{run.Run, at}, func(w io.Writer) {
			printRequest(w, ag, run.Run)
			at.text(w)
		})
	}
	if err := addRunSignature(h, run); err != nil {
		return nil, err
	}
	return run, run.Verify(ag, requester, a.now())
}

func (a *app) fillRequest(ctx context.Context, r *running, ag *agreement.SignedAgreement, parties []*agreement.SignedParty, me wire.ID, s site) (agreement.Run, error) {
	work, found := ag.WorkByName(wire.ID(r.work))
	if !found {
		names := make([]string, len(ag.Work))
		for i, w := range ag.Work {
			names[i] = string(w.Name)
		}
		return agreement.Run{}, verdict.Misuse("--work", "one of "+strings.Join(names, ", "), verdict.Short(r.work), "name work of the agreement")
	}
	if err := r.only(work, s.url() != ""); err != nil {
		return agreement.Run{}, err
	}
	parameters, err := parseParameters(work, r.parameters)
	if err != nil {
		return agreement.Run{}, err
	}
	variables, err := r.variables(work)
	if err != nil {
		return agreement.Run{}, err
	}
	sealed, err := s.datasets(ctx)
	if err != nil {
		return agreement.Run{}, err
	}
	datasets, err := host.Latest(sealed, ag, parties, work)
	if err != nil {
		return agreement.Run{}, r.lacksData(err)
	}
	query, err := a.adHoc(ctx, r, ag, work)
	if err != nil {
		return agreement.Run{}, err
	}
	id := keys.RandomID()
	return agreement.Run{Query: query, Epsilon: r.epsilon, Agreement: ag.Digest(), RunID: hex.EncodeToString(id[:]), Requester: me, Work: work.Name, Parameters: parameters,
		Environment: variables, Datasets: datasets, Expires: wire.At(a.now().Add(r.expires))}, nil
}

// parseParameters brings the parameters into their canonical text.
func parseParameters(work agreement.Work, texts []string) (map[string]string, error) {
	given := map[string]string{}
	for _, text := range texts {
		name, value, found := strings.Cut(text, "=")
		if !found {
			return nil, verdict.Misuse("--param", "NAME=VALUE", verdict.Short(text), "give its value too: --param "+shellWord(text+"=VALUE"))
		}
		if _, twice := given[name]; twice {
			return nil, verdict.Misuse("--param", "NAME=VALUE, each name once", verdict.Short(text), "give each parameter once")
		}
		given[name] = value
	}
	for name := range given {
		if !slices.ContainsFunc(work.Parameters, func(p agreement.Parameter) bool { return p.Name == name }) {
			return nil, verdict.Misuse("--param", "a parameter of "+string(work.Name)+": "+parameterNames(work), verdict.Short(name), "strongroom agreement explain shows them")
		}
	}
	out := map[string]string{}
	for _, p := range work.Parameters {
		value, found := given[p.Name]
		if !found {
			return nil, verdict.Misuse("--param", "a value for parameter "+p.Name+" ("+p.Type+")", "none", "--param "+p.Name+"=VALUE")
		}
		canonical, err := agreement.CanonicalParameter(p, value)
		if err != nil {
			return nil, err
		}
		out[p.Name] = canonical
	}
	return out, nil
}

func parameterNames(work agreement.Work) string {
	names := make([]string, len(work.Parameters))
	for i, p := range work.Parameters {
		names[i] = p.Name
	}
	if len(names) == 0 {
		return "it has none"
	}
	return strings.Join(names, ", ")
}

// ownParty gives the party of the agreement that this home is.
func ownParty(h *home.Home, ag *agreement.SignedAgreement, parties []*agreement.SignedParty) (wire.ID, *agreement.SignedParty, error) {
	versions, err := h.Versions()
	if err != nil {
		return "", nil, err
	}
	for _, own := range versions {
		if p, found := ag.PartyByDescriptor(own.Digest()); found {
			return p.ID, own, nil
		}
	}
	return "", nil, verdict.Refuse("run.may-run", "an agreement that names you", string(ag.ID), "ask as one of its parties")
}

func addRunSignature(h *home.Home, run *agreement.SignedRun) error {
	key, err := h.SigningKey()
	if err != nil {
		return err
	}
	return run.Document.Sign(key)
}

func jobOf(ag *agreement.SignedAgreement, parties []*agreement.SignedParty, run *agreement.SignedRun) (job host.Job, err error) {
	if job.Agreement, err = ag.Document.Encode(); err != nil {
		return job, err
	}
	if job.Run, err = run.Document.Encode(); err != nil {
		return job, err
	}
	job.Parties = []json.RawMessage{}
	for _, p := range parties {
		doc, err := p.Document.Encode()
		if err != nil {
			return job, err
		}
		job.Parties = append(job.Parties, doc)
	}
	return job, nil
}

func printRequest(w io.Writer, ag *agreement.SignedAgreement, run agreement.Run) {
	fmt.Fprintf(w, "Would ask for %s of %s version %d, as %s\n", run.Work, ag.ID, ag.Version, run.Requester)
	for name, value := range run.Parameters {
		fmt.Fprintf(w, "  %s = %s\n", name, value)
	}
	if run.Query != "" {
		fmt.Fprintf(w, "  query: %s\n", verdict.Printable(strings.Join(strings.Fields(run.Query), " ")))
	}
	if run.Epsilon != "" {
		fmt.Fprintf(w, "  epsilon %s\n", run.Epsilon)
	}
	for name, value := range run.Environment {
		fmt.Fprintf(w, "  variable %s = %s\n", name, verdict.Printable(value))
	}
	for _, d := range run.Datasets {
		fmt.Fprintf(w, "  input %s, statement %s\n", d.Input, d.Statement.Short())
	}
	fmt.Fprintf(w, "  until %s\n", run.Expires)
}

package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/attest"
	"strongroom.dev/attest/azure"
	"strongroom.dev/attest/composite"
	"strongroom.dev/attest/nvidia"
	"strongroom.dev/attest/sgx"
	"strongroom.dev/attest/snp"
	"strongroom.dev/attest/tdx"
	"strongroom.dev/dcap"
	"strongroom.dev/endorse"
	"strongroom.dev/endorse/fetch"
	"strongroom.dev/server"
	"strongroom.dev/sevsnp"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func (a *app) endorsementsCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "endorsements",
		Short: "What vendors sign about their hardware: fetch, pack, look, serve",
		Long: `Verifying evidence takes certificates, revocation lists and TCB information that vendors
sign. "fetch" gets what given evidence needs; "pack" makes one signed, dated file of it that
works without a network; "serve" is a cache for many verifiers, in the shape of the vendors'
own services.`,
	}, a.endorsementsFetch(), a.endorsementsPack(), a.endorsementsShow(), a.endorsementsCheck(), a.endorsementsServe())
}

// vendorFlags let a mirror stand for each vendor's service.
type vendorFlags struct{ fetch.Vendors }

func (f *vendorFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.AMD, "amd", "", "address of AMD's key server, or of a mirror (default: AMD's own)")
	flags.StringVar(&f.Intel, "intel", "", "address of Intel's PCS, or of a mirror")
	flags.StringVar(&f.IntelCertificates, "intel-certificates", "", "address of Intel's root CRL, or of a mirror")
	flags.StringVar(&f.NVIDIA, "nvidia", "", "address of NVIDIA's RIM service, or of a mirror")
	flags.StringVar(&f.NVIDIAStatus, "nvidia-status", "", "address of a mirror of NVIDIA's OCSP service")
}

func (a *app) endorsementsFetch() *cobra.Command {
	var vendors vendorFlags
	var dir, product string
	var dry bool
	cmd := &cobra.Command{
		Use:   "fetch EVIDENCE... -o DIR",
		Short: "Get what given evidence needs from its vendors",
		Long: `Finds out which certificates, CRLs and TCB information the evidence needs, and gets them into
a directory that verify takes as --endorsements. What is there and current is not asked for
again, so an interrupted call goes on where it stopped. AMD's server answers about once in
ten seconds; the call waits as it asks.`,
		Example: `  strongroom endorsements fetch report.bin -o endorsements/
  strongroom endorsements fetch *.quote -o endorsements/ --intel https://pccs.example:8081
  strongroom endorsements fetch report.bin --dry-run`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if dir == "" && !dry {
				return verdict.Misuse("--out", "a directory to keep the documents in", "none", "give -o DIR, or --dry-run to see what would be asked for")
			}
			docs, err := a.needed(args, product, nil)
			if err != nil {
				return err
			}
			if dry {
				return a.printPlan(vendors.Vendors, docs)
			}
			return a.fetchAll(ctx, fetch.Config{Dir: dir, Vendors: vendors.Vendors, Now: a.now}, docs, func(rims [][]byte) ([]fetch.Document, error) {
				return a.needed(args, product, rims)
			})
		},
	}
	cmd.Flags().StringVarP(&dir, "out", "o", "", "`DIR` to keep the documents in; made if absent")
	cmd.Flags().StringVar(&product, "product", "", "Milan, Genoa or Turin, for AMD reports of version 2, which don't say")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be asked for, and where")
	vendors.add(cmd)
	return cmd
}

// needed lists the documents that the evidence needs, each once. RIMs that are there already
// have certificates whose status is needed in turn. All files are looked at before the first
// error is told, so that it names every file that must be seen to.
func (a *app) needed(files []string, product string, rims [][]byte) ([]fetch.Document, error) {
	product, err := knownProduct(product)
	if err != nil {
		return nil, err
	}
	var docs []fetch.Document
	var failed []error
	for _, file := range files {
		data, err := a.readEvidence(file)
		if err != nil {
			return nil, err
		}
		more, err := neededFor(data, product, rims)
		if err != nil {
			failed = append(failed, inFile(file, err))
		}
		for _, d := range more {
			if !slices.Contains(docs, d) {
				docs = append(docs, d)
			}
		}
	}
	return docs, together(failed)
}

// knownProduct gives the name that AMD writes, of one in any case.
func knownProduct(given string) (string, error) {
	for _, p := range []string{"", "Milan", "Genoa", "Turin"} {
		if strings.EqualFold(p, given) {
			return p, nil
		}
	}
	return "", verdict.Misuse("--product", "Milan, Genoa or Turin", verdict.Short(given), "correct it")
}

// together makes one error of those of several files: the first, with every file that fails
// alike, and what the others fail with.
func together(failed []error) error {
	if len(failed) == 0 {
		return nil
	}
	const most = 20
	e := *verdict.As(failed[0])
	for i, err := range failed[1:] {
		other := verdict.As(err)
		switch {
		case i+2 > most:
			e.Got += fmt.Sprintf("; and %d more files fail", len(failed)-most)
			return &e
		case other.Check == e.Check && other.Got == verdict.As(failed[0]).Got:
			e.Where += ", " + other.Where
		default:
			e.Got += fmt.Sprintf("; %s: %s: %s", other.Where, other.Check, other.Got)
		}
	}
	return &e
}

// plannedDocument is what would be asked for, and where.
type plannedDocument struct {
	fetch.Document
	// URL is the whole address; an OCSP request is posted to it.
	URL string `json:"url"`
}

// printPlan says what fetching would ask for.
func (a *app) printPlan(vendors fetch.Vendors, docs []fetch.Document) error {
	plan := make([]plannedDocument, len(docs))
	for i, d := range docs {
		plan[i] = plannedDocument{d, vendors.Address(d)}
	}
	return a.print(map[string]any{"documents": plan}, func(w io.Writer) {
		for _, p := range plan {
			request := ""
			if p.Vendor == fetch.NVIDIAStatus {
				request = " asked with " + p.Path
			}
			fmt.Fprintln(w, verdict.Printable(p.URL+request))
		}
	})
}

// neededFor lists what evidence needs, by the platform that its form shows.
func neededFor(data []byte, product string, rims [][]byte) ([]fetch.Document, error) {
	x, data, err := attest.Recognise(examiners(endorse.Set{}), data)
	if err != nil {
		return nil, err
	}
	switch x.Name {
	case azure.Name:
		return neededForAzure(data, product)
	case composite.Name:
		return neededForParts(data, product, rims)
	case snp.Name:
		e, err := sevsnp.Open(data)
		if err != nil {
			return nil, verdict.NotGenuine("evidence.form", "an AMD report", verdict.Short(err.Error()), "give the evidence exactly as the platform gives it")
		}
		return neededForAMD(e.Report, e.Certificates, product)
	case tdx.Name, sgx.Name:
		e, err := dcap.Open(data)
		if err != nil {
			return nil, verdict.NotGenuine("evidence.form", "an Intel quote", verdict.Short(err.Error()), "give the evidence exactly as the platform gives it")
		}
		return neededForIntel(e.Quote)
	case nvidia.Name:
		return neededForDevices(data, rims)
	}
	return nil, notFetched(x.Name)
}

func neededForQuote(q *dcap.Quote) ([]fetch.Document, error) {
	for _, it := range endorse.Parse("quote", q.Chain) {
		c, err := x509.ParseCertificate(it.Data)
		if err != nil {
			continue
		}
		if pck, err := dcap.ParsePCK(c); err == nil {
			tee := dcap.TDX
			if q.Enclave != nil {
				tee = dcap.SGX
			}
			return fetch.ForQuote(tee, pck), nil
		}
	}
	return nil, verdict.NotGenuine("evidence.chain", "a quote with its PCK certificate", "none in it", "ask the attester for certification data of type 5")
}

func neededForDevices(data []byte, rims [][]byte) ([]fetch.Document, error) {
	needs, err := nvidia.Needed(data, rims...)
	if err != nil {
		return nil, err
	}
	var docs []fetch.Document
	for _, id := range needs.RIMs {
		d, err := fetch.RIM(id)
		if err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	for _, c := range needs.Status {
		d, err := fetch.Status(c.Certificate, c.Issuer)
		if err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	return docs, nil
}

// fetchAll gets every document, waiting where a vendor asks for patience; then what those
// that came need in turn.
func (a *app) fetchAll(ctx context.Context, cfg fetch.Config, docs []fetch.Document, more func(rims [][]byte) ([]fetch.Document, error)) error {
	cache, err := fetch.Open(cfg)
	if err != nil {
		return err
	}
	var rims [][]byte
	for i := 0; i < len(docs); i++ {
		a.say("%d of %d: %s", i+1, len(docs), docs[i].Name())
		answer, err := a.patiently(ctx, cache, docs[i])
		if err != nil {
			return err
		}
		for _, it := range answer.Items() {
			if it.Kind == endorse.NVIDIARIM {
				rims = append(rims, it.Data)
			}
		}
		if i+1 < len(docs) || len(rims) == 0 {
			continue
		}
		again, err := more(rims)
		if err != nil {
			return err
		}
		for _, d := range again {
			if !slices.Contains(docs, d) {
				docs = append(docs, d)
			}
		}
		rims = nil
	}
	return a.print(map[string]any{"dir": cfg.Dir, "documents": docs}, func(w io.Writer) {
		fmt.Fprintf(w, "%d documents in %s\n", len(docs), cfg.Dir)
	})
}

func (a *app) patiently(ctx context.Context, cache *fetch.Cache, d fetch.Document) (fetch.Answer, error) {
	for try := 0; ; try++ {
		answer, err := cache.Get(ctx, d)
		wait, ok := fetch.Wait(err)
		if !ok || try == 10 {
			return answer, err
		}
		a.say("  waiting %s, as %s asks", wait.Round(time.Second), d.Vendor)
		select {
		case <-ctx.Done():
			return fetch.Answer{}, verdict.Refuse("endorsements.fetch", "all documents", "interrupted", "the same call goes on where this one stopped")
		case <-time.After(wait + time.Second):
		}
	}
}

func (a *app) endorsementsPack() *cobra.Command {
	var from endorsementFlags
	var p packing
	cmd := &cobra.Command{
		Use:   "pack PATH... -o BUNDLE --key KEY",
		Short: "Make one signed, dated file that works without a network",
		Long: `Puts all endorsements in files and directories into one bundle, signed with a key that
"keygen --purpose signing" made. Verifiers take it with --endorsements BUNDLE and
--endorsements-key, the public half. What is outdated already is refused.

Verifiers never go back to an older bundle of the same key. To keep several side by side, such
as one for each vendor, give each a name, which says which of them it is the next of.`,
		Example: `  strongroom keygen --purpose signing -o packer.key
  strongroom endorsements pack endorsements/ -o endorsements.bundle --key packer.key --days 30
  strongroom endorsements pack intel/ -o intel.bundle --key packer.key --name intel`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			from.paths = args
			return a.packEndorsements(from, p)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&p.out, "out", "o", "", "`FILE` to write")
	flags.StringVar(&p.key, "key", "", "`FILE` of the signing key")
	flags.IntVar(&p.days, "days", 30, "days until the bundle is not to be used any more")
	flags.StringVar(&p.name, "name", "", "`NAME` of the bundle, if the key packs several side by side")
	flags.BoolVar(&p.force, "force", false, "replace the file")
	flags.StringArrayVar(&from.keys, "endorsements-key", nil, "key that may have signed bundles among PATH (repeatable)")
	mustHave(cmd, "out", "key")
	return cmd
}

// packing says what bundle is made.
type packing struct {
	out, key, name string
	days           int
	force          bool
}

func (a *app) packEndorsements(from endorsementFlags, p packing) error {
	days, out := p.days, p.out
	if p.name != "" && !wire.ID(p.name).Valid() {
		return verdict.Misuse("--name", "a name of 1 to 63 of a-z, 0-9 and -, starting with a letter", verdict.Short(p.name), "correct it")
	}
	if days < 1 || days > int(endorse.MaxLife/(24*time.Hour)) {
		return verdict.Misuse("--days", fmt.Sprintf("1 to %d", endorse.MaxLife/(24*time.Hour)), fmt.Sprint(days), "correct it")
	}
	if err := a.noStdoutWithJSON(out); err != nil {
		return err
	}
	now := a.now()
	set, err := a.endorsementSet(from, now)
	if err != nil {
		return err
	}
	if set.Len() == 0 {
		return verdict.Misuse("endorsements", "something to pack", "nothing that strongroom recognises", "name other paths")
	}
	for _, it := range set.Items() {
		if d := it.Dates(); it.Kind != endorse.X509Certificate && !d.Current(now) {
			return verdict.Refuse("endorsements.dates", it.Name+" current now", fmt.Sprintf("one for %s to %s", wire.At(d.Issued), wire.At(d.Until)), "fetch it anew, or leave it out")
		}
	}
	signer, err := loadSigningKey(p.key)
	if err != nil {
		return err
	}
	expires := wire.At(now.AddDate(0, 0, days))
	doc, err := endorse.Bundle{Created: wire.At(now), Expires: expires, Items: set.Items(), Name: wire.ID(p.name)}.Document()
	if err != nil {
		return verdict.Misuse("endorsements", "endorsements that fit in a bundle", verdict.Short(err.Error()), "pack fewer")
	}
	if err := doc.Sign(signer); err != nil {
		return err
	}
	data, err := doc.Encode()
	if err != nil {
		return verdict.Misuse("endorsements", "endorsements that fit in a bundle", verdict.Short(err.Error()), "pack fewer")
	}
	if err := a.saveFile(out, data, 0o644, p.force); err != nil || out == "-" {
		return err
	}
	return a.print(map[string]any{"file": out, "items": set.Len(), "key": signer.Public(), "expires": expires}, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d endorsements, until %s, signed by %s\n", out, set.Len(), expires, signer.Public())
	})
}

func (a *app) endorsementsServe() *cobra.Command {
	var vendors vendorFlags
	var dir, listen string
	cmd := &cobra.Command{
		Use:   "serve --dir DIR",
		Short: "Serve a cache of vendors' documents, in the shape of their services",
		Long: `Serves what AMD's KDS, Intel's PCS and NVIDIA's RIM service serve, under the same paths, from
a directory, asking the vendors only for what is missing or old: once for all who wait, and
no faster than they allow. It never serves what is outside its dates, and never an older
version than it has had. Point verifiers at it with --amd, --intel and --nvidia.`,
		Example: `  strongroom endorsements serve --dir cache --listen 127.0.0.1:7700
  strongroom endorsements fetch quote.bin -o e/ --intel http://127.0.0.1:7700 --intel-certificates http://127.0.0.1:7700`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			listener, err := net.Listen("tcp", listen)
			if err != nil {
				return noListener("--listen", err)
			}
			defer listener.Close()
			cache, err := fetch.Open(fetch.Config{Dir: filepath.Clean(dir), Vendors: vendors.Vendors, Now: a.now})
			if err != nil {
				return err
			}
			if err := a.print(map[string]any{"address": listener.Addr().String(), "dir": dir}, func(w io.Writer) {
				fmt.Fprintf(w, "Serving endorsements from %s on http://%s\n", dir, listener.Addr())
			}); err != nil {
				return err
			}
			logger := slog.New(slog.NewTextHandler(a.err, nil))
			return server.Serve(ctx, listener, server.Endorsements(cache, logger), logger)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "`DIR` to keep documents in; made if absent")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:7700", "`HOST:PORT` to listen on; port 0 chooses one")
	vendors.add(cmd)
	mustHave(cmd, "dir")
	return cmd
}

package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// verifyFlags are what a relying party says about evidence on the command line.
type verifyFlags struct {
	nonce, reportData, at, policy string
	anyNonce, allowSoftware       bool
	explain                       bool
	image                         imageFlags
	activators, roots             []string
	endorsements                  endorsementFlags
	reference                     referenceFlags
}

// appraised is one file's result.
type appraised struct {
	File string `json:"file"`
	appraise.Result
	// Boot tells what booted, line by line, where that was asked for and evidence proves it.
	Boot *bootStory `json:"boot,omitempty"`
	// invalid is set if the file holds no genuine evidence.
	invalid bool
}

func (a *app) verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Verify evidence of any kind, and say what it proves",
		Long: `Verifies evidence: detects its kind and form, checks signatures up to the vendor's root,
revocation, TCB level, debug bits and the rest, offline, and says what it found and what
mends it. Forms: raw reports and quotes, the JSON of Trustee, Azure and NVIDIA tools, and
strongroom's own.

A verifier must know why the evidence was made just now: give the nonce it sent, or the
report data it asked for. Endorsements (certificates, CRLs, TCB information, RIMs) come from
--endorsements: files as vendors serve them, directories of such, or signed bundles. What is
missing is a failed check, never skipped. Endorsements never go back in time: the home
directory, if there is one, remembers the newest of each that was used, and older ones are
refused, unless --at judges evidence as of its own time.

With an event log, --explain tells what booted line by line, and compares each with what the policy
says. --image DIR compares it with the image in a directory, file by file, and demands that
nothing else booted.

Whether the key of a TPM lives in one is somebody's word: of its maker, or of a broker that had the
TPM prove it. --activator names a broker whose word you take, --root the root of a software TPM.

Exit 0: affirming, or warning. 3: genuine, but not to be trusted (policy, freshness, missing
or outdated collateral). 4: not genuine, or no evidence at all.`,
		Example: `  strongroom verify report.bin --endorsements amd/ --nonce 5f1c...
  strongroom verify quote.bin --endorsements intel.bundle --report-data @hash.bin --explain
  strongroom verify room.json --image room --activator alpha.party.json --root sha256:... --report-data 91c5... --at 2026-03-01T10:00:00Z --insecure-allow-software
  strongroom verify old/*.bin --at 2026-03-01T00:00:00Z --insecure-any-nonce --output json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.verify(f, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.nonce, "nonce", "", "the challenge that the evidence must answer: hex, or @FILE")
	flags.StringVar(&f.reportData, "report-data", "", "what its report data must be, padded with zeros: hex, or @FILE")
	flags.StringVar(&f.at, "at", "", "judge as of this time, such as 2026-11-24T09:30:00Z (default: now)")
	flags.StringVar(&f.policy, "policy", "", "an appraisal policy that judges too")
	flags.BoolVar(&f.explain, "explain", false, "write what was found as a letter")
	flags.StringArrayVar(&f.activators, "activator", nil, "`KEY` or party descriptor FILE of a broker whose word that a key lives in a TPM you take (repeat)")
	flags.StringArrayVar(&f.roots, "root", nil, "`FINGERPRINT` of a root of software TPMs you rely on, INSECURE (repeat)")
	flags.BoolVar(&f.anyNonce, "insecure-any-nonce", false, "make missing freshness a warning: for looking at recorded evidence")
	flags.BoolVar(&f.allowSoftware, "insecure-allow-software", false, "make evidence of a software platform a warning")
	f.endorsements.add(cmd)
	f.reference.add(cmd)
	f.image.add(cmd)
	return cmd
}

func (a *app) verify(f verifyFlags, files []string) error {
	demand, err := a.demand(f)
	if err != nil {
		return err
	}
	set, memory, err := a.rememberedEndorsements(f.endorsements, demand.Now, f.at == "")
	if err != nil {
		return err
	}
	demand.Seen = memory.seen
	trust, err := a.tpmTrust(f.activators, f.roots)
	if err != nil {
		return err
	}
	table := trusting(examiners(set), set, trust)
	image, err := a.readBootImage(f.image)
	if err != nil {
		return err
	}
	data := make([][]byte, len(files))
	for i, file := range files {
		if data[i], err = a.readEvidence(file); err != nil {
			return err
		}
	}
	results := make([]appraised, len(files))
	for i, file := range files {
		results[i] = examineOne(table, demand, file, data[i])
		results[i].addBoot(demand, image, f.explain)
	}
	if f.at == "" {
		if err := a.sawReferences(results); err != nil {
			return err
		}
		if err := a.sawEndorsements(memory, results); err != nil {
			return err
		}
	}
	if err := a.print(oneOrAll(results), func(w io.Writer) { showResults(w, results, f.explain) }); err != nil {
		return err
	}
	a.printed = true
	return worst(results)
}

// demand reads the flags that say what is asked of the evidence.
func (a *app) demand(f verifyFlags) (appraise.Demand, error) {
	d := appraise.Demand{InsecureAllowSoftware: f.allowSoftware, Now: a.now()}
	d.Freshness.InsecureAnyNonce = f.anyNonce
	var err error
	if d.Freshness.Nonce, err = a.bytesFlag("--nonce", f.nonce); err != nil {
		return d, err
	}
	if d.Freshness.ReportData, err = a.bytesFlag("--report-data", f.reportData); err != nil {
		return d, err
	}
	if f.at != "" {
		if d.Now, err = timeFlag("--at", f.at); err != nil {
			return d, err
		}
	}
	if f.policy != "" {
		if d.Policy, err = a.readPolicy(f.policy); err != nil {
			return d, err
		}
	}
	d.References, err = a.references(f.reference, d.Policy, f.at == "")
	return d, err
}

// bytesFlag reads hex, or the bytes of a file named after an @. No bytes are no answer to what
// they should be: they are refused, so that an empty file turns nothing off.
func (a *app) bytesFlag(flag, value string) ([]byte, error) {
	if value == "" {
		return nil, nil
	}
	const most = 4096 // more than any platform's field
	if file, isFile := strings.CutPrefix(value, "@"); isFile {
		data, err := a.readDocument(file, "the bytes for "+flag)
		if err == nil && (len(data) == 0 || len(data) > most) {
			err = misfile(file, fmt.Sprintf("1 to %d bytes for %s", most, flag), fmt.Sprint(len(data)), "name the right file")
		}
		return data, err
	}
	data, err := hex.DecodeString(strings.TrimPrefix(value, "0x"))
	if err != nil || len(data) == 0 || len(data) > most {
		return nil, verdict.Misuse(flag, "bytes in hex, or @FILE", verdict.Short(value), "two hex digits for each byte")
	}
	return data, nil
}

func timeFlag(flag, value string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02"} {
		if t, err := time.Parse(layout, value); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, verdict.Misuse(flag, "a time such as 2026-11-24T09:30:00Z, or a date", verdict.Short(value), "correct it")
}

// readEvidence reads a file whole. An empty one is read too: it is a file without evidence.
func (a *app) readEvidence(path string) ([]byte, error) {
	in := a.in
	if path != "-" {
		f, err := a.openFile(path, "evidence")
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, attest.MaxEvidence+1))
	if err != nil {
		return nil, fileError(path, "evidence", err)
	}
	return data, nil
}

func (a *app) readPolicy(path string) (*appraise.Policy, error) {
	data, err := a.readDocument(path, "an appraisal policy")
	if err != nil {
		return nil, err
	}
	return appraise.Parse(path, data)
}

func examineOne(table []attest.Examiner, d appraise.Demand, file string, data []byte) appraised {
	x, evidence, err := attest.Recognise(table, data)
	if err == nil {
		var finding attest.Finding
		if finding, err = x.Examine(evidence, d.Now); err == nil {
			return appraised{File: file, Result: d.Judge(finding)}
		}
	}
	if x.Name == "" {
		err = notKind(file, data, "evidence", err)
	}
	return appraised{File: file, Result: appraise.Invalid(string(x.Name), err, wire.At(d.Now)), invalid: true}
}

// oneOrAll is an object for one file, a list for several.
func oneOrAll(results []appraised) any {
	if len(results) == 1 {
		return results[0]
	}
	return results
}

func showResults(w io.Writer, results []appraised, explain bool) {
	for i, r := range results {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if explain {
			fmt.Fprintf(w, "%s\n\n%s", verdict.Printable(r.File), r.Letter())
			r.showMeasured(w)
			r.Boot.text(w)
			continue
		}
		fmt.Fprintf(w, "%s: %s, %s\n", verdict.Printable(r.File), r.Verdict, r.what())
		for _, c := range r.Checks {
			fmt.Fprintf(w, "  %s %-24s %s\n", r.mark(c), c.ID, verdict.Printable(said(c)))
		}
		r.showMeasured(w)
		r.Boot.text(w)
	}
}

// showMeasured shows what a policy would name: the machine, and what runs on it.
func (r appraised) showMeasured(w io.Writer) {
	if len(r.Measurements) == 0 {
		return
	}
	fmt.Fprintln(w, "  measured:")
	if r.Machine != "" {
		fmt.Fprintf(w, "       %-24s %s\n", "machine", verdict.Printable(r.Machine))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Measurements)) {
		fmt.Fprintf(w, "       %-24s %s\n", verdict.Printable(name), r.Measurements[name])
	}
}

func (r appraised) what() string {
	if r.Platform == "" {
		return "no evidence that strongroom knows"
	}
	if r.invalid {
		return r.Platform + ", NOT GENUINE"
	}
	return fmt.Sprintf("%s (class %s)", r.Platform, r.Class)
}

func (r appraised) mark(c verdict.Check) string {
	for _, id := range r.Warnings {
		if c.OK && c.ID == id {
			return "warn"
		}
	}
	if c.OK {
		return "ok  "
	}
	return "FAIL"
}

func said(c verdict.Check) string {
	if c.OK {
		return c.Expected + ": " + c.Got
	}
	text := "expected " + c.Expected + ", got " + c.Got
	if c.Fix != "" {
		text += " (" + c.Fix + ")"
	}
	return text
}

// worst gives the error for the exit code: of the file that is least to be trusted.
func worst(results []appraised) error {
	var refused error
	for _, r := range results {
		if r.invalid {
			c := r.Failed()[0]
			return &verdict.Error{Kind: verdict.Invalid, Check: c.ID, Where: r.File, Expected: c.Expected, Got: c.Got, Fix: c.Fix}
		}
		if err := r.Err(); err != nil && refused == nil {
			refused = inFile(r.File, err)
		}
	}
	return refused
}

// exists tells a directory from a file that the user named.
func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/durable"
	"strongroom.dev/verdict"
)

func (a *app) policyCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "policy",
		Short: "Appraisal policies: write, try and understand them",
		Long: `An appraisal policy is a YAML document that says which evidence is good enough: platforms,
measurements, machines, generations, minimum TCB, advisories, and expressions in CEL for the
rest (spec/appraisal.md). What it does not name is refused.`,
	}, a.policyExplainCommand(), a.policyFmtCommand(), a.policyLintCommand(), a.policyTestCommand())
}

func (a *app) policyExplainCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "explain POLICY",
		Short:   "Say in plain sentences what a policy asks for",
		Example: `  strongroom policy explain production.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := a.readPolicy(args[0])
			if err != nil {
				return err
			}
			text := p.Explain()
			return a.print(map[string]any{"id": p.ID, "version": p.Version, "digest": p.Digest(), "text": text}, func(w io.Writer) {
				fmt.Fprintf(w, "%s\nDigest %s\n", text, p.Digest())
			})
		},
	}
}

func (a *app) policyFmtCommand() *cobra.Command {
	var write, check bool
	cmd := &cobra.Command{
		Use:   "fmt POLICY",
		Short: "Lay a policy out the one way, comments kept",
		Example: `  strongroom policy fmt production.yaml        # to standard output
  strongroom policy fmt -w production.yaml     # in place
  strongroom policy fmt --check production.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := a.readDocument(args[0], "an appraisal policy")
			if err != nil {
				return err
			}
			out, err := appraise.Format(args[0], data)
			if err != nil {
				return err
			}
			same := bytes.Equal(data, out)
			if check && !same {
				return verdict.Refuse("policy.format", "the layout that policy fmt gives", "another one", "strongroom policy fmt -w "+args[0])
			}
			if write && !same {
				if args[0] == "-" {
					return verdict.Misuse("-w", "a file", "standard input", "leave -w out")
				}
				if err := durable.WriteFile(args[0], out, 0o644); err != nil {
					return fileError(args[0], "a place to write to", err)
				}
			}
			return a.print(map[string]any{"file": args[0], "changed": !same, "text": string(out)}, func(w io.Writer) {
				if !write && !check {
					w.Write(out)
				}
			})
		},
	}
	cmd.Flags().BoolVarP(&write, "write", "w", false, "write it back to the file")
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; exit 3 if the layout is another one")
	cmd.MarkFlagsMutuallyExclusive("write", "check")
	return cmd
}

func (a *app) policyLintCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "lint POLICY",
		Short:   "Look for what a policy allows but seldom means",
		Long:    `Exits 0 if there is nothing to say, 3 if there is.`,
		Example: "  strongroom policy lint policy.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := a.readPolicy(args[0])
			if err != nil {
				return err
			}
			advice := p.Lint(platformNames())
			err = a.print(map[string]any{"file": args[0], "advice": advice}, func(w io.Writer) {
				for _, x := range advice {
					fmt.Fprintf(w, "%s: %s: %s\n", args[0], x.Where, x.Says)
				}
			})
			if err != nil || len(advice) == 0 {
				return err
			}
			a.printed = true
			return verdict.Refuse("policy.lint", "nothing to look at", fmt.Sprintf("%d things, as listed", len(advice)), "mend the policy, or live with them knowingly")
		},
	}
}

// trial is one piece of recorded evidence under a policy, and under the one before it.
type trial struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Expect  string `json:"expect,omitempty"`
	Verdict string `json:"verdict"`
	// Before is the verdict of the older policy.
	Before string `json:"before,omitempty"`
	// Failed are the ids of failed checks; Missing those that should have failed.
	Failed  []string `json:"failed"`
	Missing []string `json:"missing,omitempty"`
}

// platformNames lists the platforms whose evidence this build can examine.
func platformNames() []string {
	var names []string
	for _, x := range examiners(endorse.Set{}) {
		names = append(names, string(x.Name))
	}
	return names
}

func (a *app) policyTestCommand() *cobra.Command {
	var against, at string
	var endorsements endorsementFlags
	var sets referenceFlags
	cmd := &cobra.Command{
		Use:   "test POLICY [EVIDENCE...]",
		Short: "Try a policy on recorded evidence before it goes live",
		Long: `Without EVIDENCE it runs the policy's own tests, and exits 3 if one comes out otherwise than
expected. With EVIDENCE it says what the policy would make of each file; --against shows what
another policy makes of the same, and what would change. Freshness is left out: recorded
evidence answers a nonce of its day.`,
		Example: `  strongroom policy test production.yaml
  strongroom policy test new.yaml recorded/*.json --against production.yaml --endorsements amd/`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := a.readPolicy(args[0])
			if err != nil {
				return err
			}
			if len(args) == 1 && (against != "" || at != "") {
				return verdict.Misuse("policy.test", "evidence to judge, with --against or --at", "none: the policy's own tests have times and expectations of their own", "name recorded evidence")
			}
			var trials []trial
			judgedAt := a.now()
			if len(args) > 1 {
				if at != "" {
					if judgedAt, err = timeFlag("--at", at); err != nil {
						return err
					}
				}
				trials, err = a.replay(p, args[1:], against, at, endorsements, sets)
			} else {
				trials, err = a.policyTests(p, args[0], endorsements, sets)
			}
			if err != nil {
				return err
			}
			return a.printTrials(p, trials, judgedAt)
		},
	}
	cmd.Flags().StringVar(&against, "against", "", "a policy to compare with, such as the one that is live")
	cmd.Flags().StringVar(&at, "at", "", "judge EVIDENCE as of this time (default: now)")
	endorsements.add(cmd)
	sets.add(cmd)
	return cmd
}

// policyTests runs the tests that the policy lists.
func (a *app) policyTests(p *appraise.Policy, file string, also endorsementFlags, sets referenceFlags) ([]trial, error) {
	if len(p.Tests) == 0 {
		return nil, verdict.Misuse("policy.tests", "tests in the policy, or evidence to try it on", "neither", "list tests in "+file+", or name files")
	}
	var trials []trial
	for _, t := range p.Tests {
		flags := also
		for _, e := range t.Endorsements {
			flags.paths = append(slices.Clone(flags.paths), besidePolicy(file, e))
		}
		data, err := a.readEvidence(besidePolicy(file, t.Evidence))
		if err != nil {
			return nil, err
		}
		// Parse has looked at both.
		nonce, _ := hex.DecodeString(t.Nonce)
		reportData, _ := hex.DecodeString(t.ReportData)
		d := appraise.Demand{Policy: p, Now: t.At.Time(), Freshness: appraise.Freshness{Nonce: nonce, ReportData: reportData, InsecureAnyNonce: len(nonce)+len(reportData) == 0}}
		here := slices.Clone(sets.paths)
		for _, path := range t.Reference {
			here = append(here, besidePolicy(file, path))
		}
		if d.References, err = a.recordedReferences(here); err != nil {
			return nil, err
		}
		r, err := a.tryOne(d, t.Evidence, data, flags)
		if err != nil {
			return nil, err
		}
		trials = append(trials, judged(t, r))
	}
	return trials, nil
}

func (a *app) tryOne(d appraise.Demand, file string, data []byte, flags endorsementFlags) (appraised, error) {
	set, err := a.endorsementSet(flags, d.Now)
	if err != nil {
		return appraised{}, err
	}
	return examineOne(examiners(set), d, file, data), nil
}

// besidePolicy gives a path that the policy names, relative to the policy's own file.
func besidePolicy(policy, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(policy), path)
}

func judged(t appraise.Test, r appraised) trial {
	out := trial{Name: t.Name, Expect: t.Expect, Verdict: recorded(r), Failed: failedIDs(r)}
	for _, id := range t.Failing {
		if !slices.Contains(out.Failed, id) {
			out.Missing = append(out.Missing, id)
		}
	}
	out.OK = out.Verdict == t.Expect && len(out.Missing) == 0
	return out
}

// recorded is the verdict on evidence whose freshness was left out: its warning does not count.
func recorded(r appraised) string {
	switch {
	case r.invalid:
		return "invalid"
	case r.Verdict == attest.Warning && len(r.Warnings) == 1 && r.Warnings[0] == "freshness":
		return string(attest.Affirming)
	}
	return string(r.Verdict)
}

func failedIDs(r appraised) []string {
	ids := []string{}
	for _, c := range r.Failed() {
		ids = append(ids, c.ID)
	}
	return ids
}

// replay judges recorded evidence by the policy, and by an older one.
func (a *app) replay(p *appraise.Policy, files []string, against, at string, flags endorsementFlags, sets referenceFlags) ([]trial, error) {
	d := appraise.Demand{Policy: p, Now: a.now(), Freshness: appraise.Freshness{InsecureAnyNonce: true}}
	var err error
	if at != "" {
		if d.Now, err = timeFlag("--at", at); err != nil {
			return nil, err
		}
	}
	if d.References, err = a.recordedReferences(sets.paths); err != nil {
		return nil, err
	}
	older := d
	if against != "" {
		if older.Policy, err = a.readPolicy(against); err != nil {
			return nil, err
		}
	}
	set, err := a.endorsementSet(flags, d.Now)
	if err != nil {
		return nil, err
	}
	table := examiners(set)
	var trials []trial
	for _, file := range files {
		data, err := a.readEvidence(file)
		if err != nil {
			return nil, err
		}
		r := examineOne(table, d, file, data)
		t := trial{Name: file, OK: true, Verdict: recorded(r), Failed: failedIDs(r)}
		if against != "" {
			t.Before = recorded(examineOne(table, older, file, data))
		}
		trials = append(trials, t)
	}
	return trials, nil
}

func (a *app) printTrials(p *appraise.Policy, trials []trial, at time.Time) error {
	wrong, changed := 0, 0
	for _, t := range trials {
		if !t.OK {
			wrong++
		}
		if t.Before != "" && t.Before != t.Verdict {
			changed++
		}
	}
	value := map[string]any{"policy": p.ID, "version": p.Version, "digest": p.Digest(), "at": at.UTC().Format(time.RFC3339), "trials": trials, "wrong": wrong, "changed": changed}
	err := a.print(value, func(w io.Writer) {
		for _, t := range trials {
			fmt.Fprintln(w, verdict.Printable(t.line()))
		}
	})
	if err != nil || wrong == 0 {
		return err
	}
	a.printed = true
	return verdict.Refuse("policy.test", "every test as expected", fmt.Sprintf("%d of %d otherwise", wrong, len(trials)), "mend the policy, or the test")
}

func passes(verdict string) bool {
	return verdict == string(attest.Affirming) || verdict == string(attest.Warning)
}

func (t trial) line() string {
	mark := "    "
	switch {
	case !t.OK:
		mark = "FAIL"
	case t.Expect != "":
		mark = "ok  "
	case t.Before != "" && t.Before != t.Verdict && passes(t.Verdict) && !passes(t.Before):
		mark = "ADMITTED"
	case t.Before != "" && t.Before != t.Verdict && !passes(t.Verdict) && passes(t.Before):
		mark = "REFUSED "
	case t.Before != "" && t.Before != t.Verdict:
		mark = "changed "
	}
	text := mark + " " + t.Name + ": " + t.Verdict
	if t.Expect != "" && t.Expect != t.Verdict {
		text += ", expected " + t.Expect
	}
	if t.Before != "" && t.Before != t.Verdict {
		text += ", was " + t.Before
	}
	if len(t.Failed) > 0 {
		text += " (failed: " + strings.Join(t.Failed, ", ") + ")"
	}
	if len(t.Missing) > 0 {
		text += " (should have failed: " + strings.Join(t.Missing, ", ") + ")"
	}
	return text
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/sandbox/seccomp"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// What one query's check may take: it reads no data, so the least memory the engine takes
// is plenty, and a second is long.
const (
	checkMemory  = 256 << 20
	checkTimeout = time.Minute
	// maxCheckAnswer bounds what the engine may print: columns, plan and rewritten query.
	maxCheckAnswer = 8 << 20
)

// queryView is a query that the engine has checked, in JSON.
type queryView struct {
	Work wire.ID `json:"work"`
	// Plan is the hash of the checked plan, the same on every machine with this build.
	Plan string `json:"plan"`
}

// unchecked says why the queries of an agreement could not be checked here.
type unchecked struct{ reason *verdict.Error }

func (u *unchecked) Error() string { return u.reason.Error() }

// checkQueries has the engine beside this program check every named query, without data, as
// a room does before it asks for a key. It gives those checked, *unchecked where there is no
// engine of this build here, or the refusal of the first bad query with its name.
func checkQueries(ctx context.Context, ag *agreement.SignedAgreement) ([]queryView, error) {
	views := make([]queryView, 0, len(ag.Work))
	if err := checkDenied(ag); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(ag.Work, func(w agreement.Work) bool { return w.Container == nil }) {
		return views, nil
	}
	engine, err := companion(sqlProgram)
	if err != nil {
		return nil, &unchecked{verdict.As(err)}
	}
	for _, w := range ag.Work {
		if w.Container != nil {
			continue
		}
		if w.AdHoc {
			continue // each request brings its own
		}
		plan, err := checkQuery(ctx, engine, queryJob(ag.Agreement, w, w.Query))
		if err != nil {
			return nil, inFile(fmt.Sprintf("work %s", w.Name), err)
		}
		views = append(views, queryView{w.Name, plan})
	}
	return views, nil
}

// checkDenied refuses containers that are to be denied a system call that they would not have:
// a room would refuse them when keys are out.
func checkDenied(ag *agreement.SignedAgreement) error {
	for _, w := range ag.Work {
		if w.Container == nil {
			continue
		}
		if err := seccomp.CheckDenied(w.Container.Seccomp.Deny); err != nil {
			return inFile(fmt.Sprintf("work %s", w.Name), verdict.Misuse("agreement.container", "system calls of the profile to deny", err.Error(), "correct the name in seccomp.deny, or remove it: what the profile lacks is denied anyway"))
		}
	}
	return nil
}

// queryJob is a query of a work as the engine checks it: each parameter with the first value allowed,
// since what is checked does not depend on values.
func queryJob(a agreement.Agreement, w agreement.Work, query string) sql.Job {
	out, _ := a.OutputByName(w.Output)
	job := sql.Job{CheckOnly: true, Query: query, Inputs: []sql.Input{}, Tables: []sql.Table{}, Parameters: []sql.Parameter{},
		MaxRows: out.MaxRows, MaxColumns: agreement.MaxOutputColumns, MaxBytes: out.MaxBytes, Memory: checkMemory, Threads: 1, Salt: sql.NoSalt, Noise: sql.NoSalt, Epsilon: w.Epsilon}
	for _, in := range a.InputsOf(w) {
		rules := agreement.Rules{} // of a list of exclusions
		if in.Rules != nil {
			rules = *in.Rules
			job.MaxRows, job.MaxColumns = min(job.MaxRows, rules.MaxRows), min(job.MaxColumns, rules.MaxColumns)
		}
		job.Inputs = append(job.Inputs, sql.Input{Name: in.Name, Owner: in.Owner, Format: in.Format, Schema: in.Schema, Pinned: in.Statement != nil, Rules: rules})
	}
	for _, name := range w.Tables {
		t, _ := a.TableByName(name)
		job.Tables = append(job.Tables, sql.Table{Name: t.Name, Inputs: t.Inputs})
	}
	for _, p := range w.Parameters {
		value := p.Min
		switch {
		case p.Type == "boolean":
			value = "false"
		case len(p.Values) > 0:
			value = p.Values[0]
		}
		job.Parameters = append(job.Parameters, sql.Parameter{Name: p.Name, Type: p.Type, Scale: p.Scale, Value: value})
	}
	return job
}

// checkQuery gives the hash of a query's plan, or why the engine refuses it.
func checkQuery(ctx context.Context, engine string, job sql.Job) (plan string, err error) {
	in, err := json.Marshal(job)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, engine, "check")
	cmd.Dir, cmd.Env, cmd.Stdin = "/", []string{}, bytes.NewReader(in)
	var out bytes.Buffer
	cmd.Stdout = &capped{w: &out, left: maxCheckAnswer}
	err = cmd.Run()
	if ctx.Err() != nil {
		return "", verdict.Refuse("query.time", "a query that is checked within "+checkTimeout.String(), "a longer check", "make the query simpler")
	}
	var answer struct {
		Plan  string          `json:"plan"`
		Error json.RawMessage `json:"error"`
	}
	if jerr := json.Unmarshal(out.Bytes(), &answer); jerr == nil && err != nil && answer.Error != nil {
		return "", verdict.Decode(answer.Error)
	}
	if err == nil && answer.Plan != "" {
		return answer.Plan, nil
	}
	got := "another answer"
	if err != nil {
		got = err.Error()
	}
	return "", &verdict.Error{Kind: verdict.Broken, Check: "sql.check", Expected: "an answer of " + sqlProgram, Got: got, Fix: "take all programs from one build: strongroom doctor", Err: err}
}

// capped writes up to a number of bytes, then fails.
type capped struct {
	w    io.Writer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	if len(p) > c.left {
		return 0, io.ErrShortWrite
	}
	c.left -= len(p)
	return c.w.Write(p)
}

// agreementCheck is here because what it does beyond reading is to check queries.
func (a *app) agreementCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Check an agreement's form and queries, and say what is still missing",
		Long: `Checks a YAML draft or a signed agreement. Errors name file, line, what was found and what
was expected. Its queries are tried by strongroom-sql, without data, as a room will do; where
that program is not beside this one, check warns that they were not.

It says which parties are not in your address book, whose signatures it can't check, and who
has yet to sign, and warns of an agreement that is over; none of them makes the check fail. A
signature of a party you have pinned that is not genuine, and a query outside the rules, do.`,
		Example: `  strongroom agreement check study.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ag, yaml, err := a.loadAgreement(args[0])
			if err != nil {
				return err
			}
			parties, _, unknown := a.known(ag)
			if err := genuine(ag, parties); err != nil {
				return inFile(args[0], err)
			}
			v := checkedView{agreementView: viewAgreement(ag, parties, false), Over: a.window(ag)}
			if unknown != nil {
				v.Unpinned = unknown.Error()
			}
			v.Queries, err = checkQueries(cmd.Context(), ag)
			err = a.inDraft(args[0], yaml, ag, err)
			if none, isNone := err.(*unchecked); isNone {
				v.NoEngine, v.Queries = none.Error(), []queryView{}
			} else if err != nil {
				return inFile(args[0], err)
			}
			return a.print(v, func(w io.Writer) { v.text(w, ag) })
		},
	}
}

// inDraft gives an error about a query of a draft, which names the work and a byte of the query,
// the line that it stands in.
func (a *app) inDraft(file string, yaml bool, ag *agreement.SignedAgreement, err error) error {
	if _, none := err.(*unchecked); err == nil || none || !yaml || file == "-" {
		return err
	}
	e := *verdict.As(err)
	name, found := strings.CutPrefix(e.Where, "work ")
	i := slices.IndexFunc(ag.Work, func(w agreement.Work) bool { return string(w.Name) == name })
	data, rerr := a.readDocument(file, "an agreement")
	if !found || i < 0 || rerr != nil {
		return err
	}
	at := verdict.As(draft.Locate(file, data, &verdict.Error{Where: fmt.Sprintf("work[%d].query", i)})).Where
	number, nerr := strconv.Atoi(strings.TrimPrefix(at, file+":"))
	if nerr != nil {
		return err
	}
	query, offset := ag.Work[i].Query, 0
	if j := strings.LastIndex(e.Got, "at byte "); j >= 0 {
		fmt.Sscanf(e.Got[j:], "at byte %d", &offset)
	}
	if first := strings.IndexByte(query, '\n'); first >= 0 { // a block, which begins in the line after
		number += 1 + strings.Count(query[:min(max(offset-1, 0), len(query))], "\n")
	}
	e.Where = fmt.Sprintf("%s:%d: work %s", file, number, name)
	return &e
}

// checkedView is what check says, in JSON.
type checkedView struct {
	agreementView
	Queries []queryView `json:"queries"`
	// Over warns that the agreement is over already.
	Over string `json:"over,omitempty"`
	// NoEngine says why no query was checked.
	NoEngine string `json:"queries_unchecked,omitempty"`
}

func (v checkedView) text(w io.Writer, ag *agreement.SignedAgreement) {
	fmt.Fprintf(w, "%s version %d: the form is right\n  digest      %s\n", ag.ID, ag.Version, ag.Digest())
	if v.Over != "" {
		fmt.Fprintf(w, "  validity    %s\n", v.Over)
	}
	signatureText(w, v.agreementView)
	if v.NoEngine != "" {
		fmt.Fprintf(w, "  queries     WARNING: NOT CHECKED: %s\n", v.NoEngine)
	} else if len(v.Queries) > 0 {
		names := make([]string, len(v.Queries))
		for i, q := range v.Queries {
			names[i] = string(q.Work)
		}
		fmt.Fprintf(w, "  queries     within the rules: %s\n", strings.Join(names, ", "))
	}
	if v.Unpinned != "" {
		fmt.Fprintf(w, "  not known   %s\n", v.Unpinned)
	}
}

// mayRunQueries refuses to sign queries that no room would run, or that nobody could check
// here.
func (a *app) mayRunQueries(ctx context.Context, ag *agreement.SignedAgreement, skip bool) error {
	if skip {
		a.say("NOTE: the queries were not checked; a room refuses those outside the rules")
		return nil
	}
	_, err := checkQueries(ctx, ag)
	if none, isNone := err.(*unchecked); isNone {
		return verdict.Refuse("agreement.queries", "queries that "+sqlProgram+" has checked", "no check: "+none.Error(),
			"use a build that has it beside strongroom, or sign unchecked with --skip-query-check: rooms check again")
	}
	return err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
)

func (a *app) sqlCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sql",
		Short: "Try queries against an agreement's rules, without data",
	}
	cmd.AddCommand(a.sqlCheck(), a.sqlPreview())
	return cmd
}

// sqlVerdict is what sql check says of a query.
type sqlVerdict struct {
	Allowed bool `json:"allowed"`
	// Rule is the check that refused the query, Reason what it says; empty if it is allowed.
	Rule   string `json:"rule"`
	Reason string `json:"reason"`
	// Plan is the hash of the plan that would run.
	Plan string `json:"plan,omitempty"`
}

func (a *app) sqlCheck() *cobra.Command {
	var file, work, query, queryFile string
	cmd := &cobra.Command{
		Use:   "check --agreement FILE --query SQL",
		Short: "Say whether a query would run, by which rule not, and how it would be counted",
		Long: `Has the SQL engine check a query as a room does before it asks for a key: against the rules
of every input that the work reads, on empty tables. No data, key or broker is needed, so an
agreement that nobody has signed will do.

The query is held against the tables of --work; without it, of the one ad-hoc work, or of the one
work there is. With --output json it prints {"allowed":...,"rule":"...","reason":"..."}. A query that
would be refused makes it exit with 3.`,
		Example: `  strongroom sql check --agreement study.yaml --query "SELECT count(*) AS n FROM patients"
  strongroom sql check --agreement study.json --work ask --query-file q.sql --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ag, _, err := a.loadAgreement(file)
			if err != nil {
				return err
			}
			text, err := a.queryText(query, queryFile)
			if err != nil {
				return err
			}
			w, err := workFor(ag.Agreement, work)
			if err != nil {
				return err
			}
			engine, err := companion(sqlProgram)
			if err != nil {
				return err
			}
			plan, err := checkQuery(cmd.Context(), engine, queryJob(ag.Agreement, w, text))
			return a.sqlVerdict(w, plan, err)
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "agreement", "", "the agreement `FILE`, a draft or signed, or the id or digest of one you signed")
	f.StringVar(&work, "work", "", "name of the `WORK` whose tables the query reads")
	f.StringVar(&query, "query", "", "the `SQL`")
	f.StringVar(&queryFile, "query-file", "", "read the query from `FILE`, - for standard input")
	cobra.CheckErr(cmd.MarkFlagRequired("agreement"))
	return cmd
}

// sqlVerdict prints what the engine said, and gives the refusal where it is one.
func (a *app) sqlVerdict(w agreement.Work, plan string, err error) error {
	v := sqlVerdict{Allowed: err == nil, Plan: plan}
	var refusal *verdict.Error
	if err != nil {
		if !errors.As(err, &refusal) || refusal.Kind != verdict.Refused {
			return err
		}
		v.Rule, v.Reason = strings.TrimPrefix(refusal.Check, "sql."), refusal.Got
	}
	if perr := a.print(v, func(out io.Writer) {
		if v.Allowed {
			fmt.Fprintf(out, "allowed by the rules of everything that %s reads\n  plan %s\n", w.Name, v.Plan)
		}
	}); perr != nil {
		return perr
	}
	if v.Allowed {
		return nil
	}
	return refusal
}

// workFor finds the work whose tables a query reads.
func workFor(ag agreement.Agreement, name string) (agreement.Work, error) {
	var queries, adHoc []agreement.Work
	for _, w := range ag.Work {
		if w.Container != nil {
			continue
		}
		if string(w.Name) == name {
			return w, nil
		}
		queries = append(queries, w)
		if w.AdHoc {
			adHoc = append(adHoc, w)
		}
	}
	if name == "" && len(adHoc) == 1 {
		return adHoc[0], nil
	}
	if name == "" && len(queries) == 1 {
		return queries[0], nil
	}
	names := []string{}
	for _, w := range queries {
		names = append(names, string(w.Name))
	}
	got := "none"
	if name != "" {
		got = verdict.Short(name)
	}
	return agreement.Work{}, verdict.Misuse("--work", "one of "+strings.Join(names, ", "), got, "name the work whose tables the query reads")
}

// queryText gives the query of a call.
func (a *app) queryText(query, file string) (string, error) {
	if (query == "") == (file == "") {
		return "", verdict.Misuse("--query", "a query in --query, or a file in --query-file", "both or none", `as in --query "SELECT count(*) AS n FROM patients"`)
	}
	if file == "" {
		return query, nil
	}
	data, err := a.readDocument(file, "a query")
	return string(data), err
}

// adHoc gives the query of a request for ad-hoc work, having tried it where the engine is here:
// a query outside the rules would be refused by every room.
func (a *app) adHoc(ctx context.Context, r *running, ag *agreement.SignedAgreement, w agreement.Work) (string, error) {
	if !w.AdHoc {
		if r.query+r.queryFile+r.epsilon != "" {
			return "", verdict.Misuse("--query", "no query and no epsilon: those of "+string(w.Name)+" were agreed", "some", "leave them out"+otherWork(ag.Agreement))
		}
		return "", nil
	}
	query, err := a.queryText(r.query, r.queryFile)
	if err != nil {
		return "", err
	}
	engine, err := companion(sqlProgram)
	if err != nil {
		return query, nil // the room will check it
	}
	_, err = checkQuery(ctx, engine, queryJob(ag.Agreement, w, query))
	return query, err
}

// otherWork names ad-hoc work there is.
func otherWork(ag agreement.Agreement) string {
	i := slices.IndexFunc(ag.Work, func(w agreement.Work) bool { return w.AdHoc })
	if i < 0 {
		return ""
	}
	return ", or ask with --work " + string(ag.Work[i].Name)
}

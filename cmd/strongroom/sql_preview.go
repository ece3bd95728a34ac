package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/internal/synthetic"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/sql"
)

// previewView is what a query answers over made rows.
type previewView struct {
	// Synthetic is always true: nothing here is data.
	Synthetic bool         `json:"synthetic"`
	Columns   []sql.Column `json:"columns"`
	Rows      [][]*string  `json:"rows"`
	// Withheld says of each owner how many rows were left out for its people's sake.
	Withheld []sql.Withheld `json:"withheld"`
	// SQL is the query as it ran, Plan its hash.
	SQL  string `json:"sql"`
	Plan string `json:"plan"`
}

func (a *app) sqlPreview() *cobra.Command {
	var file, work, query, queryFile string
	made := synthetic.Made{}
	var parameters []string
	cmd := &cobra.Command{
		Use:   "preview --agreement FILE [--work NAME] [--query SQL]",
		Short: "Answer a query over made-up rows, under the rules that hold for the real ones",
		Long: `Makes rows as the inputs' schemas and rules say, which hold nobody's data, and has the SQL
engine answer the query over them as in a room: with the same checks, the same withholding and, under
differential privacy, the same noise. So a query can be written before any key is released, and without
anybody's data. The answer says nothing about real rows.

Without --query it is the work's own, with --param for its parameters.`,
		Example: `  strongroom sql preview --agreement study.yaml --query "SELECT ward, avg(days) AS mean FROM visits GROUP BY ward"
  strongroom sql preview --agreement study.json --work counts --param least=3 --rows 5000 --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ag, _, err := a.loadAgreement(file)
			if err != nil {
				return err
			}
			w, err := workFor(ag.Agreement, work)
			if err != nil {
				return err
			}
			job, err := a.previewJob(ag.Agreement, w, query, queryFile, parameters)
			if err != nil {
				return err
			}
			if made.Rows < 1 || made.Rows > 1_000_000 {
				return verdict.Misuse("--rows", "1 to 1000000", fmt.Sprint(made.Rows), "")
			}
			result, err := a.preview(cmd.Context(), ag.Agreement, w, job, made)
			if err != nil {
				return err
			}
			v := previewView{true, result.Columns, result.Rows, result.Withheld, result.SQL, result.Plan.String()}
			if v.Rows == nil {
				v.Rows = [][]*string{}
			}
			return a.print(v, func(w io.Writer) { printPreview(w, v) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "agreement", "", "the agreement `FILE`, a draft or signed, or the id or digest of one you signed")
	f.StringVar(&work, "work", "", "name of the `WORK` to ask, or whose tables the query reads")
	f.StringVar(&query, "query", "", "the `SQL`")
	f.StringVar(&queryFile, "query-file", "", "read the query from `FILE`, - for standard input")
	f.StringArrayVar(&parameters, "param", nil, "`NAME=VALUE` of a parameter of the work (repeat)")
	f.IntVar(&made.Rows, "rows", 1000, "how many rows to make of each input")
	f.Uint64Var(&made.Seed, "seed", 1, "other numbers make other rows")
	f.BoolVar(&made.Unique, "unique-unit", false, "make every row another person's")
	cobra.CheckErr(cmd.MarkFlagRequired("agreement"))
	return cmd
}

// previewJob is the query with its parameters, to be run.
func (a *app) previewJob(ag agreement.Agreement, w agreement.Work, query, file string, parameters []string) (sql.Job, error) {
	text := w.Query
	if w.AdHoc || query != "" || file != "" {
		var err error
		if text, err = a.queryText(query, file); err != nil {
			return sql.Job{}, err
		}
		if len(parameters) > 0 {
			return sql.Job{}, verdict.Misuse("--param", "none with a query of your own", strings.Join(parameters, " "), "write values into the query")
		}
		job := queryJob(ag, w, text)
		job.Parameters = []sql.Parameter{}
		return job, nil
	}
	values, err := parseParameters(w, parameters)
	if err != nil {
		return sql.Job{}, err
	}
	job := queryJob(ag, w, text)
	job.Parameters, err = sql.Parameters(w.Parameters, values)
	return job, err
}

// preview has the engine check the query, and then answer it over made rows.
func (a *app) preview(ctx context.Context, ag agreement.Agreement, w agreement.Work, job sql.Job, made synthetic.Made) (sql.Result, error) {
	engine, err := companion(sqlProgram)
	if err != nil {
		return sql.Result{}, err
	}
	if _, err := checkQuery(ctx, engine, job); err != nil {
		return sql.Result{}, err
	}
	job.CheckOnly, job.Memory, job.Threads = false, previewMemory, 2
	var files [][]byte
	for i, in := range ag.InputsOf(w) {
		data := synthetic.CSV(in, made)
		if ag.Excluded(in.Name) {
			data = []byte(in.Schema[0].Name + "\n") // nobody has objected
		}
		job.Inputs[i].Format, job.Inputs[i].FD, job.Inputs[i].UniqueUnit = agreement.CSV, firstEngineFile+i, made.Unique
		if p := job.Inputs[i].Rules.Privacy; p != nil && job.Epsilon == "" {
			job.Epsilon = p.Run
		}
		files = append(files, data)
	}
	// Not a run's: made rows have no secret to derive it from.
	job.Noise = strings.Repeat("5a", 32)
	ctx, cancel := context.WithTimeout(ctx, previewTimeout)
	defer cancel()
	return runEngine(ctx, engine, job, files)
}

const (
	firstEngineFile = 4 // descriptor 3 is the engine's socket
	previewMemory   = 1 << 30
	previewTimeout  = 5 * time.Minute
)

func printPreview(w io.Writer, v previewView) {
	fmt.Fprintln(w, "MADE-UP ROWS: this answer says nothing about anybody's data")
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var names []string
	for _, c := range v.Columns {
		names = append(names, c.Name)
	}
	fmt.Fprintln(tw, strings.Join(names, "\t"))
	for _, row := range v.Rows {
		var cells []string
		for _, cell := range row {
			text := "NULL"
			if cell != nil {
				text = verdict.Printable(*cell)
			}
			cells = append(cells, text)
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	tw.Flush()
	fmt.Fprintln(w)
	for _, x := range v.Withheld {
		if x.Rows > 0 {
			fmt.Fprintf(w, "%d rows withheld for people of %s\n", x.Rows, x.Owner)
		}
	}
}

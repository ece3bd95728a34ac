package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"text/tabwriter"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// maxProfile bounds what the engine may print of 1,024 columns with two values of each.
const maxProfile = 16 << 20

// profileView is what dataset publish --check says, in JSON.
type profileView struct {
	File   string           `json:"file"`
	Format agreement.Format `json:"format"`
	sql.Profile
	// Findings are sentences about what the owner may want to mend or know.
	Findings []string `json:"findings"`
}

// check has the engine load a file as a room will, and prints what its rows are like. Nothing
// is sealed.
func (a *app) check(ctx context.Context, p publishing, in agreement.Input) error {
	if !in.Format.Columns() {
		return verdict.Misuse("--check", "a format with columns", string(in.Format), "what containers get has no rows to report")
	}
	engine, err := companion(sqlProgram)
	if err != nil {
		return err
	}
	f, err := a.openFile(p.file, "a "+string(in.Format)+" file")
	if err != nil {
		return err
	}
	defer f.Close()
	input := sql.Input{Name: wire.ID(p.dataset), Owner: "owner", FD: 4, Format: in.Format, Schema: in.Schema, UniqueUnit: p.unique}
	if in.Rules != nil {
		input.Rules = *in.Rules
	}
	view := profileView{File: p.file, Format: in.Format, Findings: []string{}}
	if view.Profile, err = profileOf(ctx, engine, f, input); err != nil {
		return inFile(p.file, err)
	}
	view.Findings = append(view.Findings, view.Profile.Findings(p.unique, input.Rules.MinGroup)...)
	return a.print(view, view.text)
}

// profileOf asks the engine.
func profileOf(ctx context.Context, engine string, f *os.File, in sql.Input) (p sql.Profile, err error) {
	job, err := json.Marshal(sql.ProfileJob{Input: in})
	if err != nil {
		return p, err
	}
	cmd := exec.CommandContext(ctx, engine, "profile")
	// The engine's own socket is descriptor 3; what it reads comes behind.
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.ExtraFiles = "/", []string{}, bytes.NewReader(job), []*os.File{f, f}
	var out bytes.Buffer
	cmd.Stdout = &capped{w: &out, left: maxProfile}
	err = cmd.Run()
	var answer struct {
		sql.Profile
		Error json.RawMessage `json:"error"`
	}
	jerr := json.Unmarshal(out.Bytes(), &answer)
	switch {
	case jerr == nil && answer.Error != nil:
		return p, verdict.Decode(answer.Error)
	case jerr == nil && err == nil:
		return answer.Profile, nil
	case ctx.Err() != nil:
		return p, errInterrupted
	}
	err = errors.Join(err, jerr)
	return p, &verdict.Error{Kind: verdict.Broken, Check: "sql.profile", Expected: "an answer of " + sqlProgram, Got: err.Error(), Fix: "take all programs from one build: strongroom doctor", Err: err}
}

func (v profileView) text(w io.Writer) {
	fmt.Fprintf(w, "%s: %d rows about %d units, at most %d rows of one; a room loads it\n", v.File, v.Rows, v.Units, v.MostRows)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  COLUMN\tTYPE\tNULL\tVALUES\tSMALLEST\tLARGEST")
	for _, c := range v.Columns {
		kind := c.Type
		if kind == "decimal" {
			kind = fmt.Sprintf("decimal(%d)", c.Scale)
		}
		if c.Unit {
			kind += ", unit"
		}
		fmt.Fprintf(t, "  %s\t%s\t%d\t%d\t%s\t%s\n", c.Name, kind, c.Nulls, c.Distinct, verdict.Printable(cutText(c.Min, 30)), verdict.Printable(cutText(c.Max, 30)))
	}
	t.Flush()
	for _, f := range v.Findings {
		fmt.Fprintln(w, "  - "+f)
	}
	fmt.Fprintln(w, "Nothing was sealed. The smallest and largest values are of your rows: keep this report to yourself.")
}

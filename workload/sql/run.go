package sql

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
)

// Run sends a job to an engine that is already started and gives its answer. conn is the
// agent's end of the socket that is descriptor 3 of the child. progress may be nil; it is
// called on the caller's goroutine.
//
// The error is a *[Failure] if the engine gave one, the context's if it ended first, else
// one that says what was wrong with the answer. When ctx ends, reading stops if conn has a
// SetDeadline method or is an io.Closer (which is then called); stopping the child is the
// caller's task, as is putting up the sandbox.
func Run(ctx context.Context, conn io.ReadWriter, job Job, progress func(Progress)) (Result, error) {
	if err := job.Validate(); err != nil {
		return Result{}, fmt.Errorf("sql: job: %w", err)
	}
	release := interrupt(ctx, conn)
	defer release()
	result, err := converse(conn, &job, progress)
	var failure *Failure
	if err != nil && !errors.As(err, &failure) {
		if ctx.Err() != nil {
			return Result{}, ctx.Err()
		}
		return Result{}, fmt.Errorf("sql: engine: %w", err)
	}
	return result, err
}

// interrupt makes reads and writes of conn fail once ctx ends, until release is called.
func interrupt(ctx context.Context, conn any) (release func()) {
	stop := context.AfterFunc(ctx, func() {
		if d, ok := conn.(interface{ SetDeadline(time.Time) error }); ok && d.SetDeadline(time.Unix(1, 0)) == nil {
			return
		}
		if c, ok := conn.(io.Closer); ok {
			c.Close()
		}
	})
	return func() { stop() }
}

func converse(conn io.ReadWriter, job *Job, progress func(Progress)) (Result, error) {
	if err := writeFrame(conn, kindJob, job); err != nil {
		return Result{}, fmt.Errorf("sending the job: %w", err)
	}
	a := answer{job: job, progress: progress}
	r := bufio.NewReaderSize(conn, rowFrame)
	for range maxFrames {
		kind, body, err := readFrame(r, maxFrame)
		if err != nil {
			return Result{}, fmt.Errorf("reading the answer: %w", err)
		}
		done, err := a.take(kind, body)
		if err != nil {
			return Result{}, err
		}
		if done {
			return a.result, nil
		}
	}
	return Result{}, fmt.Errorf("more than %d frames", maxFrames)
}

// answer collects an engine's answer and holds it to the job.
type answer struct {
	job      *Job
	progress func(Progress)
	headed   bool
	bytes    int64
	result   Result
}

func (a *answer) take(kind byte, body []byte) (done bool, err error) {
	switch {
	case kind == kindProgress && !a.headed:
		return false, a.takeProgress(body)
	case kind == kindHead && !a.headed:
		a.headed = true
		return false, a.takeHead(body)
	case kind == kindRows && a.headed && !a.job.CheckOnly:
		return false, a.takeRows(body)
	case kind == kindEnd && a.headed:
		return true, a.takeEnd(body)
	case kind == kindFailure:
		return false, a.takeFailure(body)
	}
	return false, fmt.Errorf("frame %q is out of place", kind)
}

func (a *answer) takeProgress(body []byte) error {
	var p Progress
	if err := decode(body, &p); err != nil {
		return err
	}
	if !p.Phase.valid() || p.Done < 0 || p.Done > p.Total {
		return fmt.Errorf("progress %d of %d in phase %.20q", p.Done, p.Total, string(p.Phase))
	}
	if a.progress != nil {
		a.progress(p)
	}
	return nil
}

func (a *answer) takeHead(body []byte) error {
	var h head
	if err := decode(body, &h); err != nil {
		return err
	}
	if n := int64(len(h.Columns)); n < 1 || n > a.job.MaxColumns {
		return fmt.Errorf("%d columns, not 1 to %d", n, a.job.MaxColumns)
	}
	seen := map[string]bool{}
	for _, c := range h.Columns {
		known := slices.Contains([]string{"integer", "decimal", "double", "text", "boolean", "date"}, c.Type)
		if !ValidName(c.Name) || seen[c.Name] || !known || c.Scale < 0 || c.Scale > 38 || c.Type != "decimal" && c.Scale != 0 {
			return fmt.Errorf("column %.70q of type %.20q, scale %d, or twice", c.Name, c.Type, c.Scale)
		}
		seen[c.Name] = true
	}
	plan, err := wire.ParseHash(h.Plan)
	if err != nil || plan.IsZero() {
		return fmt.Errorf("plan hash: %.80q", h.Plan)
	}
	if len(h.SQL) == 0 || len(h.SQL) > MaxSQL || !utf8.ValidString(h.SQL) {
		return fmt.Errorf("rewritten query of %d bytes", len(h.SQL))
	}
	a.result.Columns, a.result.Plan, a.result.SQL = h.Columns, plan, h.SQL
	return nil
}

func (a *answer) takeRows(body []byte) error {
	var rows [][]*string
	if err := decode(body, &rows); err != nil {
		return err
	}
	if len(rows) == 0 {
		return fmt.Errorf("a frame without rows")
	}
	if int64(len(a.result.Rows)+len(rows)) > a.job.MaxRows {
		return fmt.Errorf("more than %d rows", a.job.MaxRows)
	}
	for _, row := range rows {
		if err := a.checkRow(row); err != nil {
			return err
		}
	}
	a.result.Rows = append(a.result.Rows, rows...)
	return nil
}

func (a *answer) checkRow(row []*string) error {
	if len(row) != len(a.result.Columns) {
		return fmt.Errorf("a row of %d cells, not %d", len(row), len(a.result.Columns))
	}
	size := 0
	for i, cell := range row {
		a.bytes++
		if cell == nil {
			continue
		}
		size += len(*cell)
		// The cell may quote data, so it is not in the error.
		if size > MaxRow || !canonical(a.result.Columns[i], *cell) {
			return fmt.Errorf("a cell of column %s is not canonical text of its type", a.result.Columns[i].Name)
		}
	}
	if a.bytes += int64(size); a.bytes > a.job.MaxBytes {
		return fmt.Errorf("more than %d bytes", a.job.MaxBytes)
	}
	return nil
}

func (a *answer) takeEnd(body []byte) error {
	var e end
	if err := decode(body, &e); err != nil {
		return err
	}
	if e.Rows != int64(len(a.result.Rows)) {
		return fmt.Errorf("%d rows, %d announced", len(a.result.Rows), e.Rows)
	}
	owners := a.job.Owners()
	if len(e.Withheld) != len(owners) {
		return fmt.Errorf("withheld rows of %d owners, not %d", len(e.Withheld), len(owners))
	}
	for i, w := range e.Withheld {
		if w.Owner != owners[i] || w.Rows < 0 {
			return fmt.Errorf("withheld rows: %d of %.70q", w.Rows, string(w.Owner))
		}
	}
	a.result.Withheld = e.Withheld
	if len(e.Shown) > 0 {
		a.result.Shown = e.Shown
	}
	return a.checkShown(e.Shown)
}

// checkShown holds what was shown to the audited inputs and the job's maximum of rows.
func (a *answer) checkShown(shown []Shown) error {
	last := -1
	for _, s := range shown {
		at := slices.IndexFunc(a.job.Inputs, func(in Input) bool { return in.Name == s.Input })
		if at <= last || a.job.Inputs[at].Rules.Differences != agreement.Audited || a.job.CheckOnly {
			return fmt.Errorf("groups shown of %.70q", string(s.Input))
		}
		if last = at; len(s.Groups)%groupHash != 0 || len(s.Groups) > maxHeldGroups*groupHash {
			return fmt.Errorf("%d bytes of groups shown", len(s.Groups))
		}
	}
	return nil
}

// takeFailure always gives an error: the failure, if it is well formed.
func (a *answer) takeFailure(body []byte) error {
	var f Failure
	if err := decode(body, &f); err != nil {
		return err
	}
	if !f.Phase.valid() || !validCode(f.Code) || len(f.Detail) > maxDetail || f.Input != "" && a.job.InputByName(f.Input) == nil {
		return fmt.Errorf("failure with phase %.20q, code %.40q", string(f.Phase), f.Code)
	}
	return &f
}

func (p Phase) valid() bool { return p == Check || p == Load || p == Query }

func validCode(code string) bool {
	for i := range len(code) {
		if c := code[i]; (c < 'a' || c > 'z') && c != '.' && c != '-' {
			return false
		}
	}
	return len(code) > 0 && len(code) <= 40
}

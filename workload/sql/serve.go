package sql

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Serve is the engine's side: it reads one job from conn, has execute answer it, and writes
// progress and answer. An error of execute that is no *[Failure] goes out as one with code
// "internal". Serve returns an error only if the conversation itself failed.
func Serve(ctx context.Context, conn io.ReadWriter, execute func(context.Context, Job, func(Progress)) (Result, error)) error {
	kind, body, err := readFrame(conn, maxJob)
	if err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	if kind != kindJob {
		return fmt.Errorf("frame %q instead of a job", kind)
	}
	job, err := ParseJob(body)
	if err != nil {
		return fmt.Errorf("job: %w", err)
	}
	var lost error
	result, err := execute(ctx, job, func(p Progress) { lost = errors.Join(lost, writeFrame(conn, kindProgress, p)) })
	if lost != nil {
		return fmt.Errorf("sending progress: %w", lost)
	}
	if err != nil {
		return writeFrame(conn, kindFailure, asFailure(err))
	}
	return sendResult(conn, &job, &result)
}

// ParseJob reads the JSON of a valid job.
func ParseJob(data []byte) (Job, error) {
	var job Job
	if len(data) > maxJob {
		return Job{}, fmt.Errorf("%d bytes, at most %d", len(data), maxJob)
	}
	if err := decode(data, &job); err != nil {
		return Job{}, err
	}
	return job, job.Validate()
}

func asFailure(err error) *Failure {
	var f *Failure
	if !errors.As(err, &f) {
		f = &Failure{Phase: Query, Code: "internal", Detail: err.Error()}
	}
	cut := *f
	if len(cut.Detail) > maxDetail {
		cut.Detail = cut.Detail[:maxDetail]
	}
	cut.Detail = strings.ToValidUTF8(cut.Detail, "�")
	return &cut
}

func sendResult(w io.Writer, job *Job, result *Result) error {
	if err := writeFrame(w, kindHead, head{result.Columns, result.Plan.String(), result.SQL}); err != nil {
		return err
	}
	if !job.CheckOnly {
		if err := sendRows(w, result.Rows); err != nil {
			return err
		}
	}
	return writeFrame(w, kindEnd, end{int64(len(result.Rows)), result.Withheld, orNone(result.Shown)})
}

func orNone(shown []Shown) []Shown {
	if shown == nil {
		return []Shown{}
	}
	return shown
}

// sendRows packs rows into frames: each closes at rowFrame bytes.
func sendRows(w io.Writer, rows [][]*string) error {
	var frame []json.RawMessage
	size := 0
	flush := func() error {
		if len(frame) == 0 {
			return nil
		}
		err := writeFrame(w, kindRows, frame)
		frame, size = frame[:0], 0
		return err
	}
	for _, row := range rows {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(row); err != nil {
			return err
		}
		frame, size = append(frame, buf.Bytes()), size+buf.Len()
		if size >= rowFrame {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

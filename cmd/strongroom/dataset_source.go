package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"strongroom.dev/agreement"
	"strongroom.dev/source"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/sql/rows"
)

// isSource reports whether a name is not one of a file, but of where rows or files are kept.
func isSource(name string) bool { return source.IsPostgres(name) || source.IsS3(name) }

// postgres gives the reading of a database.
func (p publishing) postgres(in agreement.Input) source.Postgres {
	return source.Postgres{Address: p.file, Table: p.table, Query: p.query, Format: in.Format, Columns: in.Schema, InsecureConnection: p.insecure}
}

// mayCome refuses flags that don't fit where the data comes from, and what can't be read there.
func (p publishing) mayCome(in agreement.Input) error {
	switch {
	case !source.IsPostgres(p.file) && (p.table != "" || p.query != ""), !isSource(p.file) && p.insecure:
		return verdict.Misuse("command line", "postgres://... with --table, --query and --insecure-connection", "a file", "leave them out, or name a database")
	case isSource(p.file) && p.check:
		return verdict.Misuse("--check", "a file", "rows that are elsewhere", "export them to a file on this machine; publish itself checks every row as it comes")
	case source.IsPostgres(p.file):
		return p.postgres(in).Check()
	case source.IsS3(p.file):
		s, err := s3(p.file, p.insecure)
		if err != nil {
			return err
		}
		return s.Check()
	}
	return nil
}

// s3 gives the reading of an object of S3-compatible storage.
func s3(name string, insecure bool) (source.S3, error) {
	s, err := source.ParseS3(name, os.Getenv)
	s.InsecureConnection = insecure
	return s, err
}

// open opens the data to seal; rows that are elsewhere are checked as they come.
func (a *app) openData(ctx context.Context, p publishing, in agreement.Input) (src io.ReadCloser, size int64, err error) {
	switch {
	case source.IsPostgres(p.file):
		src, err = p.postgres(in).Open(ctx)
	case source.IsS3(p.file):
		var s source.S3
		if s, err = s3(p.file, p.insecure); err == nil {
			src, size, err = s.Open(ctx)
		}
	default:
		return a.source(p.file, "a file to seal")
	}
	if err != nil {
		return nil, 0, err
	}
	if !rows.Reads(in.Format) { // rooms check it
		return src, size, nil
	}
	return checked(src, in, p.unique), size, nil
}

// checked passes data through that is checked on its way: its end is an error where a room
// would refuse what came.
func checked(src io.ReadCloser, in agreement.Input, unique bool) io.ReadCloser {
	r, w := io.Pipe()
	c := &checking{src: src, copy: w, verdict: make(chan error, 1)}
	go func() {
		n, err := rows.Check(r, in.Format, in.Schema, unique)
		if err == nil && n == 0 {
			err = &rows.Error{Code: "input.value", Expected: "at least one row", Got: "none", Fix: "name the right data"}
		}
		r.CloseWithError(errRefused) // whoever writes on finds the verdict
		c.verdict <- err
	}()
	return c
}

var errRefused = errors.New("the rows were refused")

type checking struct {
	src     io.ReadCloser
	copy    *io.PipeWriter
	verdict chan error
}

func (c *checking) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	if n > 0 {
		if _, refused := c.copy.Write(p[:n]); refused != nil {
			return 0, <-c.verdict
		}
	}
	if err == io.EOF {
		c.copy.Close()
		if wrong := <-c.verdict; wrong != nil {
			return n, wrong
		}
	}
	return n, err
}

func (c *checking) Close() error {
	c.copy.Close()
	return c.src.Close()
}

// sourceName gives the name of a source for people: never more of a database's address than
// where it is.
func sourceName(name string) string {
	u, err := url.Parse(name)
	if err != nil || !isSource(name) {
		return name
	}
	return fmt.Sprintf("%s://%s%s", u.Scheme, u.Host, u.Path)
}

// asSourceError makes an error of rows on their way one for people.
func asSourceError(name string, err error) error {
	var wrong *rows.Error
	if errors.As(err, &wrong) {
		return wrongRow(sourceName(name), wrong)
	}
	return err
}

package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/internal/pgtest"
	"strongroom.dev/source"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/sql/rows"
)

var visits = []agreement.Column{{Name: "person", Type: "integer", Unit: true}, {Name: "ward", Type: "text"}, {Name: "score", Type: "decimal", Scale: 2},
	{Name: "smoker", Type: "boolean"}, {Name: "seen", Type: "date"}}

func read(p source.Postgres) ([]byte, error) {
	r, err := p.Open(context.Background())
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// TestPostgres runs everything against one server, which takes seconds to make.
func TestPostgres(t *testing.T) {
	address := pgtest.Start(t)
	pgtest.Exec(t, address, `CREATE TABLE visits (extra int, person bigint, seen date, ward text, score numeric(18,2), smoker boolean);
		INSERT INTO visits VALUES (1, 1, '2026-01-31', 'a "b", c', 1.5, true), (1, -9223372036854775808, NULL, NULL, NULL, NULL), (1, 3, '0001-01-01', '', -9999999999999999.99, false);
		CREATE SCHEMA "Odd ""schema"""; CREATE TABLE "Odd ""schema""".few (person smallint, ward varchar(20), score numeric, smoker boolean, seen date);
		INSERT INTO "Odd ""schema""".few VALUES (1, E'two\r\nlines', 1.505, true, '2026-01-31');
		CREATE ROLE reader LOGIN; CREATE TABLE hidden AS SELECT * FROM visits`)
	table := source.Postgres{Address: address, Table: "visits", Format: agreement.CSV, Columns: visits}
	t.Run("reads", func(t *testing.T) { reads(t, table) })
	t.Run("refuses", func(t *testing.T) { refuses(t, table) })
	t.Run("streams", func(t *testing.T) { streams(t, table) })
	t.Run("never writes", func(t *testing.T) { neverWrites(t, table) })
}

func reads(t *testing.T, p source.Postgres) {
	csv, err := read(p)
	if err != nil {
		t.Fatal(err)
	}
	want := "person,ward,score,smoker,seen\n1,\"a \"\"b\"\", c\",1.50,true,2026-01-31\n-9223372036854775808,,,,\n3,\"\",-9999999999999999.99,false,0001-01-01\n"
	if diff := cmp.Diff(want, string(csv)); diff != "" {
		t.Error(diff)
	}
	p.Format = agreement.NDJSON
	p.Table, p.Query = "", "SELECT person, ward, score, smoker, seen FROM public.visits WHERE person = 1"
	json, err := read(p)
	if diff := cmp.Diff(`{"person":1,"ward":"a \"b\", c","score":1.50,"smoker":true,"seen":"2026-01-31"}`+"\n", string(json)); err != nil || diff != "" {
		t.Error(err, diff)
	}
	p.Query = `SELECT person::bigint, ward, score::numeric(18,2), smoker, seen FROM "Odd ""schema""".few`
	if json, err = read(p); err != nil || !strings.Contains(string(json), `two\u000d\u000alines`) || !strings.Contains(string(json), "1.51") {
		t.Error(err, string(json))
	}
	if n, err := rows.Check(bytes.NewReader(csv), agreement.CSV, visits, true); n != 3 || err != nil {
		t.Error(n, err)
	}
}

func refuses(t *testing.T, p source.Postgres) {
	answer := func(change func(*source.Postgres)) source.Postgres {
		q := p
		change(&q)
		return q
	}
	query := func(text string) source.Postgres {
		return answer(func(p *source.Postgres) { p.Table, p.Query = "", text })
	}
	const all = "SELECT person, ward, score, smoker, seen FROM visits"
	for name, test := range map[string]struct {
		p    source.Postgres
		want string
	}{
		"zero":            {source.Postgres{}, "postgres://"},
		"password":        {answer(func(p *source.Postgres) { p.Address = "postgres://a:b@localhost/x" }), "without a password"},
		"far, unchecked":  {answer(func(p *source.Postgres) { p.Address = "postgres://a@db.example.org/x" }), "certificate"},
		"nobody there":    {answer(func(p *source.Postgres) { p.Address = "postgres://a@/x?host=/nowhere" }), "that answers"},
		"table and query": {answer(func(p *source.Postgres) { p.Query = all }), "one of"},
		"parquet":         {answer(func(p *source.Postgres) { p.Format = agreement.Parquet }), "csv or ndjson"},
		"no such table":   {answer(func(p *source.Postgres) { p.Table = "none" }), "does not exist"},
		"injected table":  {answer(func(p *source.Postgres) { p.Table = `visits"; DROP TABLE visits; --` }), "does not exist"},
		"no right": {answer(func(p *source.Postgres) {
			p.Address = strings.Replace(p.Address, "strongroom@", "reader@", 1)
			p.Table = "hidden"
		}), "permission denied"},
		"two statements":    {query(all + "; DROP TABLE visits"), "multiple commands"},
		"no rows at all":    {query("SET search_path = x"), "5 columns"},
		"columns swapped":   {query("SELECT ward, person, score, smoker, seen FROM visits"), "column 1 named person"},
		"column less":       {query("SELECT person FROM visits"), "5 columns"},
		"type of a number":  {query("SELECT person::numeric AS person, ward, score, smoker, seen FROM visits"), "bigint"},
		"type of a text":    {query("SELECT person, ward::char(9) AS ward, score, smoker, seen FROM visits"), "varchar"},
		"type of floats":    {query("SELECT person, ward, score::float8 AS score, smoker, seen FROM visits"), "float8"},
		"type of a moment":  {query("SELECT person, ward, score, smoker, seen::timestamp AS seen FROM visits"), "timestamp"},
		"decimal too fine":  {query(`SELECT person, 'a'::text AS ward, score, smoker, seen FROM "Odd ""schema""".few`), `"1.505"`},
		"carriage return":   {query(`SELECT person, ward, 1.5::numeric AS score, smoker, seen FROM "Odd ""schema""".few`), "ndjson"},
		"not a number":      {query("SELECT person, ward, 'NaN'::numeric AS score, smoker, seen FROM visits"), "NaN"},
		"before Christ":     {query("SELECT person, ward, score, smoker, '0044-03-15 BC'::date AS seen FROM visits"), "0044-03-15 BC"},
		"infinite":          {query("SELECT person, ward, score, smoker, 'infinity'::date AS seen FROM visits"), "infinity"},
		"fails on the way":  {query("SELECT n AS person, 'a'::text AS ward, (1 / (2000 - n))::numeric AS score, true AS smoker, NULL::date AS seen FROM generate_series(1::bigint, 9000) n"), "division by zero"},
		"ends on the way":   {query("SELECT n AS person, pg_terminate_backend(pg_backend_pid())::text AS ward, 1::numeric AS score, true AS smoker, NULL::date AS seen FROM generate_series(1::bigint, 9) n"), "terminating connection"},
		"writes on the way": {query("WITH x AS (INSERT INTO visits DEFAULT VALUES RETURNING *) SELECT person, ward, score, smoker, seen FROM x"), "read-only"},
	} {
		_, err := read(test.p)
		var wrong *rows.Error
		if e := verdict.As(err); err == nil || !strings.Contains(err.Error(), test.want) || !errors.As(err, &wrong) && e.Fix == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// More rows than memory would like pass through, and a reader that goes away ends the query.
func streams(t *testing.T, p source.Postgres) {
	p.Table, p.Query = "", "SELECT generate_series(1::bigint, 100000000) AS person, repeat('x', 1000) AS ward, 1::numeric AS score, true AS smoker, NULL::date AS seen"
	r, err := p.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.CopyN(io.Discard, r, 50<<20); err != nil {
		t.Fatal(n, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if r, err = p.Open(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, r); err == nil {
		t.Error("a reading that was ended came to its end")
	}
	r.Close()
}

// What a query changes, a function that it calls included, stays as it was.
func neverWrites(t *testing.T, p source.Postgres) {
	pgtest.Exec(t, p.Address, "CREATE FUNCTION sly() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN DELETE FROM visits; RETURN 1; END $$")
	p.Table, p.Query = "", "SELECT sly() AS person, 'a'::text AS ward, 1::numeric AS score, true AS smoker, NULL::date AS seen"
	if data, err := read(p); err == nil || !strings.Contains(fmt.Sprint(err), "read-only") {
		t.Errorf("%s, %v", data, err)
	}
}

// Package tpch makes the tables and queries of the TPC-H benchmark with the generator in
// DuckDB's library. It is for tests and benchmarks alone: it reaches into DuckDB's memory, and
// no product program links it.
package tpch

/*
#cgo LDFLAGS: -lstdc++
extern void strongroom_load_tpch(void *database);
*/
import "C"

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	duckdb "github.com/duckdb/duckdb-go-bindings"

	"strongroom.dev/agreement"
)

// Table is one of the eight tables, written to a Parquet file.
type Table struct {
	Name   string
	File   string
	Schema []agreement.Column // the first column, or the one named for it, is the unit
	Rows   int64
}

// columns are the tables' columns in our types: keys are integers, prices decimals.
const columns = `
customer c_custkey:integer c_name:text c_address:text c_nationkey:integer c_phone:text c_acctbal:decimal c_mktsegment:text c_comment:text
lineitem l_orderkey:integer l_partkey:integer l_suppkey:integer l_linenumber:integer l_quantity:decimal l_extendedprice:decimal l_discount:decimal l_tax:decimal l_returnflag:text l_linestatus:text l_shipdate:date l_commitdate:date l_receiptdate:date l_shipinstruct:text l_shipmode:text l_comment:text
nation n_nationkey:integer n_name:text n_regionkey:integer n_comment:text
orders o_orderkey:integer o_custkey:integer o_orderstatus:text o_totalprice:decimal o_orderdate:date o_orderpriority:text o_clerk:text o_shippriority:integer o_comment:text
part p_partkey:integer p_name:text p_mfgr:text p_brand:text p_type:text p_size:integer p_container:text p_retailprice:decimal p_comment:text
partsupp ps_partkey:integer ps_suppkey:integer ps_availqty:integer ps_supplycost:decimal ps_comment:text
region r_regionkey:integer r_name:text r_comment:text
supplier s_suppkey:integer s_name:text s_address:text s_nationkey:integer s_phone:text s_acctbal:decimal s_comment:text
`

// Schemas gives the eight tables without rows or files.
func Schemas() (tables []Table) {
	for line := range strings.Lines(strings.TrimSpace(columns)) {
		fields := strings.Fields(line)
		t := Table{Name: fields[0]}
		for i, f := range fields[1:] {
			name, kind, _ := strings.Cut(f, ":")
			c := agreement.Column{Name: name, Type: kind, Unit: i == 0}
			if kind == "decimal" {
				c.Scale = 2
			}
			t.Schema = append(t.Schema, c)
		}
		tables = append(tables, t)
	}
	return tables
}

// session is a database with the generator.
type session struct {
	db   duckdb.Database
	conn duckdb.Connection
}

func open() (*session, error) {
	s := &session{}
	if duckdb.Open("", &s.db) != duckdb.StateSuccess {
		return nil, fmt.Errorf("tpch: can't open a database")
	}
	C.strongroom_load_tpch(unsafe.Pointer(s.db.Ptr))
	if duckdb.Connect(s.db, &s.conn) != duckdb.StateSuccess {
		return nil, fmt.Errorf("tpch: can't connect")
	}
	return s, nil
}

func (s *session) close() {
	duckdb.Disconnect(&s.conn)
	duckdb.Close(&s.db)
}

func (s *session) exec(query string) error {
	var r duckdb.Result
	defer duckdb.DestroyResult(&r)
	if duckdb.Query(s.conn, query, &r) != duckdb.StateSuccess {
		return fmt.Errorf("tpch: %s", duckdb.ResultError(&r))
	}
	return nil
}

// lines gives a query's rows as JSON objects, through a file in dir.
func (s *session) lines(dir, query string, each func(line []byte) error) error {
	path := filepath.Join(dir, "lines.json")
	defer os.Remove(path)
	if err := s.exec("COPY (" + query + ") TO '" + path + "' (FORMAT json)"); err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if err := each([]byte(line)); err != nil {
			return err
		}
	}
	return nil
}

// Queries gives the text of the 22 queries, without a semicolon. dir is for a passing file.
func Queries(dir string) (queries []string, err error) {
	s, err := open()
	if err != nil {
		return nil, err
	}
	defer s.close()
	err = s.lines(dir, "SELECT query FROM tpch_queries() ORDER BY query_nr", func(line []byte) error {
		var q struct{ Query string }
		err := json.Unmarshal(line, &q)
		queries = append(queries, strings.TrimSuffix(strings.TrimSpace(q.Query), ";"))
		return err
	})
	return queries, err
}

// Generate writes the tables of a scale factor to Parquet files in dir.
func Generate(dir string, scale float64) ([]Table, error) {
	s, err := open()
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := s.exec("CALL dbgen(sf = " + strconv.FormatFloat(scale, 'f', -1, 64) + ")"); err != nil {
		return nil, err
	}
	tables := Schemas()
	for i := range tables {
		t := &tables[i]
		t.File = filepath.Join(dir, t.Name+".parquet")
		var selected []string
		for _, c := range t.Schema {
			kind := map[string]string{"integer": "BIGINT", "decimal": "DECIMAL(18,2)", "text": "VARCHAR", "date": "DATE"}[c.Type]
			selected = append(selected, "CAST("+c.Name+" AS "+kind+") AS "+c.Name)
		}
		if err := s.exec("COPY (SELECT " + strings.Join(selected, ", ") + " FROM " + t.Name + ") TO '" + t.File + "' (FORMAT parquet)"); err != nil {
			return nil, err
		}
		err := s.lines(dir, "SELECT count(*) AS rows FROM "+t.Name, func(line []byte) error {
			var n struct{ Rows int64 }
			err := json.Unmarshal(line, &n)
			t.Rows = n.Rows
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return tables, nil
}

// Command bench measures Strongroom side by side with its peers, in one run: each
// comparison alternates the two sides and takes medians. Machines are shared and noisy, so
// look at the ratios.
//
//	go run ./bench [-run REGEX] [-json]
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"text/tabwriter"
)

// suite is one family of rows; run leaves out those that match says no to.
type suite struct {
	about string
	run   func(match func(name string) bool) ([]row, error)
}

func suites() []suite {
	return []suite{
		{"sealed files against the age command", func(match func(string) bool) ([]row, error) {
			return sealBench(sealConfig{Log: os.Stderr, Match: match})
		}},
		{"queries over a sealed input against plain DuckDB", func(match func(string) bool) ([]row, error) {
			return sqlBench(sqlConfig{Match: match})
		}},
		{"TPC-H in a room against plain DuckDB", func(match func(string) bool) ([]row, error) {
			return tpchBench(tpchConfig{Match: match})
		}},
		{"a broker's releases", releaseBench},
		{"attestation, against the peers and as a service", attestBench},
		{"whole rooms", func(match func(string) bool) ([]row, error) {
			return roomBench(roomConfig{Programs: "bin", Match: match})
		}},
		{"rooms in virtual machines, from power-on", machineBench},
		{"containers in rooms against the same files outside", containerBench},
	}
}

func main() {
	if sealChild() {
		return
	}
	run := flag.String("run", "", "only rows whose name matches this `regexp`")
	asJSON := flag.Bool("json", false, "print a JSON list instead of a table")
	flag.Parse()
	if err := bench(*run, *asJSON); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(pattern string, asJSON bool) error {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	rows := []row{}
	for _, s := range suites() {
		fmt.Fprintln(os.Stderr, "bench:", s.about)
		more, err := s.run(re.MatchString)
		if err != nil {
			return fmt.Errorf("%s: %w", s.about, err)
		}
		rows = append(rows, more...)
	}
	if asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	return table(rows)
}

func table(rows []row) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tVALUE\tUNIT\tAGAINST\tRATIO\tGOAL\tMET")
	for _, r := range rows {
		met := ""
		if r.Goal != "" {
			met = map[bool]string{true: "yes", false: "NO"}[r.Met]
		}
		fmt.Fprintf(w, "%s\t%.4g\t%s\t%s\t%s\t%s\t%s\n", r.Name, r.Value, r.Unit, optional(r.Against), optional(r.Ratio), r.Goal, met)
	}
	return w.Flush()
}

func optional(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.4g", v)
}

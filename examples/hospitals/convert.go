//go:build ignore

// Command convert writes alpha.csv and beta.csv from the breast_cancer.csv of scikit-learn:
//
//	apt-get download python3-sklearn && dpkg-deb -x python3-sklearn_*.deb x
//	go run convert.go x/usr/lib/python3/dist-packages/sklearn/datasets/data/breast_cancer.csv
//
// SOURCE.md says where the data comes from and what is changed. It also writes
// alpha-padded.csv, the attack of a hospital that pads a group to expose another's patients.
package main

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
)

// features are the ten measurements, with the digits behind the point that mean, standard
// error and worst value have in the source at most.
var features = []struct {
	name   string
	digits [3]int
}{
	{"radius", [3]int{3, 4, 3}},
	{"texture", [3]int{2, 4, 2}},
	{"perimeter", [3]int{2, 4, 2}},
	{"area", [3]int{1, 3, 1}},
	{"smoothness", [3]int{5, 6, 5}},
	{"compactness", [3]int{5, 6, 5}},
	{"concavity", [3]int{7, 7, 6}},
	{"concave_points", [3]int{6, 6, 6}},
	{"symmetry", [3]int{4, 6, 4}},
	{"fractal_dimension", [3]int{5, 7, 5}},
}

// alphaRows is how many of the 569 rows the first hospital has.
const alphaRows = 300

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: go run convert.go BREAST_CANCER.CSV")
	}
	rows, err := read(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	padded := append([]string(nil), rows[:alphaRows]...)
	for _, file := range []struct {
		name string
		rows []string
	}{
		{"alpha.csv", rows[:alphaRows]},
		{"beta.csv", rows[alphaRows:]},
		{"alpha-padded.csv", append(padded, padding(rows)...)},
	} {
		if err := os.WriteFile(file.name, []byte(header()+"\n"+strings.Join(file.rows, "\n")+"\n"), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

func header() string {
	names := []string{"patient", "diagnosis"}
	for _, kind := range []string{"mean", "se", "worst"} {
		for _, f := range features {
			names = append(names, kind+"_"+f.name)
		}
	}
	return strings.Join(names, ",")
}

func read(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(bufio.NewReader(f))
	r.FieldsPerRecord = -1
	records, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	if len(records) != 570 || strings.Join(records[0], ",") != "569,30,malignant,benign" {
		return nil, fmt.Errorf("%s is not the file expected", path)
	}
	var out []string
	for i, record := range records[1:] {
		row, err := convert(i+1, record)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i+1, err)
		}
		out = append(out, row)
	}
	return out, nil
}

// convert writes one row: its number as the patient, the diagnosis as a word, and every
// measurement with its column's digits, so that no value changes.
func convert(patient int, record []string) (string, error) {
	if len(record) != 31 {
		return "", fmt.Errorf("%d fields", len(record))
	}
	diagnosis := map[string]string{"0": "malignant", "1": "benign"}[record[30]]
	if diagnosis == "" {
		return "", fmt.Errorf("diagnosis %q", record[30])
	}
	out := []string{strconv.Itoa(patient), diagnosis}
	for i, text := range record[:30] {
		digits := features[i%10].digits[i/10]
		whole, fraction, _ := strings.Cut(text, ".")
		if len(fraction) > digits || strings.ContainsAny(text, "eE-") {
			return "", fmt.Errorf("field %d: %q does not have %d digits behind the point", i+1, text, digits)
		}
		out = append(out, whole+"."+fraction+strings.Repeat("0", digits-len(fraction)))
	}
	return strings.Join(out, ","), nil
}

// padding gives twenty made-up benign patients with very large tumours. Benign tumours of
// such a size are rare: beta has a handful. A sum over both hospitals that alpha's made-up
// rows lift over the minimum group would show alpha those few patients of beta's, since it
// knows its own rows and can take them off.
func padding(rows []string) []string {
	var out []string
	for i := range 20 {
		fields := strings.Split(rows[0], ",")
		fields[0], fields[1] = strconv.Itoa(9001+i), "benign"
		out = append(out, strings.Join(fields, ","))
	}
	return out
}

package synthetic_test

import (
	"bytes"
	"encoding/csv"
	"strconv"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/internal/synthetic"
	"strongroom.dev/internal/testrules"
	"strongroom.dev/wire"
)

func TestRows(t *testing.T) {
	in := agreement.Input{Name: "people", Rules: testrules.Groups(5, "lab"), Schema: []agreement.Column{
		{Name: "person", Type: "integer", Unit: true}, {Name: "mail", Type: "text"}, {Name: "spent", Type: "decimal", Scale: 2},
		{Name: "age", Type: "integer"}, {Name: "smoker", Type: "boolean"}, {Name: "seen", Type: "date"}, {Name: "ward", Type: "text"}}}
	in.Rules.Columns = []agreement.ColumnRule{{Name: "mail", Roles: []wire.ID{}, Key: "mail", Form: agreement.Email}, {Name: "spent", Roles: []wire.ID{"aggregate"}, Min: "-1.05", Max: "20.00"}}
	for _, unique := range []bool{true, false} {
		data := synthetic.CSV(in, synthetic.Made{Rows: 600, Seed: 1, Unique: unique})
		if !bytes.Equal(data, synthetic.CSV(in, synthetic.Made{Rows: 600, Seed: 1, Unique: unique})) {
			t.Error("the same numbers made other rows")
		}
		if bytes.Equal(data, synthetic.CSV(in, synthetic.Made{Rows: 600, Seed: 2, Unique: unique})) {
			t.Error("another seed made the same rows")
		}
		rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
		if err != nil || len(rows) != 601 {
			t.Fatal(len(rows), err)
		}
		people, empty := map[string]bool{}, 0
		for _, row := range rows[1:] {
			people[row[0]] = true
			if row[1] != "person"+row[0]+"@example.org" {
				t.Errorf("%s is mailed at %s", row[0], row[1])
			}
			if row[2] == "" {
				empty++
				continue
			}
			if v, err := strconv.ParseFloat(row[2], 64); err != nil || v < -1.05 || v > 20 {
				t.Errorf("spent %s", row[2])
			}
		}
		if want := map[bool]int{true: 600, false: 400}[unique]; len(people) != want || empty == 0 {
			t.Errorf("%d people of %d, %d empty fields", len(people), want, empty)
		}
	}
}

package sql_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/workload/sql"
)

// A list of exclusions has no rules, and a job with one reaches the engine all the same; what is
// no list does not get there without rules.
func TestListsHaveNoRules(t *testing.T) {
	j := job()
	j.Inputs[0].Rules.Exclusions = "objections"
	j.Inputs = append(j.Inputs, sql.Input{Name: "objections", Owner: "alpha", FD: 7, Format: agreement.CSV, Schema: columns()[:1]})
	again, err := sql.ParseJob([]byte(marshal(j)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(j, again); diff != "" {
		t.Error(diff)
	}
	j.Inputs[1].Rules = agreement.Rules{}
	if _, err := sql.ParseJob([]byte(marshal(j))); err == nil {
		t.Error("an input without rules passed")
	}
}

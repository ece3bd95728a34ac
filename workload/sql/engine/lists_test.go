package engine_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/workload/sql/engine"
)

// One list may leave people out of several inputs that a query reads.
func TestOneListOfSeveralInputs(t *testing.T) {
	rows := []byte("mail,tel,spent\nann@example.org,1,1\nbob@example.org,2,2\n")
	job := mails(t, "SELECT count(*) AS n, sum(a.spent) AS s FROM cards a JOIN visits b ON a.mail = b.mail", "mail\nANN@example.org\n")
	for i := range job.Inputs[:2] {
		job.Inputs[i].FD, job.Inputs[i].Owner, job.Inputs[i].Rules.Exclusions = fdOf(t, rows), "bank", "objected"
	}
	got, err := engine.Execute(context.Background(), job, silent)
	if err != nil {
		t.Fatal(err, failureOf(t, err).Detail)
	}
	if diff := cmp.Diff([]string{"1|2"}, table(got)); diff != "" {
		t.Error(diff)
	}
}

package agreement_test

import (
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// TestAuditedWork bounds what brokers remember of answers.
func TestAuditedWork(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*agreement.Agreement)
		where  string
	}{
		"few rows":           {func(a *agreement.Agreement) { a.Outputs[0].MaxRows = agreement.MaxAuditedRows }, ""},
		"too many rows":      {func(a *agreement.Agreement) { a.Outputs[0].MaxRows = agreement.MaxAuditedRows + 1 }, "work[0].output"},
		"few by its rules":   {func(a *agreement.Agreement) { a.Outputs[0].MaxRows, a.Inputs[0].Rules.MaxRows = 20_000, 10_000 }, ""},
		"many and unaudited": {func(a *agreement.Agreement) { a.Outputs[0].MaxRows = 20_000; unaudited(a) }, ""},
	} {
		w := newWorld()
		c.change(&w.study)
		switch err := w.study.Validate(); {
		case c.where == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.where != "":
			if e := verdict.As(err); err == nil || e.Check != "agreement.form" || e.Where != c.where {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func unaudited(a *agreement.Agreement) {
	for _, in := range a.Inputs {
		in.Rules.Differences = agreement.Unaudited
	}
}

func TestQuestionOf(t *testing.T) {
	w := newWorld()
	signed, list := w.signed(), wire.DigestOf([]byte("list"))
	run := agreement.Run{Work: w.study.Work[0].Name, Parameters: map[string]string{w.study.Work[0].Parameters[0].Name: "3"}}
	for _, in := range w.study.InputsOf(w.study.Work[0]) {
		run.Datasets = append(run.Datasets, agreement.RunDataset{Input: in.Name, Statement: wire.DigestOf([]byte(in.Name))})
	}
	q := signed.QuestionOf(run)
	first := w.study.Inputs[0]
	if q.Agreement != signed.Digest() || q.Query != w.study.Work[0].Query || len(q.Tables) != 1 || q.Parameters[0].Value != "3" || q.Joins() ||
		!q.Reads(wire.DigestOf([]byte(first.Name))) || q.Reads(list) || !q.Same(signed.QuestionOf(run)) {
		t.Errorf("%+v", q)
	}
	if q.Size(10) != q.Size(0)+110 || q.Size(0) < int64(len(q.Query)) {
		t.Errorf("%d bytes", q.Size(0))
	}
	other := signed.QuestionOf(run)
	other.Tables[0].Inputs[0].Exclusions = &list
	if q.Same(other) {
		t.Error("other people's rows are the same")
	}
	other = signed.QuestionOf(run)
	other.Query = "SELECT count(*) AS n FROM elsewhere"
	if q.Same(other) {
		t.Error("another query is the same")
	}
}

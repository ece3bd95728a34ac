package main

import (
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
)

// A parameter without its value is told apart from one that is given twice.
func TestParameterMends(t *testing.T) {
	work := agreement.Work{Name: "sizes", Parameters: []agreement.Parameter{{Name: "least", Type: "integer", Min: "0", Max: "9"}}}
	for _, c := range []struct {
		texts []string
		fix   string
	}{
		{[]string{"least"}, "give its value too: --param least=VALUE"},
		{[]string{"least=1", "least=2"}, "give each parameter once"},
		{nil, "--param least=VALUE"},
	} {
		_, err := parseParameters(work, c.texts)
		if e := verdict.As(err); err == nil || e.Check != "--param" || e.Fix != c.fix {
			t.Errorf("%q: %v", c.texts, err)
		}
	}
}

package appraise

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"strongroom.dev/attest"
	"strongroom.dev/verdict"
)

// program is a rule ready to run.
type program struct {
	Rule
	run cel.Program
}

// compile checks every expression: types, names, and that it gives true or false.
func (p *Policy) compile() error {
	if len(p.Rules) == 0 {
		return nil
	}
	env, err := cel.NewEnv(
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("measurements", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("checks", cel.MapType(cel.StringType, cel.BoolType)),
		cel.Variable("warnings", cel.ListType(cel.StringType)),
		cel.Variable("platform", cel.StringType),
		cel.Variable("class", cel.StringType),
		cel.Variable("machine", cel.StringType),
		cel.Variable("generation", cel.StringType),
		cel.Variable("root", cel.StringType),
		cel.Variable("now", cel.TimestampType),
	)
	if err != nil {
		return fmt.Errorf("appraise: %w", err)
	}
	seen := make(map[string]bool)
	for i, r := range p.Rules {
		at := fmt.Sprintf("rules[%d]", i)
		switch {
		case r.ID == "" || seen[string(r.ID)]:
			return p.bad(at+".id", "a name of its own", verdict.Short(string(r.ID)), "")
		case len(r.Require) == 0 || len(r.Require) > MaxExpression:
			return p.bad(at+".require", fmt.Sprintf("an expression of 1 to %d bytes", MaxExpression), fmt.Sprintf("%d bytes", len(r.Require)), "")
		}
		seen[string(r.ID)] = true
		for j, name := range r.Platforms {
			if _, named := p.Platforms[name]; !named {
				return p.bad(fmt.Sprintf("%s.platforms[%d]", at, j), "one of this policy's platforms: "+strings.Join(slices.Sorted(maps.Keys(p.Platforms)), ", "), verdict.Short(name), "")
			}
		}
		run, err := compileRule(env, r)
		if err != nil {
			return p.bad(at+".require", "an expression in CEL that is true or false", verdict.Short(err.Error()), "spec/appraisal.md lists the names an expression may use")
		}
		p.rules = append(p.rules, program{r, run})
	}
	return nil
}

func compileRule(env *cel.Env, r Rule) (cel.Program, error) {
	ast, issues := env.Compile(r.Require)
	if err := issues.Err(); err != nil {
		// The library draws the expression and an arrow below its first line.
		first, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "ERROR: <input>:"), "\n")
		return nil, fmt.Errorf("%s", first)
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("it gives %s", t)
	}
	return env.Program(ast, cel.CostLimit(MaxCost))
}

// judge runs the rule. What can't be evaluated (a claim that is not there) does not hold.
func (r program) judge(f attest.Finding, claims map[string]any, now time.Time) verdict.Check {
	c := verdict.Check{ID: "policy.rule." + string(r.ID), Expected: r.Expected}
	if c.Expected == "" {
		c.Expected = verdict.Short(r.Require)
	}
	checks := make(map[string]bool, len(f.Checks))
	for _, k := range f.Checks {
		checks[k.ID] = k.OK
	}
	out, _, err := r.run.Eval(map[string]any{
		"claims": claims, "measurements": f.Facts.Measurements, "checks": checks, "warnings": f.Warnings,
		"platform": string(f.Facts.Platform), "class": string(f.Facts.Class), "machine": f.Facts.Machine,
		"generation": f.Facts.Generation, "root": f.Facts.Root.String(), "now": now,
	})
	switch {
	case err != nil:
		c.Got = "not to be evaluated: " + verdict.Short(err.Error())
	case out.Value() == true:
		c.OK, c.Got = true, "it holds"
		return c
	case out.Value() != false:
		c.Got = fmt.Sprintf("it gives %s, not true or false: %s", out.Type().TypeName(), verdict.Short(r.Require))
	default:
		c.Got = "it does not hold: " + verdict.Short(r.Require)
	}
	c.Fix = r.Fix
	if c.Fix == "" {
		c.Fix = "see rule " + string(r.ID) + " of the policy"
	}
	return c
}

package guard_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/guard"
)

// fixture is what DuckDB gives for a query of spec/vectors/sql (written by the engine's tests).
type fixture struct {
	Query string          `json:"query"`
	Tree  json.RawMessage `json:"tree"`
	Again json.RawMessage `json:"again"`
	Plan  json.RawMessage `json:"plan"`
}

func job(t testing.TB) *sql.Job {
	t.Helper()
	data, err := os.ReadFile("../../../spec/vectors/sql/job.json")
	if err != nil {
		t.Fatal(err)
	}
	j, err := sql.ParseJob(data)
	if err != nil {
		t.Fatal(err)
	}
	return &j
}

func fixtures(t testing.TB, pattern string) map[string]fixture {
	t.Helper()
	files, err := filepath.Glob("testdata/" + pattern)
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	out := map[string]fixture{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var f fixture
		if err := json.Unmarshal(data, &f); err != nil {
			t.Fatal(file, err)
		}
		out[strings.TrimSuffix(filepath.Base(file), ".json")] = f
	}
	return out
}

func sources(j *sql.Job) []guard.Source {
	return []guard.Source{{Table: "people", Columns: j.Inputs[0].Schema, Owner: true}}
}

func TestRefusedTrees(t *testing.T) {
	for name, f := range fixtures(t, "refused-*.json") {
		_, err := guard.Check(f.Tree, job(t))
		var failure *sql.Failure
		if !errors.As(err, &failure) || failure.Phase != sql.Check || failure.Detail == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAllowedTrees(t *testing.T) {
	j := job(t)
	for name, f := range fixtures(t, "allowed-*.json") {
		q, err := guard.Check(f.Tree, j)
		if err != nil {
			t.Fatal(name, err)
		}
		if err := q.Same(f.Again); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		hash, err := q.CheckPlan(f.Plan, sources(j))
		if err != nil || hash.IsZero() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestZeroQueryLetsNoPlanPass(t *testing.T) {
	for name, f := range fixtures(t, "allowed-*.json") {
		if _, err := new(guard.Query).CheckPlan(f.Plan, sources(job(t))); err == nil {
			t.Errorf("%s passed", name)
		}
	}
}

// change calls use once for every object in the JSON, with the whole changed by change. An
// object for which change gives false is left out.
func change(t *testing.T, data []byte, change func(object map[string]any) bool, use func(changed []byte)) {
	t.Helper()
	for target := 0; ; target++ {
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatal(err)
		}
		n, changed := 0, false
		walk(v, func(o map[string]any) {
			if n == target {
				changed = change(o)
			}
			n++
		})
		if target >= n {
			return
		}
		if changed {
			out, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			use(out)
		}
	}
}

func walk(v any, visit func(map[string]any)) {
	switch x := v.(type) {
	case map[string]any:
		visit(x)
		for _, name := range slices.Sorted(mapKeys(x)) {
			walk(x[name], visit)
		}
	case []any:
		for _, e := range x {
			walk(e, visit)
		}
	}
}

func mapKeys(m map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// A member, class or type that is unknown, anywhere in a tree, is refused.
func TestUnknownInTree(t *testing.T) {
	j := job(t)
	for name, f := range fixtures(t, "allowed-*.json") {
		refused := func(what string) func([]byte) {
			return func(tree []byte) {
				if _, err := guard.Check(tree, j); err == nil {
					t.Errorf("%s: %s passed:\n%s", name, what, tree)
				}
			}
		}
		change(t, f.Tree, func(o map[string]any) bool {
			_, isParameter := o["key"] // the list of parameters is not read: references to them are
			o["unheard_of"] = true
			return !isParameter
		}, refused("an unknown member"))
		for _, member := range []string{"class", "type", "id"} {
			change(t, f.Tree, func(o map[string]any) bool {
				_, isText := o[member].(string)
				// The kinds of ORDER BY inside a call are empty frames, read by their contents.
				_, isFrame := o["orders"]
				o[member] = "UNHEARD_OF"
				return isText && !(isFrame && member == "type") && o["type_info"] == nil == (member == "id") && !reference(o)
			}, refused("an unknown "+member))
		}
	}
}

// reference: a node that is known by its class alone.
func reference(o map[string]any) bool {
	_, column := o["column_names"]
	_, identifier := o["identifier"]
	_, value := o["value"]
	_, child := o["cast_type"]
	_, cases := o["case_checks"]
	return column || identifier || value || child || cases
}

// The same for plans, but for the parts about where a scan comes from, which are checked by
// what they must say.
func TestUnknownInPlan(t *testing.T) {
	j := job(t)
	for name, f := range fixtures(t, "allowed-[bf]*.json") {
		q, err := guard.Check(f.Tree, j)
		if err != nil {
			t.Fatal(err)
		}
		change(t, f.Plan, func(o map[string]any) bool {
			for _, member := range []string{"expression_class", "index_type", "error"} {
				if _, found := o[member]; found {
					o["unheard_of"] = true
					return true
				}
			}
			kind, _ := o["type"].(string)
			o["unheard_of"] = true
			return strings.HasPrefix(kind, "LOGICAL_")
		}, func(plan []byte) {
			if _, err := q.CheckPlan(plan, sources(j)); err == nil {
				t.Errorf("%s: an unknown member passed:\n%s", name, plan)
			}
		})
		for _, member := range []string{"expression_class", "type", "name", "table", "catalog"} {
			change(t, f.Plan, func(o map[string]any) bool {
				text, isText := o[member].(string)
				o[member] = "UNHEARD_OF"
				if member == "type" {
					return strings.HasPrefix(text, "LOGICAL_") || strings.HasPrefix(text, "OPERATOR_") && text != "OPERATOR_CAST"
				}
				return isText
			}, func(plan []byte) {
				if _, err := q.CheckPlan(plan, sources(j)); err == nil {
					t.Errorf("%s: an unknown %s passed:\n%s", name, member, plan)
				}
			})
		}
	}
}

// A rewritten query that DuckDB reads back in any other way is refused.
func TestSame(t *testing.T) {
	j := job(t)
	for name, f := range fixtures(t, "allowed-*.json") {
		q, err := guard.Check(f.Tree, j)
		if err != nil {
			t.Fatal(err)
		}
		change(t, f.Again, func(o map[string]any) bool { o["alias"] = "other"; return true }, func(tree []byte) {
			if q.Same(tree) == nil {
				t.Errorf("%s passed with %s", name, tree)
			}
		})
		if q.Same([]byte("{}")) == nil || q.Same(nil) == nil {
			t.Errorf("%s passed with nothing", name)
		}
	}
}

func TestDeepTree(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)
	if _, err := guard.Check([]byte(deep), job(t)); err == nil {
		t.Error("a deep tree passed")
	}
	if _, err := new(guard.Query).CheckPlan([]byte(deep), nil); err == nil {
		t.Error("a deep plan passed")
	}
}

// unitsOnlyCounted fails if the unit column stands anywhere but bare in a count.
func unitsOnlyCounted(t *testing.T, tree []byte) {
	var v any
	if err := json.Unmarshal(tree, &v); err != nil {
		t.Fatal(err)
	}
	all, counted := 0, 0
	isUnit := func(v any) bool {
		o, _ := v.(map[string]any)
		names, _ := o["column_names"].([]any)
		return slices.Contains(names, any("person"))
	}
	walk(v, func(o map[string]any) {
		if isUnit(o) {
			all++
		}
		if o["function_name"] == "count" {
			for _, c := range o["children"].([]any) {
				if isUnit(c) {
					counted++
				}
			}
		}
	})
	if all != counted {
		t.Errorf("the unit stands %d times, %d of them in a count: %s", all, counted, tree)
	}
}

func FuzzCheck(f *testing.F) {
	for _, fix := range fixtures(f, "*.json") {
		if len(fix.Tree) < 2000 {
			f.Add([]byte(fix.Tree))
		}
	}
	j := job(f)
	f.Fuzz(func(t *testing.T, tree []byte) {
		q, err := guard.Check(tree, j)
		if err != nil {
			var failure *sql.Failure
			if !errors.As(err, &failure) || failure.Phase != sql.Check {
				t.Fatalf("not a failed check: %v", err)
			}
			return
		}
		rewritten, err := q.Rewritten()
		if err != nil {
			t.Fatal(err)
		}
		unitsOnlyCounted(t, rewritten)
		if err := q.Same(rewritten); err != nil {
			t.Fatal(err)
		}
		if len(q.Columns()) == 0 {
			t.Fatal("a query without outputs passed")
		}
	})
}

func FuzzCheckPlan(f *testing.F) {
	j := job(f)
	// A small seed: what is mutated is the shape, and minimising large ones takes the time.
	fix := fixtures(f, "allowed-count.json")["allowed-count"]
	q, err := guard.Check(fix.Tree, j)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(fix.Plan))
	f.Fuzz(func(t *testing.T, plan []byte) {
		_, err := q.CheckPlan(plan, sources(j))
		var failure *sql.Failure
		if err != nil && !errors.As(err, &failure) {
			t.Fatalf("not a failed check: %v", err)
		}
	})
}

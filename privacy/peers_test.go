package privacy_test

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"os"
	"os/exec"
	"testing"

	"strongroom.dev/privacy"
	"strongroom.dev/wire"
)

// answers are what the peers say to the questions of one kind, in their order.
type answers map[string][]json.RawMessage

// ask runs scripts/privacy-peers once: OpenDP 0.16.0 and dp-accounting 0.6.0 in the Python of
// STRONGROOM_PYTHON, which `scripts/setup test` makes.
func ask(t *testing.T, questions map[string][]map[string]any) answers {
	t.Helper()
	python := os.Getenv("STRONGROOM_PYTHON")
	if python == "" {
		python = "../.python/bin/python"
	}
	const found = `import sys; from importlib.util import find_spec; sys.exit(not (find_spec("opendp") and find_spec("dp_accounting")))`
	if err := exec.Command(python, "-c", found).Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no opendp 0.16.0 and dp-accounting 0.6.0 for STRONGROOM_PYTHON: %v", err)
		}
		t.Skip("no opendp and dp-accounting to compare with: `scripts/setup test` installs them")
	}
	input, err := json.Marshal(questions)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "../scripts/privacy-peers")
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the peers: %v: %s", err, stderr.String())
	}
	var got answers
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	for kind, asked := range questions {
		if len(got[kind]) != len(asked) {
			t.Fatalf("%d answers to %d questions of %s", len(got[kind]), len(asked), kind)
		}
	}
	return got
}

func (a answers) read(t *testing.T, kind string, i int, into any) {
	t.Helper()
	if err := json.Unmarshal(a[kind][i], into); err != nil {
		t.Fatal(err)
	}
}

type question = map[string]any

// TestPeers holds costs, thresholds, scores and noise against two independent
// implementations. Theirs is drawn anew each time: the bound on its likeness to ours is so
// wide that only another distribution misses it.
func TestPeers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two Python libraries")
	}
	rhos := []privacy.Rho{1e9, 1e10, 1e11, 1e12, 4e12}
	deltas := []string{"0.01", "0.000001", "0.0000000001"}
	values := []int64{1, 2, 3, 50, 50, 60, 99, 100}
	questions := map[string][]question{
		"laplace":  {{"scale": 2.5, "change": 3}, {"scale": 240.0, "change": 30}},
		"gaussian": {{"scale": 2.5, "change": 3}, {"scale": 60.0, "change": 30}},
		"composed": {{"epsilon": 0.1, "runs": 100, "delta": 1e-6}, {"epsilon": 0.5, "runs": 30, "delta": 1e-9}},
		"scores":   {{"candidates": []int{0, 25, 50, 75, 100}, "alpha": 0.9, "values": values}, {"candidates": []int{0, 25, 50, 75, 100}, "alpha": 0.5, "values": values}},
		"draws": {
			{"mechanism": "laplace", "scale": 2.5, "count": 10_000}, {"mechanism": "laplace", "scale": 0.4, "count": 10_000},
			{"mechanism": "gaussian", "scale": 3.0, "count": 10_000}, {"mechanism": "gaussian", "scale": 0.7, "count": 10_000},
		},
	}
	for _, rho := range rhos {
		for _, d := range deltas {
			questions["epsilon"] = append(questions["epsilon"], question{"rho": float64(rho) / 1e12, "delta": float64(delta(t, d)) / 1e18})
		}
	}
	plans := thresholds(t, questions)
	got := ask(t, questions)
	for i, rho := range rhos {
		for j, d := range deltas {
			comparedEpsilon(t, got, i*len(deltas)+j, rho, delta(t, d))
		}
	}
	comparedNoise(t, got)
	comparedComposition(t, got)
	comparedThresholds(t, got, questions, plans)
	comparedScores(t, got)
	comparedDraws(t, got, questions["draws"])
}

// comparedEpsilon: OpenDP's is the same bound; dp-accounting's by a few orders is looser; the
// least that a Gaussian of that rho has is below.
func comparedEpsilon(t *testing.T, got answers, i int, rho privacy.Rho, d privacy.Delta) {
	t.Helper()
	var peer [3]float64
	got.read(t, "epsilon", i, &peer)
	e, err := privacy.EpsilonOf(rho, d)
	if err != nil {
		t.Fatal(err)
	}
	ours := float64(e) / 1e6
	if ours < peer[0]*(1-1e-7) || ours > peer[0]*(1+1e-4)+2e-6 {
		t.Errorf("rho %s at delta %s: epsilon %g, OpenDP's is %g", rho, d, ours, peer[0])
	}
	if ours > peer[1]*(1+1e-9)+1e-6 {
		t.Errorf("rho %s at delta %s: epsilon %g, by Renyi orders it is %g", rho, d, ours, peer[1])
	}
	// Its least is rounded up to a grid of 1/1000.
	if ours < peer[2]-2e-3 {
		t.Errorf("rho %s at delta %s: epsilon %g is less than a Gaussian has: %g", rho, d, ours, peer[2])
	}
}

// comparedNoise: the loss that our scales are made for is the one that OpenDP finds in them.
func comparedNoise(t *testing.T, got answers) {
	t.Helper()
	for kind, cases := range map[wire.ID][]*big.Rat{privacy.Laplace: {big.NewRat(6, 5), big.NewRat(1, 8)}, privacy.Gaussian: {big.NewRat(18, 25), big.NewRat(1, 8)}} {
		for i, share := range cases {
			var loss float64
			got.read(t, string(kind), i, &loss)
			n, err := privacy.NewNoise(kind, 1, big.NewInt([]int64{3, 30}[i]), share)
			if err != nil {
				t.Fatal(err)
			}
			scale, _ := n.Scale().Float64()
			if kind == privacy.Gaussian {
				scale = math.Sqrt(scale)
			}
			want, _ := share.Float64()
			if theirs := map[wire.ID][]float64{privacy.Laplace: {2.5, 240}, privacy.Gaussian: {2.5, 60}}[kind][i]; math.Abs(scale-theirs) > 1e-9*theirs || math.Abs(loss-want) > 1e-9 {
				t.Errorf("%s: scale %g for a loss of %g; OpenDP finds %g in %g", kind, scale, want, loss, theirs)
			}
		}
	}
}

// comparedComposition: many pure runs in books of gaussian tell at least what the exact loss
// of so many Laplace mechanisms is.
func comparedComposition(t *testing.T, got answers) {
	t.Helper()
	for i, c := range []struct {
		epsilon privacy.Epsilon
		runs    int64
		delta   string
	}{{1e5, 100, "0.000001"}, {5e5, 30, "0.000000001"}} {
		var least float64
		got.read(t, "composed", i, &least)
		e, err := privacy.EpsilonOf(privacy.RhoOfPure(c.epsilon)*privacy.Rho(c.runs), delta(t, c.delta))
		if err != nil {
			t.Fatal(err)
		}
		if ours := float64(e) / 1e6; ours < least || ours > 1.5*least {
			t.Errorf("%d runs of %s: epsilon %g, the least is %g", c.runs, c.epsilon, ours, least)
		}
	}
}

// thresholds asks for the delta of thresholds that plans have, and of one lower.
func thresholds(t *testing.T, questions map[string][]question) (plans []privacy.Query) {
	t.Helper()
	for _, c := range []struct {
		cost   privacy.Cost
		groups int64
	}{{privacy.Cost{Epsilon: 1e6, Rho: 5e11, Delta: 1e12}, 1}, {privacy.Cost{Epsilon: 2e5, Rho: 2e10, Delta: 1e10}, 5}} {
		q := privacy.Query{Mechanism: privacy.Laplace, Inputs: []privacy.Input{input("x", "a", c.groups, 1, c.cost)}, Outputs: everything(0, 1)[:1]}
		q.Inputs[0].MinGroup = 1
		p, err := q.Plan()
		if err != nil {
			t.Fatal(err)
		}
		scale, _ := p.SelectNoise(0).Scale().Float64()
		for _, lower := range []int64{1, 2} {
			questions["hidden"] = append(questions["hidden"], question{"scale": scale, "groups": c.groups, "threshold": p.Threshold(0) - lower})
		}
		plans = append(plans, q)
	}
	return plans
}

func comparedThresholds(t *testing.T, got answers, questions map[string][]question, plans []privacy.Query) {
	t.Helper()
	for i, q := range plans {
		allowed := float64(q.Inputs[0].Cost.Delta) / 1e18
		var at, lower float64
		got.read(t, "hidden", 2*i, &at)
		got.read(t, "hidden", 2*i+1, &lower)
		if at > allowed*(1+1e-9) || lower < allowed {
			t.Errorf("%v: OpenDP finds delta %g, and %g one lower; allowed are %g", questions["hidden"][2*i], at, lower, allowed)
		}
	}
}

// comparedScores: OpenDP's scores are ours times the same number.
func comparedScores(t *testing.T, got answers) {
	t.Helper()
	for i, of := range []int64{9, 5} {
		var peer [2]json.RawMessage
		got.read(t, "scores", i, &peer)
		var scores []float64
		var change float64
		if json.Unmarshal(peer[0], &scores) != nil || json.Unmarshal(peer[1], &change) != nil {
			t.Fatalf("scores: %s", peer)
		}
		out := privacy.Output{Column: "q", Kind: privacy.Quantile, Min: big.NewInt(0), Max: big.NewInt(100), Of: of, In: 10, Candidates: 5}
		q := one(privacy.Laplace, pure, true, out)
		var rows []row
		for j, v := range []int64{1, 2, 3, 50, 50, 60, 99, 100} {
			rows = append(rows, row{0, []int64{int64(j + 1)}, v})
		}
		cell := cellOf(q, rows, 0, 0, 0)
		ours := planned(t, q).Exact(0, cell.Values[0])
		for j, s := range ours {
			f, _ := new(big.Float).SetInt(s).Float64()
			if unit := change / float64(max(of, 10-of)); math.Abs(f*unit-scores[j]) > 1e-6*unit {
				t.Errorf("%d/10: candidate %d has score %g, OpenDP's is %g", of, j, f*unit, scores[j])
			}
		}
	}
}

// comparedDraws: two samples of one distribution, by the chi-squared statistic of two samples.
func comparedDraws(t *testing.T, got answers, asked []question) {
	t.Helper()
	for i, q := range asked {
		var theirs []int
		got.read(t, "draws", i, &theirs)
		scale := new(big.Rat).SetFloat64(q["scale"].(float64))
		s := stream("peers")
		count := map[int][2]float64{}
		for _, x := range theirs {
			ours := s.Laplace
			parameter := scale
			if q["mechanism"] == "gaussian" {
				ours, parameter = s.Gaussian, new(big.Rat).Mul(scale, scale)
			}
			for k, v := range [2]int{x, int(ours(parameter).Int64())} {
				v = min(max(v, -15), 15)
				c := count[v]
				c[k]++
				count[v] = c
			}
		}
		statistic, cells := 0.0, 0.0
		for _, c := range count {
			if c[0]+c[1] >= 20 {
				statistic += (c[0] - c[1]) * (c[0] - c[1]) / (c[0] + c[1])
				cells++
			}
		}
		k := cells - 1
		if z := (math.Cbrt(statistic/k) - (1 - 2/(9*k))) / math.Sqrt(2/(9*k)); z > 6.5 {
			t.Errorf("%v: OpenDP's draws differ from ours: chi-squared %.1f over %.0f cells", q, statistic, cells)
		}
	}
}

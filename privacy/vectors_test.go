package privacy_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/privacy"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var update = flag.Bool("update", false, "write what the vectors expect anew")

// vector is one case of spec/privacy.md: one of its members beside what and expect.
type vector struct {
	What   string `json:"what"`
	Expect string `json:"expect"` // "success", or the check that refuses

	Budget *budgetVector `json:"budget,omitempty"`
	Told   *toldVector   `json:"told,omitempty"`
	Stream *streamVector `json:"stream,omitempty"`
	Plan   *planVector   `json:"plan,omitempty"`
}

// budgetVector is a budget, what runs cost of it, and the books after each.
type budgetVector struct {
	Budget privacy.Budget `json:"budget"`
	Limit  privacy.Cost   `json:"limit"`
	Runs   []spendVector  `json:"runs"`
}

type spendVector struct {
	Epsilon privacy.Epsilon `json:"epsilon"`
	Cost    privacy.Cost    `json:"cost"`
	Spent   privacy.Cost    `json:"spent"`
	Refused bool            `json:"refused,omitempty"`
}

// toldVector is a rho as an epsilon, and back.
type toldVector struct {
	Rho     privacy.Rho     `json:"rho"`
	Delta   privacy.Delta   `json:"delta"`
	Epsilon privacy.Epsilon `json:"epsilon"`
	Back    privacy.Rho     `json:"back"`
}

// streamVector is a stream's first bytes, and what is drawn of it from its start.
type streamVector struct {
	Seed    string    `json:"seed"` // hex
	Column  string    `json:"column"`
	Group   []*string `json:"group"` // null: NULL
	Key     string    `json:"key"`   // hex
	Purpose string    `json:"purpose"`
	Bytes   string    `json:"bytes"` // hex, 72 of them
	Draws   []drawing `json:"draws"`
}

type drawing struct {
	Mechanism wire.ID  `json:"mechanism"`
	Groups    int64    `json:"groups"`
	Each      string   `json:"each"`
	Share     string   `json:"share"`
	Scale     string   `json:"scale"`
	Drawn     []string `json:"drawn"`
}

// planVector is a query with its noise, and groups with their answers.
type planVector struct {
	Query      queryVector    `json:"query"`
	Noises     [][]string     `json:"noises"` // of each output, its scales; of a quantile its rate
	Selections []selectVector `json:"selections"`
	Seed       string         `json:"seed"`
	Groups     []groupVector  `json:"groups"`
}

type selectVector struct {
	Scale string `json:"scale"`
	Least int64  `json:"least"`
}

type queryVector struct {
	Mechanism wire.ID        `json:"mechanism"`
	Known     bool           `json:"known"`
	Inputs    []inputVector  `json:"inputs"`
	Outputs   []outputVector `json:"outputs"`
}

type inputVector struct {
	Name      wire.ID      `json:"name"`
	Table     wire.ID      `json:"table"`
	MaxGroups int64        `json:"max_groups"`
	MaxRows   int64        `json:"max_rows"`
	Stability int64        `json:"stability"`
	MinGroup  int64        `json:"min_group"`
	Cost      privacy.Cost `json:"cost"`
}

type outputVector struct {
	Column     string       `json:"column"`
	Kind       privacy.Kind `json:"kind"`
	Table      wire.ID      `json:"table,omitempty"`
	Min        *big.Int     `json:"min,omitempty"`
	Max        *big.Int     `json:"max,omitempty"`
	Weight     int64        `json:"weight,omitempty"`
	Of         int64        `json:"of,omitempty"`
	In         int64        `json:"in,omitempty"`
	Candidates int64        `json:"candidates,omitempty"`
}

type groupVector struct {
	Group  []*string     `json:"group"`
	Units  []int64       `json:"units"`
	Values []valueVector `json:"values"`
	// Answer is each output as a fraction; none where the group does not show.
	Answer []string `json:"answer,omitempty"`
}

type valueVector struct {
	Count   int64    `json:"count,omitempty"`
	Sum     *big.Int `json:"sum,omitempty"`
	Squares *big.Int `json:"squares,omitempty"`
	Below   []int64  `json:"below,omitempty"`
	Above   []int64  `json:"above,omitempty"`
}

const vectors = "../spec/vectors/privacy"

func TestVectors(t *testing.T) {
	files, err := filepath.Glob(vectors + "/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d vectors in %s, %v", len(files), vectors, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var v, got vector
			decoder := json.NewDecoder(bytes.NewReader(data))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&v); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(data, &got); err != nil {
				t.Fatal(err)
			}
			got.Expect = outcome(run(&got))
			if *update {
				text, err := json.MarshalIndent(got, "", "  ")
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			bigs := cmp.Comparer(func(a, b *big.Int) bool { return a == b || a != nil && b != nil && a.Cmp(b) == 0 })
			if d := cmp.Diff(v, got, bigs); d != "" && !*update {
				t.Errorf("(-vector +ours):\n%s", d)
			}
		})
	}
}

func outcome(err error) string {
	var refusal *verdict.Error
	switch {
	case err == nil:
		return "success"
	case errors.As(err, &refusal):
		return refusal.Check
	}
	return err.Error()
}

// run computes a vector's results in place.
func run(v *vector) error {
	switch {
	case v.Budget != nil:
		return v.Budget.run()
	case v.Told != nil:
		return v.Told.run()
	case v.Stream != nil:
		return v.Stream.run()
	case v.Plan != nil:
		return v.Plan.run()
	}
	return errors.New("nothing to do")
}

func (v *budgetVector) run() (err error) {
	if v.Limit, err = v.Budget.Limit(); err != nil {
		return err
	}
	spent := privacy.Cost{}
	for i := range v.Runs {
		r := &v.Runs[i]
		if r.Cost, err = v.Budget.Run(r.Epsilon); err != nil {
			return err
		}
		after, err := v.Budget.Spend(spent, r.Cost)
		if r.Refused = err != nil; !r.Refused {
			spent = after
		}
		r.Spent = spent
	}
	return nil
}

func (v *toldVector) run() (err error) {
	if v.Epsilon, err = privacy.EpsilonOf(v.Rho, v.Delta); err != nil {
		return err
	}
	v.Back, err = privacy.RhoOf(v.Epsilon, v.Delta)
	return err
}

func seedOf(text string) (seed [32]byte, err error) {
	_, err = hex.Decode(seed[:], []byte(text))
	return seed, err
}

func (v *streamVector) run() error {
	seed, err := seedOf(v.Seed)
	if err != nil {
		return err
	}
	key := privacy.CellKey(v.Group)
	v.Key = hex.EncodeToString(key)
	start := func() *privacy.Stream { return privacy.NewStream(seed, v.Column, key, v.Purpose) }
	first := make([]byte, 72)
	start().Read(first)
	v.Bytes = hex.EncodeToString(first)
	for i := range v.Draws {
		d := &v.Draws[i]
		each, _ := new(big.Int).SetString(d.Each, 10)
		share, _ := new(big.Rat).SetString(d.Share)
		n, err := privacy.NewNoise(d.Mechanism, d.Groups, each, share)
		if err != nil {
			return err
		}
		d.Scale, d.Drawn = n.Scale().String(), nil
		s := start()
		for range 12 {
			d.Drawn = append(d.Drawn, n.Draw(s).String())
		}
	}
	return nil
}

func (v *planVector) run() error {
	q := privacy.Query{Mechanism: v.Query.Mechanism, Known: v.Query.Known}
	for _, in := range v.Query.Inputs {
		q.Inputs = append(q.Inputs, privacy.Input(in))
	}
	for _, out := range v.Query.Outputs {
		q.Outputs = append(q.Outputs, privacy.Output(out))
	}
	v.Noises, v.Selections = nil, nil
	p, err := q.Plan()
	if err != nil {
		return err
	}
	for i, out := range q.Outputs {
		scales := []string{}
		for _, n := range p.Noises(i) {
			scales = append(scales, n.Scale().String())
		}
		if out.Kind == privacy.Quantile {
			scales = append(scales, p.Rate(i).String())
		}
		v.Noises = append(v.Noises, scales)
	}
	for i := range p.Hides() {
		v.Selections = append(v.Selections, selectVector{p.SelectNoise(i).Scale().String(), p.Threshold(i)})
	}
	seed, err := seedOf(v.Seed)
	if err != nil {
		return err
	}
	for i := range v.Groups {
		g := &v.Groups[i]
		g.Answer = nil
		cell := privacy.Cell{Key: privacy.CellKey(g.Group), Units: g.Units}
		for _, value := range g.Values {
			cell.Values = append(cell.Values, privacy.Value(value))
		}
		answer, err := p.Release(seed, cell)
		if err != nil {
			return err
		}
		for _, x := range answer {
			g.Answer = append(g.Answer, x.String())
		}
	}
	return nil
}

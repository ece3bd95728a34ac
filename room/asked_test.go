package room_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/release"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// showing answers with these groups shown of alpha's rows, and keeps what the engine was told
// of earlier questions.
func showing(groups []byte, told *map[wire.ID][]sql.Asked) func(context.Context, sql.Job, map[wire.ID]string) (sql.Result, string, error) {
	return func(_ context.Context, job sql.Job, _ map[wire.ID]string) (sql.Result, string, error) {
		*told = map[wire.ID][]sql.Asked{}
		for _, in := range job.Inputs {
			(*told)[in.Name] = in.Asked
		}
		r := answer()
		r.Shown = []sql.Shown{{Input: "alpha-rows", Groups: groups}, {Input: "beta-rows"}}
		return r, "", nil
	}
}

func least(n string) func(*agreement.Run) {
	return func(r *agreement.Run) { r.Parameters = map[string]string{"least": n} }
}

// What was shown reaches the next room's engine, by way of its owner's broker alone.
func TestEarlierQuestions(t *testing.T) {
	w := newWorld(t, nil)
	var told map[wire.ID][]sql.Asked
	groups := bytes.Repeat([]byte{5}, 16)
	w.engine = showing(groups, &told)
	must(t, w.run(w.request(least("1"))))
	if len(told["alpha-rows"])+len(told["beta-rows"]) != 0 {
		t.Errorf("before anything was asked: %v", told)
	}
	sizes := map[int]bool{}
	var mu sync.Mutex // owns sizes
	w.ask = func(_ context.Context, stream, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		if path == release.PathLive {
			if r, err := release.ParseLiveRequest(body); err == nil && r.Commitment != nil {
				mu.Lock()
				sizes[len(r.Shown)] = true
				mu.Unlock()
			}
		}
		data, err := next(body)
		if path == release.PathAsked && bytes.Contains(data, []byte("SELECT")) {
			t.Error("the host reads what was asked")
		}
		return data, err
	}
	must(t, w.run(w.request(least("2"))))
	question := sql.Asked{Query: w.agreement.Work[0].Query, Parameters: []sql.Parameter{{Name: "least", Type: "integer", Value: "1"}},
		Tables: []sql.Table{{Name: "patients", Inputs: []wire.ID{"alpha-rows", "beta-rows"}}}, Shown: groups}
	nothing := question
	nothing.Shown = []byte{}
	if diff := cmp.Diff(map[wire.ID][]sql.Asked{"alpha-rows": {question}, "beta-rows": {nothing}}, told); diff != "" {
		t.Error(diff)
	}
	// A run that fails tells brokers as much.
	w.engine = func(context.Context, sql.Job, map[wire.ID]string) (sql.Result, string, error) {
		return sql.Result{}, "", errors.New("gone")
	}
	must(t, w.run(w.request(least("3"))))
	if len(sizes) != 1 || !sizes[1120+16+100*release.GroupSize] {
		t.Errorf("what is shown has sizes %v", sizes)
	}
	// The same question is held against those before it.
	w.engine = showing(groups, &told)
	must(t, w.run(w.request(least("2"))))
	if len(told["alpha-rows"]) != 1 {
		t.Errorf("asked again, held against %d", len(told["alpha-rows"]))
	}
}

// More groups than rows can be shown are not let out.
func TestTooManyGroups(t *testing.T) {
	w := newWorld(t, nil)
	var told map[wire.ID][]sql.Asked
	w.engine = showing(bytes.Repeat([]byte{5}, 101*release.GroupSize), &told)
	request := w.request(nil)
	must(t, w.run(request))
	head, body := w.opened(request)
	d, _ := w.details("alpha")
	if head.Status != room.Failed || body != "" || d.Code != "output.rows" {
		t.Errorf("%v %q %+v", head, body, d)
	}
}

// Brokers that do not say what was asked have no run.
func TestEarlierQuestionsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(next func() ([]byte, error)) ([]byte, error)
		check  string
	}{
		"an altered answer": {func(next func() ([]byte, error)) ([]byte, error) {
			data, err := next()
			return bytes.Replace(data, []byte("alpha-rows"), []byte("alpha-rowz"), 1), err
		}, "message.signature"},
		"a broker's no": {func(func() ([]byte, error)) ([]byte, error) {
			return nil, verdict.Refuse("asked.inputs", "", "", "")
		}, "lease.refused"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.ask = func(_ context.Context, stream, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				if path == release.PathAsked && strings.Contains(stream, "alpha") {
					return c.change(func() ([]byte, error) { return next(body) })
				}
				return next(body)
			}
			if e := refusal(t, w, w.config(), w.start(w.request(nil))); e.Check != c.check {
				t.Errorf("%v", e)
			}
		})
	}
}

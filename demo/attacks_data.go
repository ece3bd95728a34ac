package demo

import (
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/host"
	"strongroom.dev/verdict"
)

// onData are attacks on what comes in.
func (e *enemy) onData() []attempt {
	file := []string{"input.file", "input.size", "input.header"}
	return []attempt{
		e.inRoom("sealed file altered", file, func(job *host.Job, _ *host.Config) error {
			return e.spoil(&job.Inputs[0], func(data []byte) []byte { data[len(data)/2] ^= 1; return data })
		}),
		e.inRoom("sealed file truncated", file, func(job *host.Job, _ *host.Config) error {
			return e.spoil(&job.Inputs[0], func(data []byte) []byte { return data[:len(data)-1000] })
		}),
		e.inRoom("another file fed under an agreed name", file, func(job *host.Job, _ *host.Config) error {
			job.Inputs[0].Path = job.Inputs[1].Path
			return nil
		}),
		{"another owner's header listed as one's own input", e.confuse, []string{"input.owner", "inputs.complete"}},
		{"a hospital padding a group to expose one patient", e.pad, []string{"output.min-group"}},
		{"an older dataset version served", e.serveOld, []string{"input.current"}},
	}
}

// spoil gives an input a changed copy of its sealed file.
func (e *enemy) spoil(in *host.Input, change func([]byte) []byte) error {
	data, err := os.ReadFile(in.Path)
	if err != nil {
		return err
	}
	in.Path = e.path("spoiled.age")
	return os.WriteFile(in.Path, change(data), 0o600)
}

// confuse has Beta, the researcher and the host work together: Beta states that Alpha's
// sealed file is a dataset of its own, and Alpha's broker is asked to open it as such.
func (e *enemy) confuse(ctx context.Context) (string, error, error) {
	stolen := e.path("stolen.statement.json")
	if err := e.stateStolen(stolen); err != nil {
		return "", nil, err
	}
	sealed, _, err := e.current(alpha)
	if err != nil {
		return "", nil, err
	}
	input, err := inputRequest("beta-patients", sealed, stolen)
	if err != nil {
		return "", nil, err
	}
	statement, err := agreement.ParseDataset(input.Statement)
	if err != nil {
		return "", nil, err
	}
	run, err := e.request(e.study1, questions[1], func(r *agreement.Run) { r.Datasets[1].Statement = statement.Digest() })
	if err != nil {
		return "", nil, err
	}
	x, err := newIntruder(e.root, e.measured, e.study1, e.parties, run)
	if err != nil {
		return "", nil, err
	}
	return e.ask(ctx, x, alpha, input)
}

// stateStolen writes Beta's signed statement about Alpha's sealed file.
func (e *enemy) stateStolen(to string) error {
	_, statement, err := e.current(alpha)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(statement)
	if err != nil {
		return err
	}
	alphas, err := agreement.ParseDataset(data)
	if err != nil {
		return err
	}
	body := alphas.Dataset
	body.Owner = e.party(beta).Name
	stolen, err := agreement.NewDataset(body)
	if err != nil {
		return err
	}
	key, err := e.signingKey(beta)
	if err != nil {
		return err
	}
	if err := stolen.Document.Sign(key); err != nil {
		return err
	}
	out, err := stolen.Document.Encode()
	if err != nil {
		return err
	}
	return os.WriteFile(to, out, 0o600)
}

// pad has Alpha publish invented patients beside its own, so that the few patients of Beta
// in a group would no longer be few. The run is honest; what must not come out is a row that
// shows them.
func (e *enemy) pad(ctx context.Context) (string, error, error) {
	if err := e.republish(ctx, "alpha-padded.csv"); err != nil {
		return "", nil, err
	}
	r, err := e.run(ctx, e.quiet, "study.json", question{"sizes", "threshold=17.0"}, "padded")
	if err != nil {
		return "", nil, err
	}
	text, err := e.read(ctx, e.quiet, r.Results[0].File)
	if err != nil {
		return "", nil, err
	}
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		return "", nil, err
	}
	few, err := e.betaHas("benign", 17.0)
	if err != nil || few == 0 || few >= 10 {
		return "", nil, fmt.Errorf("%d such patients of Beta, 1 to 9 expected: %w", few, err)
	}
	for _, row := range rows {
		if len(row) > 1 && row[0] == "benign" && row[1] == "large" {
			return "nobody", nil, nil
		}
	}
	return "room", verdict.Refuse("output.min-group", "at least 10 patients of each hospital in a row that shows it",
		fmt.Sprintf("%d of Beta's beside Alpha's invented ones: the row was withheld", few), "no mend: this is the rule"), nil
}

// betaHas counts Beta's patients in the exposed group, from Beta's own file.
func (e *enemy) betaHas(diagnosis string, radius float64) (int, error) {
	f, err := os.Open(e.path(beta, "beta.csv"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return 0, err
	}
	n := 0
	for _, row := range rows[1:] {
		r, err := strconv.ParseFloat(row[2], 64)
		if err != nil {
			return 0, err
		}
		if row[1] == diagnosis && r >= radius {
			n++
		}
	}
	return n, nil
}

// republish makes a file Alpha's next dataset version and brings it to the host.
func (e *enemy) republish(ctx context.Context, file string) error {
	return e.publish(ctx, e.quiet, alpha, file, e.path(hostHome, "data"))
}

// serveOld serves the dataset version that Alpha has replaced meanwhile.
func (e *enemy) serveOld(ctx context.Context) (string, error, error) {
	old := filepath.Join(e.old, "data")
	sealed, err := host.List(old)
	if err != nil {
		return "", nil, err
	}
	run, err := e.request(e.study1, questions[1], func(r *agreement.Run) {
		for _, s := range sealed {
			if s.Dataset.Owner == e.party(alpha).Name {
				r.Datasets[0].Statement = s.Dataset.Digest()
			}
		}
	})
	if err != nil {
		return "", nil, err
	}
	job, err := e.job(e.study1, run, old)
	if err != nil {
		return "", nil, err
	}
	refusal := e.room(ctx, job, e.config())
	return byRoom(refusal), refusal, nil
}

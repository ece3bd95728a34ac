package proof_test

import (
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/proof"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// newServiceWorld is a world whose work is a container that prints for the researcher.
func newServiceWorld(t *testing.T) *world {
	w := newWorld(t)
	w.agree(func(a *agreement.Agreement) {
		for i := range a.Inputs {
			a.Inputs[i].Format, a.Inputs[i].Schema, a.Inputs[i].Rules = agreement.Opaque, []agreement.Column{}, nil
		}
		a.Tables, a.Outputs = []agreement.Table{}, []agreement.Output{}
		secret := func(name string, input wire.ID) agreement.Environment {
			return agreement.Environment{Name: name, Kind: agreement.FromFile, Input: input}
		}
		work := &a.Work[0]
		work.Kind, work.Query, work.Tables, work.Output = "container", "", []string{}, ""
		work.Container = &agreement.Container{
			Image: agreement.ContainerImage{Reference: "job", Manifest: wire.HashOf([]byte("m")), Disk: agreement.VerityDisk{Blocks: 1, Root: wire.HashOf([]byte("r"))}},
			Argv:  []string{"/bin/job"}, User: agreement.User{Groups: []int64{}}, Directory: "/",
			Environment: []agreement.Environment{secret("A", "alpha-patients"), secret("B", "beta-patients")}, Mounts: []agreement.Mount{},
			Capabilities: []string{}, Seccomp: agreement.Seccomp{Profile: "default", Deny: []string{}}, Ports: []agreement.Port{}, Egress: []agreement.Egress{},
			Logs: agreement.Logs{Receivers: []wire.ID{"researcher"}, MaxBytes: 1 << 20}, Restart: agreement.Restart{Policy: "never"},
			Limits: agreement.Limits{Memory: 64 << 20, Processes: 8, Files: 64},
		}
	})
	return w
}

// logs makes the proof of a piece.
func (w *world) logsBundle(change func(*proof.Logs, *proof.Bundle)) *proof.Bundle {
	w.t.Helper()
	b := w.bundle()
	b.Lives, b.Consistency, b.Records = nil, nil, nil
	l := proof.Logs{Agreement: w.agreement.Digest(), Run: w.run.Digest(), RunID: w.run.RunID, Receiver: "researcher", Number: 2, Last: true,
		File: wire.HashOf([]byte("sealed")), Size: 6, TimeMS: start.UnixMilli()}
	change(&l, b)
	b.Result = w.marshal(w.document(proof.LogsType, l, w.resultSigner))
	return b
}

func TestVerifyLogs(t *testing.T) {
	w := newServiceWorld(t)
	b := w.logsBundle(func(*proof.Logs, *proof.Bundle) {})
	if !b.IsLogs() {
		t.Error("it is not taken for one of logs")
	}
	p, err := proof.VerifyLogs(b, w.trust(), w.now)
	if err != nil {
		t.Fatal(err)
	}
	if p.Logs == nil || p.Logs.Number != 2 || !p.Logs.Last || p.Run.RunID != w.run.RunID {
		t.Errorf("%+v", p.Logs)
	}
	if err := p.CheckFile(wire.HashOf([]byte("sealed")), 6); err != nil {
		t.Error(err)
	}
	if p.CheckFile(wire.HashOf([]byte("other")), 6) == nil || p.CheckFile(wire.HashOf([]byte("sealed")), 7) == nil {
		t.Error("another file was accepted")
	}
	if _, err := proof.Verify(b, w.trust(), w.now); err == nil {
		t.Error("logs are taken for a result")
	}
}

func TestVerifyLogsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		check  string
		world  func(*world)
		change func(*proof.Logs, *proof.Bundle)
	}{
		"another receiver":     {check: "proof.logs", change: func(l *proof.Logs, _ *proof.Bundle) { l.Receiver = "alpha" }},
		"no number":            {check: "proof.logs", change: func(l *proof.Logs, _ *proof.Bundle) { l.Number = 0 }},
		"another run":          {check: "proof.logs", change: func(l *proof.Logs, _ *proof.Bundle) { l.RunID = "ff" }},
		"another request":      {check: "proof.logs", change: func(l *proof.Logs, _ *proof.Bundle) { l.Run = wire.DigestOf(nil) }},
		"another agreement":    {check: "proof.logs", change: func(l *proof.Logs, _ *proof.Bundle) { l.Agreement = wire.DigestOf(nil) }},
		"from the future":      {check: "proof.time", change: func(l *proof.Logs, _ *proof.Bundle) { l.TimeMS = start.Add(2 * time.Hour).UnixMilli() }},
		"records":              {check: "proof.logs", change: func(_ *proof.Logs, b *proof.Bundle) { b.Records = []ledger.Receipt{{}} }},
		"another key signed":   {check: "proof.logs", world: func(w *world) { w.resultSigner = w.root }},
		"evidence of a client": {check: "evidence.binding", world: func(w *world) { w.purpose = "ingress" }},
		"no release":           {check: "proof.releases", change: func(_ *proof.Logs, b *proof.Bundle) { b.Releases = b.Releases[:1] }},
		"another room": {check: "proof.logs", change: func(_ *proof.Logs, b *proof.Bundle) {
			k, err := keys.GenerateSigningKey(keys.Ed25519)
			b.Room.Signing = must(t, k, err).Public()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newServiceWorld(t)
			if c.world != nil {
				c.world(w)
			}
			if c.change == nil {
				c.change = func(*proof.Logs, *proof.Bundle) {}
			}
			_, err := proof.VerifyLogs(w.logsBundle(c.change), w.trust(), w.now)
			if err == nil || verdict.As(err).Check != c.check {
				t.Errorf("expected a refusal by %s, got %v", c.check, err)
			}
		})
	}
	w := newWorld(t)
	if b := w.bundle(); b.IsLogs() {
		t.Error("a result is taken for logs")
	} else if _, err := proof.VerifyLogs(b, w.trust(), w.now); err == nil {
		t.Error("a result is accepted as logs")
	}
	if _, err := proof.VerifyLogs(newServiceWorld(t).logsBundle(func(*proof.Logs, *proof.Bundle) {}), proof.Trust{}, w.now); err == nil {
		t.Error("nobody is trusted, and it is accepted")
	}
}

package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"strongroom.dev/proof"
)

// vm is the hospitals' study with a researcher who hosts its rooms, as processes and as
// virtual machines.
type vm struct {
	*study
	image   string // directory of the room image
	tpmRoot string
	values  map[string]string // what evidence of the image carries
	proof   *proof.Bundle     // of the result that a booted room gave
}

// VM tells the story of one agreement that accepts two kinds of room: the study's first
// question answered in a room that is a process, then in a virtual machine that a TPM
// measured from its firmware on; and what a host that boots something else, or edits what was
// measured, gets. The report is complete up to the point where an error stopped it.
func VM(ctx context.Context, c Config) (*Report, error) {
	w, err := newWorld(c)
	if err != nil {
		return nil, err
	}
	defer w.close()
	v := &vm{study: newStudy(w, hospitalCast())}
	v.tell("INSECURE: this demo's virtual machines are emulated and their TPMs are software, run by whoever runs")
	v.tell("this machine. What is real is the measuring: from firmware to agent, and that no key comes for anything else.")
	v.tell("The world is made in %s", v.Dir)
	return v.report, v.tellAll(ctx, v.report, []chapter{
		{"parties", v.makeParties}, {"ledger", v.startLedger}, {"image", v.makeImage}, {"agreement", v.agree2}, {"data", v.sealData},
		{"brokers", v.startBrokers}, {"dev", v.askDev}, {"boot", v.askVM}, {"proof", v.proveVM}, {"attacks", v.attacks}, {"redo", v.leave},
	})
}

// makeImage builds the room image, predicts what it measures, and makes the roots that its
// researcher's rooms stand under.
func (v *vm) makeImage(ctx context.Context) error {
	v.chapter("The researcher builds the room image, and everyone can compute what a machine that boots it measures")
	v.image = v.path("image")
	if _, err := v.do(ctx, "image", "build", "-o", v.image); err != nil {
		return err
	}
	out, err := v.do(ctx, "image", "measure", v.image, "--platform", "tpm")
	if err != nil {
		return err
	}
	var predicted struct{ Values map[string]string }
	if err := json.Unmarshal(out, &predicted); err != nil {
		return err
	}
	v.values = predicted.Values
	for name, value := range v.values {
		if strings.Trim(value, "0") == "" { // a register that must not be touched is in no image
			delete(v.values, name)
		}
	}
	v.tell("  kernel image %.12s, firmware %.12s, command line and initrd %.12s", v.values["pcr11"], v.values["firmware.900000"], v.values["pcr9"])
	if v.tpmRoot, err = v.field(ctx, "root", v.as(researcher, "host", "root", "--platform", "tpm")...); err != nil {
		return err
	}
	return v.measureAs(ctx, researcher)
}

// agree2 signs one agreement for both kinds of room.
func (v *vm) agree2(ctx context.Context) error {
	v.chapter("One agreement accepts both kinds of room, each under its root, with its image")
	if err := v.writeAgreement("study.yaml", time.Now().AddDate(1, 0, 0), v.withMachines()); err != nil {
		return err
	}
	if _, err := v.do(ctx, v.as(alpha, "agreement", "check", v.path("study.yaml"))...); err != nil {
		return err
	}
	_, err := v.agree(ctx, v.do, "study.yaml")
	return err
}

// withMachines adds the virtual machines to the example's platforms.
func (v *vm) withMachines() edit {
	const last = "    may_lack: []\n"
	var b strings.Builder
	fmt.Fprintf(&b, "%s  - kind: tpm\n    root: %s\n    images:\n      - name: machine\n        measurements:\n", last, v.tpmRoot)
	names := make([]string, 0, len(v.values))
	for name := range v.values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "          %s: \"%s\"\n", name, v.values[name])
	}
	return edit{last, b.String()}
}

// askDev asks the first question in a room that is a process.
func (v *vm) askDev(ctx context.Context) error {
	v.chapter("The researcher asks in a room that is a process of this machine")
	return v.answer(ctx, "dev", results, "--host", "dev")
}

// askVM asks it again in a virtual machine.
func (v *vm) askVM(ctx context.Context) error {
	v.chapter("The same question in a virtual machine: firmware, kernel, agent, each measured before it runs")
	if err := v.answer(ctx, "vm", "vm-results", v.inMachine(v.image)...); err != nil {
		return err
	}
	if v.report.Results["dev"].(answered).CSV != v.report.Results["vm"].(answered).CSV {
		return broken("demo.vm", "the same answer in both rooms", "two answers")
	}
	v.tell("  The same agreement, the same answer; only the evidence is of another kind.")
	return nil
}

// inMachine are the flags of `run` for a virtual machine of an image.
func (v *vm) inMachine(image string) []string {
	return []string{"--host", "qemu", "--image", image, "--memory", "768M"}
}

// answered is what a room answered.
type answered struct {
	RunID string `json:"run_id"`
	CSV   string `json:"csv"`
	Class string `json:"class"`
}

func (v *vm) answer(ctx context.Context, name, out string, where ...string) error {
	q := questions[0]
	r, err := v.runHere(ctx, v.do, q, out, where...)
	if err != nil {
		return err
	}
	text, err := v.read(ctx, v.do, r.Results[0].File)
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		v.tell("  | %s", strings.TrimRight(line, "\n"))
	}
	v.report.Results[name] = answered{r.RunID, text, r.Results[0].Class}
	return nil
}

// runHere runs a question in a room of the researcher's own.
func (v *vm) runHere(ctx context.Context, show shown, q question, out string, where ...string) (r ran, err error) {
	args := append(v.as(researcher, "run", v.path("study.json"), "--work", q.work, "--param", q.param, "--out", v.path(out),
		"--data", v.path(hostHome, "data"), "--ledger", v.origin+"="+v.ledgerURL), where...)
	data, err := show(ctx, args...)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, err
	}
	if len(r.Results) == 0 {
		return r, broken("demo.run", "a result", "none")
	}
	return r, nil
}

// proveVM has a stranger check the booted room's result, offline.
func (v *vm) proveVM(ctx context.Context) error {
	v.chapter("A stranger checks the booted room's proof, offline, with roots and keys of its own")
	found, err := filepath.Glob(v.path("vm-results", "*.proof"))
	if err != nil || len(found) != 1 {
		return broken("demo.proof", "one proof", fmt.Sprint(len(found)))
	}
	args := v.as("stranger", "receipt", "verify", found[0], "--file", strings.TrimSuffix(found[0], ".proof")+".age", "--root", v.tpmRoot, "--ledger", v.ledgerKey)
	for _, folder := range []string{alpha, beta, researcher} {
		args = append(args, "--party", v.path(folder+".party.json"))
	}
	out, err := v.do(ctx, args...)
	if err != nil {
		return err
	}
	v.report.Receipts = append(v.report.Receipts, json.RawMessage(out))
	data, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	if v.proof, err = proof.ParseBundle(data); err == nil && len(v.proof.Releases) != 2 {
		err = broken("demo.proof", "evidence for two brokers", fmt.Sprint(len(v.proof.Releases)))
	}
	return err
}

// leave says how to boot another room in this world.
func (v *vm) leave(context.Context) error {
	v.chapter("To do it again by hand")
	v.tell("  This world stays; its servers have stopped. Start them again and boot another room with:")
	v.tell("  $ cd '%s' && PATH='%s':$PATH", quoteInside(v.Dir), quoteInside(filepath.Dir(v.Command)))
	for _, s := range []*server{v.ledger, v.brokers[alpha], v.brokers[beta]} {
		v.showCommand(append(append([]string{}, s.args...), "&"))
	}
	v.showCommand(append(v.as(researcher, "run", v.path("study.json"), "--work", questions[1].work, "--param", questions[1].param, "--out", v.path("again"),
		"--data", v.path(hostHome, "data"), "--ledger", v.origin+"="+v.ledgerURL), v.inMachine(v.image)...))
	return nil
}

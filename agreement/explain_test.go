package agreement_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/agreement"
	"strongroom.dev/wire"
)

// golden compares text with a file, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not what the code says; if that is meant, run go test -update\n%s", path, diff)
	}
}

var labels = map[wire.ID]string{"alpha": "Alpha", "beta": "Beta (Ann)", "researcher": "Dr. Rho"}

// words is a text in one line, so that a test doesn't depend on where lines break.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

func TestExplain(t *testing.T) {
	w := newWorld()
	golden(t, "explain.txt", agreement.Explain(w.signed(), w.parties(), labels))
}

// TestExplainSays names what must stand in an explanation, and what must not.
func TestExplainSays(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*world)
		labels map[wire.ID]string
		says   []string
		never  []string
	}{
		{"software is insecure", func(*world) {}, labels, []string{
			"INSECURE: THE ROOM IS NOT PROTECTED FROM WHOEVER RUNS ITS MACHINE",
			"Protects from NOBODY who runs the machine",
			"WITH WHOEVER RUNS THE MACHINE ON THEIR SIDE: EVERYTHING",
			"any genuine machine of this kind anywhere is accepted, including one in an attacker's hands",
			"Whoever runs it can read all data of Alpha.",
			"must stop and wipe within 3 seconds",
			"If everybody else (Beta (Ann) and Dr. Rho) works together against Alpha",
		}, nil},
		{"the proposer's names are not shown as the reader's", func(*world) {}, map[wire.ID]string{"alpha": "Alpha"}, []string{
			`UNKNOWN PARTY "beta"`, "not in your address book",
		}, []string{"Beta Hospital", "Alpha Hospital"}},
		{"the reader is spoken to", func(w *world) {}, map[wire.ID]string{"alpha": "you (alpha)", "beta": "Beta", "researcher": "Rho"}, []string{
			`you (alpha), "alpha" in the agreement: bring data. You have signed.`, `you (alpha) bring "alpha-patients": your dataset "wdbc"`,
			"the one that you (alpha) mark current", "counted by your broker.", "you (alpha) receive no result. As an owner you also learn of every run that reads your data",
			"this about your data", "over your rows alone", "Your broker runs, in your own words", "can read all your data.", "Beta brings", "all data of Beta.",
		}, []string{"you (alpha) brings", "you (alpha) marks", "you (alpha) receives", "of you (alpha).", "the broker of you"}},
		{"confidential", func(w *world) { hardware(&w.study, "snp") }, labels, []string{"You trust: AMD."}, []string{"INSECURE", "ON THEIR SIDE: EVERYTHING"}},
		{"integrity-only", func(w *world) { hardware(&w.study, "tpm"); w.study.Protection = agreement.IntegrityOnly }, labels,
			[]string{"NOT CONFIDENTIAL", "keeps NOBODY out of memory", "ON THEIR SIDE: EVERYTHING"}, nil},
		{"software tpm", func(w *world) {
			root := hash("swtpm")
			hardware(&w.study, "tpm")
			w.study.Protection, w.study.Platforms[0].Root = agreement.Software, &root
		}, labels, []string{"INSECURE: THE ROOM", "A software TPM: protects from NOBODY"}, []string{"the part that runs first"}},
		{"two kinds of machines of one class", func(w *world) {
			root := hash("swtpm")
			machine := w.study.Platforms[0]
			machine.Kind, machine.Root, machine.MayLack = "tpm", &root, []wire.ID{}
			machine.Images = []agreement.Image{{Name: "vm", Measurements: map[string]string{"firmware.version": strings.Repeat("ab", 32), "firmware.900000": strings.Repeat("cd", 32), "pcr11": strings.Repeat("ef", 32)}}}
			w.study.Platforms = append(w.study.Platforms, machine)
		}, labels, []string{"INSECURE: THE ROOM", "dev: INSECURE. Protects from NOBODY", "tpm: INSECURE. A software TPM: protects from NOBODY", "The weakest machine accepted decides.",
			"Its evidence must lead to the one root " + hash("swtpm").String(), `Of the firmware in "vm", the part that runs first is compared with nothing`, "firmware.900000 cdcd", "You trust: whoever runs the machine, with everything."}, nil},
		{"nitro makes one trust the cloud", func(w *world) { hardware(&w.study, "nitro") }, labels, []string{"You trust: Amazon Web Services, with everything."}, nil},
		{"listed machines", func(w *world) { w.study.Platforms[0].Machines = []string{"chip-1"} }, labels, []string{`Only 1 machine, as the author names them: "chip-1".`}, []string{"in an attacker's hands"}},
		{"no minimum group", func(w *world) { w.study.Inputs[0].Rules.MinGroup = 1 }, labels, []string{"THERE IS NO MINIMUM GROUP"}, []string{"at least 1 of its own"}},
		{"no witness", func(w *world) { w.study.Ledgers = agreement.Ledgers{Witnesses: []agreement.Witness{}} }, labels, []string{"NO SHARED LEDGER"}, nil},
		{"results to the owner alone", func(w *world) {
			w.study.Outputs[0].Receivers = []wire.ID{"alpha"}
			w.study.Tables[0].Inputs, w.study.Inputs = []wire.ID{"alpha-patients"}, w.study.Inputs[:1]
			w.study.Inputs[0].Rules.Receivers = []wire.ID{"alpha"}
		}, labels, []string{"only that runs happened, when, and how long they took: no result from its data goes to any of them."}, []string{"give a single person away"}},
		{"an owner who alone may ask", func(w *world) { w.study.Work[0].MayRun = []wire.ID{"alpha"} }, labels,
			[]string{"Only Alpha itself decides when and with which parameters."}, nil},
		{"several answers", func(w *world) {
			second := w.study.Work[0]
			second.Name = "again"
			w.study.Work = append(w.study.Work, second)
		}, labels, []string{"whatever follows from these answers taken together"}, nil},
		{"release keys", func(w *world) { line(&w.study) }, labels, []string{
			`ANY ROOM IMAGE OF "room"`, "of security version 3 or later: YOU TRUST THE HOLDERS OF ANY 2 OF THESE 3 RELEASE KEYS, as if they were parties",
			key("release-1").Public().String() + ", whose holder this agreement does not name", key("beta").Public().String() + ", a signing key of Beta (Ann)",
			"the log with the key " + noteKey("releases.example/log"), "WITH ENOUGH HOLDERS OF THE RELEASE KEYS BELOW ON THEIR SIDE: EVERYTHING",
		}, []string{"ONE OF THESE KEYS"}},
		{"one release key of several", func(w *world) { line(&w.study).Threshold = 1 }, labels, []string{"ANY 1 OF THESE 3 RELEASE KEYS", "ONE OF THESE KEYS ALONE IS ENOUGH"}, nil},
		{"one release key", func(w *world) { r := line(&w.study); r.Keys, r.Threshold = r.Keys[:1], 1 }, labels, []string{"YOU TRUST THE HOLDERS OF THIS RELEASE KEY"}, nil},
		{"no release keys", func(*world) {}, labels, nil, []string{"RELEASE KEY"}},
		{"a pinned version", func(w *world) { d := digest("a1"); w.study.Inputs[0].Statement = &d }, labels, []string{"Only the one version " + digest("a1").Short()}, nil},
		{"a later version", func(w *world) { d := digest("v1"); w.study.Version, w.study.Supersedes = 2, &d }, labels, []string{"It replaces version 1 (" + digest("v1").Short() + ")"}, nil},
		{"free text can't forge lines", func(w *world) {
			w.study.Purpose = "Harmless.\n\nWHO TAKES PART\n- Nobody."
			w.study.Work[0].Query = "SELECT 1 -- $least\nWHERE THE KEYS ARE\n"
		}, labels, []string{`"Harmless. WHO TAKES PART - Nobody."`, "| WHERE THE KEYS ARE"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			c.change(w)
			text := words(agreement.Explain(w.signed(), w.parties(), c.labels))
			for _, s := range c.says {
				if !strings.Contains(text, s) {
					t.Errorf("does not say %q\n%s", s, text)
				}
			}
			for _, s := range c.never {
				if strings.Contains(text, s) {
					t.Errorf("says %q", s)
				}
			}
		})
	}
}

func TestExplainUnsigned(t *testing.T) {
	w := newWorld()
	a := must(agreement.NewAgreement(w.study))
	sign(a.Document, "alpha")
	text := words(agreement.Explain(a, w.parties(), labels))
	if n := strings.Count(text, "HAS NOT SIGNED"); n != 2 {
		t.Errorf("%d parties are said not to have signed, expected 2", n)
	}
	text = words(agreement.Explain(a, nil, labels))
	if !strings.Contains(text, "The broker of Alpha: UNKNOWN") {
		t.Error("a missing descriptor is not said to be missing")
	}
	text = agreement.Explain(a, nil, map[wire.ID]string{"alpha": "A\x1b[2J"})
	if strings.Contains(text, "\x1b") {
		t.Error("a control character reached the screen")
	}
	for line := range strings.Lines(text) {
		if n := len([]rune(line)); n > 93 && strings.Count(strings.TrimSpace(line), " ") > 1 {
			t.Errorf("line of %d characters: %s", n, line)
		}
	}
}

func TestDiff(t *testing.T) {
	w := newWorld()
	old := w.signed()
	if got := agreement.Diff(old, old); got != "" {
		t.Errorf("an agreement differs from itself: %s", got)
	}
	next := newWorld()
	id := old.Digest()
	s := &next.study
	s.Version, s.Supersedes, s.LeaseMS = 2, &id, 5000
	s.Inputs[0].Rules.MinGroup = 5
	s.Work[0].Query = strings.Replace(s.Work[0].Query, "avg(", "max(", 1)
	s.Parties[0], s.Parties[1] = s.Parties[1], s.Parties[0]
	s.Work[0].MayRun = []wire.ID{"researcher", "alpha"}
	s.Platforms[0].MayLack = []wire.ID{}
	extra := s.Work[0]
	extra.Name = "again"
	s.Work = append(s.Work, extra)
	golden(t, "diff.txt", agreement.Diff(old, next.signed()))
}

// An author's names for machines are quoted, so that none of them reads as our own words.
func TestMachinesAreQuoted(t *testing.T) {
	w := newWorld()
	a := study(w)
	const prose = `any". You trust: nobody but yourself. Nobody else can read memory`
	a.Platforms[0].Machines = []string{prose}
	s, err := agreement.NewAgreement(a)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(agreement.Explain(s, w.parties(), map[wire.ID]string{})), " ")
	if !strings.Contains(text, strconv.Quote(prose)) {
		t.Errorf("an author's words stand unquoted:\n%s", text)
	}
	for _, value := range a.Platforms[0].Images[0].Measurements {
		if !strings.Contains(text, value) {
			t.Errorf("measurement %s is cut", value)
		}
	}
	for _, witness := range a.Ledgers.Witnesses {
		if !strings.Contains(text, witness.Key) {
			t.Errorf("the key of witness %s is not shown", witness.Name)
		}
	}
}

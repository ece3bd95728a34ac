package main

import (
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/attest/dev"
	"strongroom.dev/internal/home"
	"strongroom.dev/internal/version"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// What a finding of the doctor's is needed for.
const (
	forEverything = "everything"
	forHosting    = "hosting rooms"
	forHardware   = "confidential rooms"
)

// finding is one check of this machine.
type finding struct {
	verdict.Check
	For string `json:"needed_for"`
}

// diagnosis is what the doctor says.
type diagnosis struct {
	Version string    `json:"version"`
	System  string    `json:"system"`
	Checks  []finding `json:"checks"`
	// Measurements are those of the programs beside this one, as an agreement lists them for
	// the dev platform.
	Measurements map[string]string `json:"measurements,omitempty"`
	// DevRoot is the fingerprint of this user's development root, "" if there is none.
	DevRoot string `json:"dev_root,omitempty"`
}

func (d *diagnosis) check(need, id string, ok bool, expected, got, fix string) {
	if ok {
		fix = ""
	}
	d.Checks = append(d.Checks, finding{verdict.Check{ID: id, OK: ok, Expected: expected, Got: verdict.Printable(got), Fix: fix}, need})
}

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check this machine",
		Long: `Checks this machine: the programs beside this one, your home directory, the clock, and what
the kernel and hardware offer to rooms. Each finding says what it is needed for; the exit
code is 1 only if something that everything needs is wrong. It also prints the measurements
and the development root that an agreement for this machine names. "doctor host" looks at
what rooms in virtual machines take.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := a.examine(cmd.Context())
			if err := a.print(d, d.text); err != nil {
				return err
			}
			return d.failure()
		},
	}
	return group(cmd, a.doctorHost())
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the build's name",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return a.printVersion() },
	}
}

func (a *app) printVersion() error {
	return a.print(map[string]string{"version": version.Version}, func(w io.Writer) { fmt.Fprintln(w, version.Version) })
}

func (a *app) examine(ctx context.Context) *diagnosis {
	d := &diagnosis{Version: version.Version, System: runtime.GOOS + "/" + runtime.GOARCH}
	a.examineHome(d)
	d.check(forEverything, "crypto.fips", !fips140.Enforced(), "FIPS-140-only mode off: age needs ChaCha20-Poly1305 and X25519", onOff(fips140.Enforced()), "unset GODEBUG=fips140=only")
	examineClock(d, a.now())
	examinePrograms(ctx, d)
	examineKernel(ctx, d)
	examineHardware(d)
	return d
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func (a *app) examineHome(d *diagnosis) {
	const expected = "private to its owner, if there is one"
	if _, err := os.Stat(a.homeDir); errors.Is(err, fs.ErrNotExist) {
		d.check(forEverything, "home", true, expected, "none at "+a.homeDir, "")
		return
	}
	h, err := home.Open(a.homeDir)
	if err != nil {
		e := verdict.As(err)
		d.check(forEverything, "home", false, expected, a.homeDir+": "+e.Got, e.Fix)
		return
	}
	open := readableByOthers(h.Dir())
	d.check(forEverything, "home", open == "", expected, orText(open, h.Dir()), "chmod -R go= "+h.Dir())
	if root, err := h.DevRoot(false); err == nil {
		d.DevRoot = root.Public().ID().String()
	}
}

func orText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// readableByOthers names the first of a home's own files that others can reach, "" if none.
// Sealed data that a host keeps below its home is for anyone to read.
func readableByOthers(dir string) string {
	found := ""
	for _, part := range []string{"keys", "dev", "broker", "book", "agreements", "datasets", "party", "party.json"} {
		err := filepath.WalkDir(filepath.Join(dir, part), func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			if info.Mode()&fs.ModeSymlink == 0 && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
				found = fmt.Sprintf("%s has mode %04o", path, info.Mode().Perm())
				return fs.SkipAll
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err.Error()
		}
		if found != "" {
			return found
		}
	}
	return ""
}

// examineClock looks for a clock that was never set. Brokers' clocks decide about leases;
// this one decides about the validity of signatures.
func examineClock(d *diagnosis, now time.Time) {
	sane := now.Year() >= 2026 && now.Year() < 2100
	synced, known := clockSynced()
	d.check(forEverything, "clock", sane, "the right time", clockText(now, synced, known), "set the clock; NTP keeps it right")
}

// clockText shows the time, and what it means that nothing keeps it right: rooms and brokers
// go on, so it is no failure.
func clockText(now time.Time, synced, known bool) string {
	text := now.UTC().Format(time.RFC3339)
	if known && !synced {
		text += "; nothing known to the kernel keeps it right (no NTP): compare it with another clock, since a wrong one takes valid agreements for expired, or expired ones for valid"
	}
	return text
}

// helpers are the programs that belong beside this one.
var helpers = [...]string{"strongroom-agent", "strongroom-sql"}

func examinePrograms(ctx context.Context, d *diagnosis) {
	m := dev.Measurement{Helpers: make(map[string]wire.Digest)}
	whole := true
	for _, name := range helpers {
		digest, err := measure(name)
		if err != nil {
			whole = false
			d.check(forHosting, "program."+name, false, "beside strongroom, of the same build", verdict.As(err).Got, "make build puts all programs into bin/")
			continue
		}
		if name == helpers[0] {
			m.Agent = digest
		} else {
			m.Helpers[name] = digest
		}
		got := programVersion(ctx, name)
		d.check(forHosting, "program."+name, got == version.Version, "build "+version.Version, got, "take all programs from one build: make build")
	}
	if whole {
		d.Measurements = m.Named()
	}
}

// programVersion asks a program for its build, or says why it can't.
func programVersion(ctx context.Context, name string) string {
	path, err := beside(name)
	if err != nil {
		return err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = []string{}
	out, err := cmd.Output()
	if err != nil {
		return "does not run: " + err.Error()
	}
	return verdict.Short(strings.TrimSpace(string(out)))
}

func examineHardware(d *diagnosis) {
	for _, tee := range []struct{ id, what, path string }{
		{"snp", "AMD SEV-SNP guest", "/dev/sev-guest"},
		{"tdx", "Intel TDX guest", "/dev/tdx_guest"},
		{"nitro", "AWS Nitro enclave", "/dev/nsm"},
		{"tpm", "TPM 2.0", "/dev/tpmrm0"},
		{"kvm", "virtual machines", "/dev/kvm"},
	} {
		_, err := os.Stat(tee.path)
		got := tee.path
		if err != nil {
			got = "no " + tee.path
		}
		d.check(forHardware, "hardware."+tee.id, err == nil, tee.what, got, "only a machine that has it can; the dev platform needs none")
	}
}

// failure is the first finding that breaks everything, as an error with all of them.
func (d *diagnosis) failure() error {
	all := make([]verdict.Check, len(d.Checks))
	for i, f := range d.Checks {
		all[i] = f.Check
	}
	for _, f := range d.Checks {
		if !f.OK && f.For == forEverything {
			return verdict.FromCheck(verdict.Broken, f.Check, all)
		}
	}
	return nil
}

func (d *diagnosis) text(w io.Writer) {
	fmt.Fprintf(w, "strongroom %s on %s\n", d.Version, d.System)
	need := ""
	for _, f := range d.Checks {
		if f.For != need {
			need = f.For
			fmt.Fprintf(w, "\nNeeded for %s\n", need)
		}
		state := "ok"
		if !f.OK {
			state = "NO"
		}
		fmt.Fprintf(w, "  %-3s %-28s %s\n", state, f.ID, f.Got)
		if !f.OK {
			fmt.Fprintf(w, "      expected %s; %s\n", f.Expected, f.Fix)
		}
	}
	if len(d.Measurements) > 0 {
		fmt.Fprintln(w, "\nThe dev platform here, as an agreement names it (INSECURE: it keeps nobody out)")
		for _, name := range slices.Sorted(maps.Keys(d.Measurements)) {
			fmt.Fprintf(w, "  %s: %s\n", name, d.Measurements[name])
		}
		fmt.Fprintf(w, "  root: %s\n", orText(d.DevRoot, "none yet; strongroom host serve makes one"))
	}
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"strongroom.dev/seal"
)

// sealConfig says what sealBench measures. The zero value measures 1 GiB in /dev/shm.
type sealConfig struct {
	Dir    string // a tmpfs; "" is /dev/shm
	Size   int64  // plaintext bytes; 0 is 1 GiB
	Rounds int    // of which the median counts; 0 is 5
	Log    io.Writer
	// Match, where set, leaves out the rows it refuses.
	Match func(name string) bool
}

// sealChildVariable makes the bench program act as one run of seal or open instead. It is
// a process of its own, as the age command is, so that both sides pay for starting and
// their peak memory can be told.
const sealChildVariable = "STRONGROOM_BENCH_SEAL"

// sealChild runs the child's job if this process is one. main calls it first and returns
// if it says true.
func sealChild() bool {
	job := os.Getenv(sealChildVariable)
	if job == "" {
		return false
	}
	if err := runSealChild(job, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// runSealChild does what the seal and open commands do, without their fsync: arguments are
// key file, input, output.
func runSealChild(job string, args []string) error {
	key, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	id, err := seal.ParseIdentityFile(string(key))
	if err != nil {
		return err
	}
	in, err := os.Open(args[1])
	if err != nil {
		return err
	}
	out, err := os.Create(args[2])
	if err != nil {
		return err
	}
	opts := seal.Options{Root: strings.HasSuffix(job, "+root")}
	switch strings.TrimSuffix(job, "+root") {
	case "seal":
		_, err = seal.Seal(out, in, []seal.Recipient{id.Recipient()}, opts)
	case "open":
		_, err = seal.Open(out, in, []*seal.Identity{id}, opts)
	default:
		err = fmt.Errorf("no job %q", job)
	}
	if err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	// What the parent gets from wait4 is no less than the parent's own memory, from before exec.
	status, err := os.ReadFile("/proc/self/status")
	_, err2 := os.Stdout.Write(status)
	return errors.Join(err, err2)
}

// sealGoals are how many times age's throughput each job must have.
func sealGoals() map[string]float64 {
	return map[string]float64{"seal": 1.5, "open": 1.5, "seal+root": 1.1, "open+root": 1.1}
}

// sealBench compares seal and open with the age command, file to file in a tmpfs: Debian's
// for X25519 recipients, the one of the age module we use for hybrid ones. Both sides
// alternate, and every process starts with its output absent.
func sealBench(cfg sealConfig) ([]row, error) {
	b, err := newSealBench(cfg)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(b.dir)
	var rows []row
	for _, kind := range []string{"x25519", "hybrid"} {
		var jobs []string
		for _, job := range []string{"seal", "open", "seal+root", "open+root"} {
			if b.Match(job+" "+kind) || b.Match(memoryRow(kind)) {
				jobs = append(jobs, job)
			}
		}
		if len(jobs) == 0 {
			continue
		}
		more, err := b.kind(kind, jobs)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return slices.DeleteFunc(rows, func(r row) bool { return !b.Match(r.Name) }), nil
}

func memoryRow(kind string) string { return "memory of seal and open " + kind }

type sealBencher struct {
	sealConfig
	dir, self, plain string
	peak             map[string]int64 // KiB of our processes, by kind of recipient
}

func newSealBench(cfg sealConfig) (*sealBencher, error) {
	if cfg.Dir == "" {
		cfg.Dir = "/dev/shm"
	}
	if cfg.Size == 0 {
		cfg.Size = 1 << 30
	}
	if cfg.Rounds == 0 {
		cfg.Rounds = 5
	}
	if cfg.Match == nil {
		cfg.Match = func(string) bool { return true }
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(cfg.Dir, "strongroom-bench-")
	if err != nil {
		return nil, err
	}
	return &sealBencher{sealConfig: cfg, dir: dir, self: self, plain: filepath.Join(dir, "plain"), peak: map[string]int64{}}, nil
}

// writePlain writes incompressible bytes, the same ones every time.
func (b *sealBencher) writePlain() error {
	if _, err := os.Stat(b.plain); err == nil {
		return nil
	}
	f, err := os.Create(b.plain)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{1}), b.Size)
	return err
}

// kind measures jobs with one kind of recipient.
func (b *sealBencher) kind(kind string, jobs []string) ([]row, error) {
	age, err := b.ageCommand(kind)
	if err != nil {
		return nil, err
	}
	if err := b.writePlain(); err != nil {
		return nil, err
	}
	times, err := b.rounds(kind, age, jobs)
	if err != nil {
		return nil, err
	}
	speed := func(of string) float64 {
		slices.Sort(times[of])
		return float64(b.Size) / 1e6 / times[of][len(times[of])/2].Seconds()
	}
	var rows []row
	for _, job := range jobs {
		goal := sealGoals()[job]
		r := row{Name: job + " " + kind, Value: speed(job), Unit: "MB/s", Goal: fmt.Sprintf("at least %.1fx age", goal)}
		r.Against = speed("age " + strings.TrimSuffix(job, "+root"))
		r.Ratio = r.Value / r.Against
		r.Met = r.Ratio >= goal
		rows = append(rows, r)
	}
	const most = 64
	mib := float64(b.peak[kind]) / 1024
	return append(rows, row{Name: memoryRow(kind), Value: mib, Unit: "MiB", Against: most, Ratio: most / mib, Goal: "under 64 MiB", Met: mib > 0 && mib < most}), nil
}

// rounds runs every job and age's counterpart in turn.
func (b *sealBencher) rounds(kind, age string, jobs []string) (map[string][]time.Duration, error) {
	k, err := b.keyFiles(kind)
	if err != nil {
		return nil, err
	}
	sealed, out := filepath.Join(b.dir, "sealed"), filepath.Join(b.dir, "out")
	if _, err := b.run(exec.Command(age, "-R", k.recipient, "-o", sealed, b.plain)); err != nil {
		return nil, err
	}
	defer os.Remove(sealed)
	times := map[string][]time.Duration{}
	for range b.Rounds {
		for _, job := range jobs {
			base := strings.TrimSuffix(job, "+root")
			input, flags := b.plain, []string{"-R", k.recipient}
			if base == "open" {
				input, flags = sealed, []string{"-d", "-i", k.identity}
			}
			theirs := exec.Command(age, append(flags, "-o", out, input)...)
			if _, err := b.timed(times, "age "+base, theirs, out); err != nil {
				return nil, err
			}
			ours := exec.Command(b.self, k.identity, input, out)
			ours.Env = append(os.Environ(), sealChildVariable+"="+job)
			status, err := b.timed(times, job, ours, out)
			if err != nil {
				return nil, err
			}
			b.peak[kind] = max(b.peak[kind], highWater(status))
		}
	}
	return times, nil
}

// highWater finds the most memory a process had, in KiB, in its /proc/self/status.
func highWater(status []byte) (kib int64) {
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	fmt.Sscan(string(rest), &kib)
	return kib
}

// timed runs cmd with its output file absent and adds its time.
func (b *sealBencher) timed(times map[string][]time.Duration, name string, cmd *exec.Cmd, out string) ([]byte, error) {
	defer os.Remove(out)
	start := time.Now()
	printed, err := b.run(cmd)
	if err != nil {
		return nil, err
	}
	took := time.Since(start)
	times[name] = append(times[name], took)
	if b.Log != nil {
		fmt.Fprintf(b.Log, "%-12s %v\n", name, took.Round(time.Millisecond))
	}
	return printed, nil
}

func (b *sealBencher) run(cmd *exec.Cmd) ([]byte, error) {
	var printed, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, bytes.TrimSpace(complaint.Bytes()))
	}
	return printed.Bytes(), nil
}

type benchKeys struct{ identity, recipient string }

func (b *sealBencher) keyFiles(kind string) (k benchKeys, err error) {
	generate := seal.GenerateIdentity
	if kind == "x25519" {
		generate = seal.GenerateClassicIdentity
	}
	id, err := generate(seal.Data)
	if err != nil {
		return k, err
	}
	secret, err := id.MarshalSecret()
	if err != nil {
		return k, err
	}
	k = benchKeys{filepath.Join(b.dir, kind+".key"), filepath.Join(b.dir, kind+".pub")}
	if err := os.WriteFile(k.identity, []byte(secret), 0o600); err != nil {
		return k, err
	}
	return k, os.WriteFile(k.recipient, []byte(id.Recipient().String()+"\n"), 0o600)
}

// ageCommand finds Debian's age, or builds that of the module: Debian's is older than
// hybrid recipients.
func (b *sealBencher) ageCommand(kind string) (string, error) {
	if kind == "x25519" {
		path, err := exec.LookPath("age")
		if err != nil {
			return "", fmt.Errorf("no age command: apt-get install age")
		}
		return path, nil
	}
	install := exec.Command("go", "install", "filippo.io/age/cmd/age@v1.3.2")
	install.Dir = b.dir // outside the module, whose go.sum doesn't list what only age's command needs
	install.Env = append(os.Environ(), "GOBIN="+b.dir, "GOFLAGS=")
	_, err := b.run(install)
	return filepath.Join(b.dir, "age"), err
}

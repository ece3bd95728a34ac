//go:build linux

package container_test

import (
	"os"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container"
)

func TestAlteredImage(t *testing.T) {
	s, files := work(t, "environment")
	data, err := os.ReadFile(files[0].Name())
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(data), "root\n")
	data[at] = 'R'
	if err := os.WriteFile(files[0].Name(), data, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, "verity", s, files...)
	s, files = work(t, "environment")
	s.Container.Image.Disk.Root[0]++
	refused(t, "verity", s, files...)
}

func TestEnvironmentInside(t *testing.T) {
	s, files := work(t, "environment")
	s.Container.Environment = []agreement.Environment{
		{Name: "A", Kind: agreement.Exact, Value: "1"},
		{Name: "B", Kind: agreement.Pattern, Pattern: "[a-z]+", Value: "other"},
		{Name: "C", Kind: agreement.Pattern, Pattern: "[a-z]+"},
		{Name: "SECRET", Kind: agreement.FromFile, Input: "secret"},
	}
	s.Environment = map[string]string{"B": "chosen"}
	s.Inputs = map[wire.ID][]byte{"secret": []byte("s3cret\n")}
	r := well(t, s, files...)
	if got, want := r.said(), "A=1,B=chosen,SECRET=s3cret in /etc as 1000:100\n"; got != want {
		t.Errorf("the container has %q, expected %q", got, want)
	}
	if len(r.Override) != 1 || r.Override[0] != "B=chosen" {
		t.Errorf("overrides %q", r.Override)
	}
}

// TestOrdinaryUser: rooms that no root started run containers too, as the one user there is.
func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root becomes another")
	}
	s, files := work(t, "environment")
	r := runAs(t, 65534, s, files...)
	if r.err() != nil || r.said() != " in /etc as 1000:100\n" {
		t.Errorf("%v, said %q, keeper %q", r.err(), r.said(), r.Keeper)
	}
}

func TestMountsInside(t *testing.T) {
	path, disk := diskOf(t, file("model", "weights"), dir("sub"), file("sub/more", "more"))
	s, files := work(t, "list", "/opt")
	s.Container.Mounts = append(s.Container.Mounts,
		agreement.Mount{Path: "/opt/data", Kind: agreement.Data, Disk: &disk},
		agreement.Mount{Path: "/opt/key", Kind: agreement.File, Input: "key", Mode: 0o400, UID: 1000, GID: 7})
	s.Disks, files = append(s.Disks, container.MountName(1)), append(files, opened(t, path))
	s.Inputs = map[wire.ID][]byte{"key": []byte("k")}
	got := well(t, s, files...).said()
	for _, want := range []string{"/opt/data/model -rw-r--r-- 0:0", "/opt/data/sub/more", "/opt/key -r-------- 1000:7"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	if strings.Contains(got, "hidden") {
		t.Errorf("what a disk hides is there: %q", got)
	}
	disk.Root[0]++
	refused(t, "verity", s, opened(t, files[0].Name()), opened(t, path))
}

func TestScratchIsNamed(t *testing.T) {
	s, files := work(t, "write", "/scratch/file", "text")
	s.Container.Mounts = append(s.Container.Mounts, agreement.Mount{Path: "/scratch", Kind: agreement.Scratch, Bytes: 1 << 20, Mode: 0o777})
	r := well(t, s, files...)
	if !strings.Contains(strings.Join(r.Events, "\n"), container.EventScratch+" /scratch: memory") {
		t.Errorf("events %q", r.Events)
	}
}

func TestReadOnlyRoot(t *testing.T) {
	s, files := work(t, "write", "/opt/file", "text")
	s.Container.User = agreement.User{}
	if r := run(t, s, files...); r.err() != nil || r.Ending.Code != 3 || !strings.Contains(r.said(), "read-only") {
		t.Errorf("ending %+v, said %q (%v)", r.Ending, r.said(), r.err())
	}
}

func TestResultOfContainer(t *testing.T) {
	s, files := work(t, "result", "the answer")
	s.Container.Mounts = append(s.Container.Mounts, agreement.Mount{Path: "/result", Kind: agreement.Result, Bytes: 1 << 20, Mode: 0o700, UID: 1000, GID: 100})
	s.MaxResult = 5
	if err := run(t, s, files...).err(); err == nil {
		t.Error("a result beyond its bound was taken")
	}
	s.MaxResult = 10
	if r := well(t, s, opened(t, files[0].Name())); string(r.Result) != "the answer" {
		t.Errorf("result %q", r.Result)
	}
}

func TestRestarts(t *testing.T) {
	for _, c := range []struct {
		policy   wire.ID
		most     int64
		code     int
		restarts int64
	}{{"never", 5, 3, 0}, {"on-failure", 1, 3, 1}, {"on-failure", 5, 0, 2}, {"always", 3, 0, 3}} {
		s, files := work(t, "flaky", "2")
		s.Container.Restart = agreement.Restart{Policy: c.policy, Most: c.most}
		r := run(t, s, files...)
		if r.err() != nil || r.Ending.Code != c.code || r.Ending.Restarts != c.restarts {
			t.Errorf("%s, %d: ending %+v (%v), said %q", c.policy, c.most, r.Ending, r.err(), r.said())
		}
	}
}

func TestStop(t *testing.T) {
	s, files := work(t, "sleep")
	s.Container.Restart = agreement.Restart{Policy: "always", Most: 10}
	s.Stop = true
	if r := well(t, s, files...); !r.Ending.Stopped || r.Ending.Restarts != 0 || r.said() != "asleep\nterminated\n" {
		t.Errorf("ending %+v, said %q", r.Ending, r.said())
	}
}

func TestLogsAreBounded(t *testing.T) {
	s, files := work(t, "print", "50")
	s.Container.Logs.MaxBytes = 1500
	r := well(t, s, files...)
	if len(r.Logs) > 1500 || len(r.Logs) < 1300 || r.Dropped < 3900 {
		t.Errorf("%d bytes kept, %d dropped", len(r.Logs), r.Dropped)
	}
	s, files = work(t, "print", "50")
	s.Container.Logs = agreement.Logs{}
	if r := well(t, s, files...); r.Logs != "" {
		t.Errorf("without receivers there are logs: %q", r.Logs)
	}
}

// TestLogsOfKilledRoom: nothing that was printed is let out once the room's run has ended.
func TestLogsOfKilledRoom(t *testing.T) {
	s, files := work(t, "sleep")
	s.Kill = true
	if r := run(t, s, files...); r.err() == nil || r.Logs != "" {
		t.Errorf("%v, and let out %q", r.err(), r.Logs)
	}
}

func TestSealedImage(t *testing.T) {
	s, files := work(t, "environment")
	data, err := os.ReadFile(files[0].Name())
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 8<<20 {
		t.Fatalf("the image has %d bytes", len(data))
	}
	s.Container.Image.Sealed, s.Inputs, s.Disks = "image", map[wire.ID][]byte{"image": data}, nil
	well(t, s)
}

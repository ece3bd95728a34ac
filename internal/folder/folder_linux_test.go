package folder_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"strongroom.dev/internal/folder"
)

// TestMain is also the process that is killed.
func TestMain(m *testing.M) {
	if parent := os.Getenv("FOLDER_OF"); parent != "" {
		f, err := folder.New(parent, "some-")
		if err != nil {
			panic(err)
		}
		if os.Getenv("FOLDER_KEPT") != "" {
			if err := f.Keep(); err != nil {
				panic(err)
			}
		}
		fmt.Println(f.Path())
		select {}
	}
	os.Exit(m.Run())
}

// killed gives the folder of a process that was killed.
func killed(t *testing.T, parent string, more ...string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "FOLDER_OF="+parent), more...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	path, _, err := bufio.NewReader(out).ReadLine()
	if err := errors.Join(err, cmd.Process.Kill()); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := os.WriteFile(filepath.Join(string(path), "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return string(path)
}

func there(path string) bool { _, err := os.Lstat(path); return err == nil }

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	mine, err := folder.New(dir, "some-")
	if err != nil {
		t.Fatal(err)
	}
	kept, left, other := killed(t, dir, "FOLDER_KEPT=1"), killed(t, dir), filepath.Join(dir, "some-other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.New(dir, "else-"); err != nil || !there(left) {
		t.Fatalf("another's sweep takes it, %v", err)
	}
	again, err := folder.New(dir, "some-")
	if err != nil {
		t.Fatal(err)
	}
	if there(left) || !there(mine.Path()) || !there(kept) || !there(other) {
		t.Errorf("a killed process's %v, mine %v, kept %v, without a lock %v", there(left), there(mine.Path()), there(kept), there(other))
	}
	for _, f := range []*folder.Folder{mine, again} {
		if err := f.Remove(); err != nil || there(f.Path()) {
			t.Errorf("%v, still there: %v", err, there(f.Path()))
		}
	}
}

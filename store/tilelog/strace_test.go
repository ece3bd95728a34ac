package tilelog_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestSystemCallFaults lets the kernel, by way of strace, refuse or kill at system calls of
// a writing process: the real calls, not a seam.
func TestSystemCallFaults(t *testing.T) {
	dir := t.TempDir()
	strace, err := exec.LookPath("strace")
	if err == nil {
		err = exec.Command(strace, "-f", "-o", dir+"/try", "-e", "inject=fsync:error=EIO:when=1", "true").Run()
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("strace does not work here: %v", err)
		}
		t.Skipf("strace does not work here (install it, allow ptrace): %v", err)
	}
	log, secret, w := childLog(t)
	failures, killed := 0, 0
	for _, fault := range []string{
		"fsync:error=EIO", "fsync:error=ENOSPC", "fsync:signal=KILL",
		"write:error=ENOSPC", "write:signal=KILL",
		"/^rename:error=EIO", "/^rename:signal=KILL",
		"openat:signal=KILL",
	} {
		for _, when := range []int{1, 2, 5, 20} {
			under := []string{strace, "-f", "-qq", "-o", "/dev/null", "-P", log, "-P", log + "/journal", "-P", log + "/checkpoint",
				"-P", log + "/tile/0", "-P", log + "/tile/entries", "-e", fmt.Sprintf("inject=%s:when=%d", fault, when)}
			_, code := childRun(t, log, secret, w, 60*time.Millisecond, under...)
			switch code {
			case codeOpen, codeAppend:
				failures++
			case codeSurvived: // the fault's call did not come
			case -1, 137:
				killed++
			default:
				t.Fatalf("%s, call %d: child ended with code %d", fault, when, code)
			}
			w.check(t, log)
		}
	}
	if failures == 0 || killed == 0 {
		t.Errorf("%d runs failed in the log, %d were killed: the faults do not reach it", failures, killed)
	}
	t.Logf("%d runs failed in the log, %d were killed", failures, killed)
}

package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLinkStatic: the linker's wrapper drops the three warnings that it names, and nothing
// else that the linker says.
func TestLinkStatic(t *testing.T) {
	linker := filepath.Join(t.TempDir(), "cc")
	script := strings.ReplaceAll(`#!/bin/sh
echo "to standard output"
cat >&2 <<'END'
ld: a.o: in function ~x':
a.c:(.text+0x1): warning: Using 'dlopen' in statically linked applications requires at runtime the shared libraries
a.c:(.text+0x2): warning: Using 'getaddrinfo' in statically linked applications requires at runtime the shared libraries
ld: b.o: in function ~y':
b.c:(.text+0x1): warning: Using 'system' in statically linked applications requires at runtime the shared libraries
ld: c.o: in function ~z':
c.c: undefined reference to nothing
END
echo "$1" >&2
exit 7
`, "~", "`")
	if err := os.WriteFile(linker, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("../scripts/link-static", "an argument")
	cmd.Env = append(os.Environ(), "CC="+linker)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("exit %d, %v", cmd.ProcessState.ExitCode(), err)
	}
	want := []string{"ld: b.o: in function `y':", "b.c:(.text+0x1): warning: Using 'system' in statically linked applications requires at runtime the shared libraries",
		"ld: c.o: in function `z':", "c.c: undefined reference to nothing", "an argument", ""}
	if got := errs.String(); got != strings.Join(want, "\n") || out.String() != "to standard output\n" {
		t.Errorf("%q and %q", out.String(), got)
	}
}

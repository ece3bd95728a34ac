package ready

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"
)

// patience bounds a question to a program.
const patience = 10 * time.Second

// This is the machine that the program runs on; prove runs a machine under KVM.
func This(prove func(context.Context) error) Machine {
	return Machine{
		Files: os.DirFS("/"),
		Look: func(name string) string {
			path, err := exec.LookPath(name)
			if err != nil {
				return ""
			}
			return path
		},
		Ask: func(ctx context.Context, path string, args ...string) (string, error) {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, path, args...)
			cmd.WaitDelay = time.Second
			out, err := cmd.Output()
			return string(out), err
		},
		Open: func(path string) error {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			return f.Close()
		},
		Prove:       prove,
		SEVFirmware: sevFirmware,
	}
}

func statFile(files fs.FS, name string) (fs.FileInfo, error) {
	return fs.Stat(files, strings.TrimPrefix(name, "/"))
}

package ready

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	"strongroom.dev/predict"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
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
		Judge:       judge,
		Release:     predict.ReleaseOf,
		SEVFirmware: sevFirmware,
	}
}

func statFile(files fs.FS, name string) (fs.FileInfo, error) {
	return fs.Stat(files, strings.TrimPrefix(name, "/"))
}

// judge asks for what follows from firmware: a launch digest that covers a kernel, or
// registers that do.
func judge(platform wire.ID, firmware []byte) error {
	if platform == "tdx" {
		measures, err := predict.TDX{Firmware: firmware}.MeasuresBoot()
		if err == nil && !measures {
			err = verdict.Misuse("measure.firmware", "firmware that measures what boots", "it measures no kernel", "take a room image's own")
		}
		return err
	}
	_, err := predict.SNP{Firmware: firmware, Boot: &predict.DirectBoot{Kernel: []byte{0}}, VCPUs: 1, CPU: "EPYC-v4", Features: 1, VMM: predict.QEMU}.LaunchDigest()
	return err
}

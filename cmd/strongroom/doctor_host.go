package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"
	"strongroom.dev/host/qemu"
	"strongroom.dev/host/ready"
	"strongroom.dev/image"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// prognosis is what a machine has and lacks to host rooms of a platform.
type prognosis struct {
	Platform wire.ID         `json:"platform"`
	Ready    bool            `json:"ready"`
	Checks   []verdict.Check `json:"checks"`
}

// doctorFlags are what rooms are to be started with.
type doctorFlags struct{ platform, image, firmware, quotes string }

func (a *app) doctorHost() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "host",
		Short: "Check what this machine lacks to host rooms as virtual machines",
		Long: `Looks at processor, kernel, devices, firmware and programs, and names each thing that hosting
rooms takes and that is missing, with what mends it. KVM counts once a machine has come through
its firmware under it: --image names whose, otherwise the system's OVMF. Firmware for snp and tdx
is the image's too, unless --firmware names another.

With --platform the exit code is 1 if something is missing; without it, only if rooms of no
platform can be hosted.`,
		Example: `  strongroom doctor host
  strongroom doctor host --platform tdx --image room
  strongroom doctor host --platform snp --image room --firmware OVMF.amdsev.fd`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.diagnoseHost(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.platform, "platform", "", "tpm, snp or tdx (default: all)")
	flags.StringVar(&f.image, "image", "", "`DIR` of the room image to be used")
	flags.StringVar(&f.firmware, "firmware", "", "`FILE` of firmware to be used on snp or tdx (default: the image's)")
	flags.StringVar(&f.quotes, "quote-service", defaultQuotes, "`SOCKET` of the quote generation service on tdx, or vsock:CID:PORT")
	return cmd
}

func (a *app) diagnoseHost(ctx context.Context, f doctorFlags) error {
	platforms := ready.Platforms()
	if f.platform != "" {
		platforms = []wire.ID{wire.ID(f.platform)}
	}
	if err := f.check(); err != nil {
		return err
	}
	if err := tempRoom(0); err != nil {
		return err // the machine that KVM is tried with needs it
	}
	machine := ready.This(a.proof(f.image))
	var all []prognosis
	for _, p := range platforms {
		checks, err := machine.Examine(ctx, ready.Asked{Platform: p, Firmware: firmwareFor(f, p), QuoteSocket: f.quotes})
		if err != nil {
			return err
		}
		all = append(all, prognosis{p, firstFailed(checks) == nil, checks})
	}
	if err := a.print(map[string]any{"platforms": all}, func(w io.Writer) { printPrognoses(w, all) }); err != nil {
		return err
	}
	for _, p := range all {
		if p.Ready {
			return nil
		}
	}
	return verdict.FromCheck(verdict.Broken, *firstFailed(all[0].Checks), all[0].Checks)
}

// check finds what is wrong with the flags, and makes their paths absolute: QEMU is run elsewhere.
func (f *doctorFlags) check() (err error) {
	if f.firmware != "" && (f.platform == "" || f.platform == string(qemu.TPM)) {
		return verdict.Misuse("--platform", "snp or tdx, since firmware is named", strconv.Quote(verdict.Short(f.platform)), "name the platform that it is for")
	}
	if f.firmware, err = absolute(f.firmware); err != nil {
		return err
	}
	if f.image, err = absolute(f.image); err != nil || f.image == "" {
		return err
	}
	_, err = image.Open(f.image)
	return err
}

// firmwareFor gives the firmware that rooms of a platform are started with: what was named, or the
// image's own; "" without either.
func firmwareFor(f doctorFlags, platform wire.ID) string {
	switch {
	case f.firmware != "" || f.image == "":
		return f.firmware
	case platform == qemu.SNP:
		return filepath.Join(f.image, image.FileSNP)
	}
	return filepath.Join(f.image, image.FileTDX)
}

// absolute gives a path that is no matter of the working directory, "" for none.
func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

// proof gives what runs a machine under KVM, once for all platforms.
func (a *app) proof(dir string) func(context.Context) error {
	code, variables := "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
	if dir != "" {
		code, variables = filepath.Join(dir, image.FileCode), filepath.Join(dir, image.FileVars)
	}
	asked := false
	var answer error
	return func(ctx context.Context) error {
		if !asked {
			asked = true
			answer = qemu.Prove(ctx, qemu.FindPrograms(), code, variables)
		}
		return answer
	}
}

func firstFailed(checks []verdict.Check) *verdict.Check {
	for _, c := range checks {
		if !c.OK {
			return &c
		}
	}
	return nil
}

func printPrognoses(w io.Writer, all []prognosis) {
	for i, p := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		can := "can"
		if !p.Ready {
			can = "can NOT"
		}
		fmt.Fprintf(w, "This machine %s host rooms of platform %s\n", can, p.Platform)
		for _, c := range p.Checks {
			state := "ok"
			if !c.OK {
				state = "NO"
			}
			fmt.Fprintf(w, "  %-3s %-20s %s\n", state, c.ID, c.Got)
			if !c.OK {
				fmt.Fprintf(w, "      expected %s; %s\n", c.Expected, c.Fix)
			}
		}
	}
}

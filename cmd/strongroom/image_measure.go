package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/attest/dev"
	"strongroom.dev/attest/snp"
	"strongroom.dev/attest/tdx"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/image"
	"strongroom.dev/predict"
	"strongroom.dev/reference"
	"strongroom.dev/reference/draft"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// How the image comes to be started, by --boot.
const (
	fromVMM  = "kernel" // handed over by the virtual machine monitor
	fromDisk = "disk"   // by firmware that isn't the image's
)

// measureFlags are what a machine is started with, as far as its evidence shows it.
type measureFlags struct {
	platform                 string
	firmware, kernel, initrd string
	line                     string
	lineGiven                bool
	vcpus                    int
	vcpuType, features, vmm  string
	memory, acpi, from       string
	sign                     []string
	draft                    draftFlags
	inputs                   map[string]string // SHA-256 of what was read, by its part
	files                    map[string]string // and the file that it was read from; nil: nobody asks
}

// prediction is what evidence will carry.
type prediction struct {
	Platform string            `json:"platform"`
	Values   map[string]string `json:"values"`
	Inputs   map[string]string `json:"inputs"`
	// Files are the names of the files that the inputs were read from.
	Files map[string]string `json:"files"`
	// Notes say what has no value here, and why.
	Notes []string `json:"notes,omitempty"`

	// measurements are the values under the names that agreements and reference values use.
	measurements map[string]string
	group        wire.ID // a name for them in a set
	unproven     bool    // nothing in them says what boots
}

func (a *app) imageMeasure() *cobra.Command {
	var f measureFlags
	cmd := &cobra.Command{
		Use:   "measure [DIR] [--platform dev|tpm|snp|tdx]",
		Short: "Print the values that evidence of a room image will carry",
		Long: `Computes what evidence of a machine will carry, from the files that it boots: those of an
image directory, or files named one by one, which take the place of the directory's. Nothing is
started, and no key is needed. An agreement lists these values; so do reference values, which
--sign makes. spec/measurements.md has the rules.

  tpm   the PCRs of a machine that QEMU starts with OVMF, a TPM and the image, and the firmware by
        the digests of its parts: the same for all sizes of memory and numbers of processors.
        With --boot disk, those that follow from the image under anybody's firmware.
  snp   the launch digest: firmware, processors, and with a kernel its hashes, for which the
        firmware must have an area (OVMF's AmdSev build, which images have if their lock does).
        --vcpus, --vcpu-type, --guest-features and --vmm change it. The last 4 KiB of firmware do for
        comparing tools.
  tdx   MRTD and the RTMRs. RTMR 0 depends on --memory, and on the ACPI tables that QEMU makes for
        the machine (--acpi); without them it has no value, and the text says so.
  dev   the digests of the programs beside this one, which the insecure dev platform runs.`,
		Example: `  strongroom image measure --platform dev
  strongroom image measure room                       # on tpm
  strongroom image measure room --platform tdx --memory 2G --acpi tables
  strongroom image measure room --platform snp --firmware OVMF.amdsev.fd --vcpus 2 --vcpu-type EPYC-v4
  strongroom image measure --platform snp --firmware OVMF.amdsev.fd --kernel vmlinuz --initrd initrd --append 'console=ttyS0'
  strongroom image measure room --platform snp --sign release.key -o snp.set`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.lineGiven = cmd.Flags().Changed("append")
			if len(args) > 0 && !cmd.Flags().Changed("platform") {
				f.platform = string(tpm.Name) // an image is of machines, and most people's machines have no more
			}
			return a.measureImage(f, args, cmd.Flags().Changed)
		},
	}
	f.add(cmd)
	return cmd
}

func (f *measureFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.platform, "platform", string(dev.Name), "platform of the room: dev, tpm, snp or tdx; tpm with DIR")
	flags.StringVar(&f.firmware, "firmware", "", "`FILE` of the firmware (OVMF)")
	flags.StringVar(&f.kernel, "kernel", "", "`FILE` of a unified kernel image, or of a kernel")
	flags.StringVar(&f.initrd, "initrd", "", "`FILE` of the initial RAM disk beside a kernel")
	flags.StringVar(&f.line, "append", "", "command `LINE` beside a kernel")
	flags.IntVar(&f.vcpus, "vcpus", 1, "processors of the machine")
	flags.StringVar(&f.vcpuType, "vcpu-type", "EPYC-v4", "their `TYPE`, as QEMU's -cpu names AMD's, or a CPUID signature in hex")
	flags.StringVar(&f.features, "guest-features", "0x1", "SEV_FEATURES of the machine, `HEX`")
	flags.StringVar(&f.vmm, "vmm", string(predict.QEMU), "what runs the machine: QEMU, ec2 or gce")
	flags.StringVar(&f.memory, "memory", "", "`SIZE` of memory as QEMU's -m: MiB, or with M or G behind it")
	flags.StringVar(&f.acpi, "acpi", "", "`DIR` with table-loader, rsdp and tables, as QEMU hands them to firmware")
	flags.StringVar(&f.from, "boot", fromVMM, "on tpm, what starts the image: kernel (QEMU's -kernel), or disk (a cloud's or a machine's own firmware)")
	flags.StringArrayVar(&f.sign, "sign", nil, "`FILE` of a release key: write a signed set of reference values, to --out (repeatable)")
	flags.StringVarP(&f.draft.out, "out", "o", "", "`FILE` of the signed set")
	flags.StringVar(&f.draft.product, "product", "room", "`NAME` of what its values are of")
	flags.Int64Var(&f.draft.version, "version", 1, "its version, higher than that of the one before")
	flags.Int64Var(&f.draft.security, "security-version", 1, "raised when what came before must not be used any more")
	flags.Int64Var(&f.draft.days, "days", 90, "days that the set may be used, at most 180")
	flags.BoolVar(&f.draft.force, "force", false, "replace the file")
}

func (a *app) measureImage(f measureFlags, args []string, given func(flag string) bool) error {
	if flag := firstGiven(given, "out", "product", "version", "security-version", "days", "force"); flag != "" && len(f.sign) == 0 {
		return verdict.Misuse(flag, "--sign KEY with it", "none", "name the release key that signs, or leave "+flag+" out")
	}
	if err := a.noStdoutWithJSON(f.draft.out); err != nil {
		return err
	}
	if f.from != fromVMM && (f.from != fromDisk || f.platform != string(tpm.Name)) {
		return verdict.Misuse("--boot", "kernel; or disk, with --platform tpm", fmt.Sprintf("%q", verdict.Short(f.from)), "correct it")
	}
	f.inputs, f.files = map[string]string{}, map[string]string{}
	var p prediction
	var err error
	switch f.platform {
	case string(dev.Name):
		p, err = measuredDev(f, args)
	case string(snp.Name):
		p, err = a.measuredSNP(f, args)
	case string(tpm.Name):
		p, err = a.measuredTPM(f, args)
	case string(tdx.Name):
		p, err = a.measuredTDX(f, args)
	default:
		err = verdict.Misuse("--platform", "dev, tpm, snp or tdx", fmt.Sprintf("%q", verdict.Short(f.platform)), "name one of them")
	}
	if err != nil {
		return err
	}
	p.Files, p.Notes = f.files, append(p.Notes, f.useless(given)...)
	if len(f.sign) > 0 {
		for _, note := range p.Notes {
			a.say("note: %s", note)
		}
		return a.signPrediction(f, p)
	}
	return a.print(p, p.text)
}

// useless says of flags of other machines that nothing here depends on them: who gives one may
// think that it does.
func (f measureFlags) useless(given func(flag string) bool) (notes []string) {
	machine := []string{"vcpus", "vcpu-type", "guest-features", "vmm", "memory", "acpi"}
	used := map[string][]string{string(snp.Name): machine[:4], string(tdx.Name): machine[4:], string(tpm.Name): machine[4:5]}[f.platform]
	if f.from == fromDisk {
		used = nil
	}
	for _, flag := range machine {
		if given(flag) && !slices.Contains(used, flag) {
			notes = append(notes, "--"+flag+" changes nothing: what evidence of "+f.platform+" carries does not depend on it")
		}
	}
	return notes
}

// text shows what was measured, the values, and how an agreement lists them.
func (p prediction) text(w io.Writer) {
	for _, name := range byNumber(p.Inputs) {
		fmt.Fprintf(w, "measured %s: %s, SHA-256 %s\n", name, verdict.Printable(p.Files[name]), p.Inputs[name])
	}
	for _, name := range byNumber(p.Values) {
		fmt.Fprintf(w, "%s: %s\n", name, p.Values[name])
	}
	for _, note := range p.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	if p.unproven {
		fmt.Fprintln(w, "\nNo agreement can rest on these values: nothing in them proves which kernel runs.")
		return
	}
	fmt.Fprintf(w, "\nIn an agreement:\nplatforms:\n  - kind: %s\n", p.Platform)
	switch p.Platform {
	case string(dev.Name):
		fmt.Fprintln(w, "    root: <of the host: strongroom host root>")
	case string(tpm.Name):
		fmt.Fprintln(w, "    # root: of software TPMs, the host's: strongroom host root --platform tpm")
	}
	fmt.Fprint(w, "    images:\n      - name: room\n        measurements:\n")
	for _, name := range byNumber(p.measurements) {
		fmt.Fprintf(w, "          %s: %q\n", name, p.measurements[name])
	}
}

// byNumber gives the names in order, pcr2 before pcr11.
func byNumber(values map[string]string) []string {
	return slices.SortedFunc(maps.Keys(values), func(a, b string) int {
		letters := func(s string) string { return strings.TrimRight(s, "0123456789") }
		return cmp.Or(cmp.Compare(letters(a), letters(b)), cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
}

// signPrediction writes the values as a set of reference values of one group.
func (a *app) signPrediction(f measureFlags, p prediction) error {
	out := f.draft.out
	if out == "" {
		return verdict.Misuse("--out", "a file for the signed set", "none", "give -o FILE")
	}
	d := draft.Draft{Product: wire.ID(f.draft.product), Version: f.draft.version, SecurityVersion: f.draft.security, Days: f.draft.days}
	d.Groups = []reference.Group{{Name: p.group, Platform: wire.ID(p.Platform), Measurements: p.measurements, Exact: true}}
	v, err := d.Values(a.now())
	if err != nil {
		return err
	}
	doc, err := v.Document()
	if err != nil {
		return err
	}
	signers, err := loadKeys(f.sign)
	if err != nil {
		return err
	}
	for _, k := range signers {
		if err := doc.Sign(k); err != nil {
			return err
		}
	}
	return a.saveSet(&reference.Published{Values: v, Document: doc}, out, f.draft.force, "Next: strongroom reference publish "+verdict.ShellWord(out)+" --log DIR")
}

// read gives a part of the machine, from the file that the user named for it, or else from the
// image directory; nil if there is neither.
func (a *app) read(f measureFlags, part, named, dir, inDir string) ([]byte, error) {
	path, what := named, "the "+part
	if path == "" {
		if dir == "" || inDir == "" {
			return nil, nil
		}
		path = filepath.Join(dir, inDir)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, misfile(dir, "an image directory", "no "+inDir+" in it", "`strongroom image build` makes one; or name the file with --"+part)
		}
	}
	most := int64(predict.MaxImage)
	if part == "firmware" {
		most = predict.MaxFirmware
	}
	file, err := a.openFile(path, what)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	switch {
	case err != nil:
		return nil, fileError(path, what, err)
	case int64(len(data)) > most:
		return nil, misfile(path, what, fmt.Sprintf("more than %d bytes", most), "name the right file")
	case len(data) == 0:
		return nil, misfile(path, what, "an empty file", "name the right file")
	}
	hash := wire.HashOf(data)
	f.took(part, hash, path)
	return data, nil
}

// took notes what a part was read from.
func (f measureFlags) took(part string, hash wire.Hash, path string) {
	f.inputs[part] = fmt.Sprintf("%x", hash[:])
	if f.files != nil {
		f.files[part] = path
	}
}

// imageDir gives the image directory, if one was named. One with a manifest is checked whole,
// disks too: nobody should agree to a damaged image. Without, it is a folder of files to measure.
func imageDir(args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	info, err := os.Stat(args[0])
	switch {
	case err != nil:
		return "", fileError(args[0], "an image directory", err)
	case !info.IsDir():
		return "", misfile(args[0], "an image directory", "a file", "name the directory; single files have flags of their own")
	}
	if _, err := os.Stat(filepath.Join(args[0], image.FileManifest)); errors.Is(err, fs.ErrNotExist) {
		return args[0], nil
	}
	_, err = image.Open(args[0])
	return args[0], err
}

// boot gives what the virtual machine monitor hands over: the unified kernel image of the
// directory, or what was named; nil if there is none.
func (a *app) boot(f measureFlags, dir string) (*predict.DirectBoot, error) {
	kernel, err := a.read(f, "kernel", f.kernel, dir, image.FileUKI)
	if err != nil {
		return nil, err
	}
	initrd, err := a.read(f, "initrd", f.initrd, "", "")
	if err != nil {
		return nil, err
	}
	if kernel == nil && (initrd != nil || f.line != "") {
		return nil, verdict.Misuse("--kernel", "a kernel, since there is an initrd or a command line", "none", "name it; without a kernel neither is measured")
	}
	if kernel == nil {
		return nil, nil
	}
	return &predict.DirectBoot{Kernel: kernel, Initrd: initrd, Append: f.line}, nil
}

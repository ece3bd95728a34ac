package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/attest/dev"
	"strongroom.dev/attest/snp"
	"strongroom.dev/image"
	"strongroom.dev/machine"
	"strongroom.dev/predict"
	"strongroom.dev/reference/draft"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// ownFirmware gives the path of an image's own firmware for a platform that measures firmware at
// launch. Not every image has one for SEV-SNP.
func ownFirmware(dir, platform string) (string, error) {
	if platform != string(snp.Name) {
		return filepath.Join(dir, image.FileTDX), nil
	}
	path := filepath.Join(dir, image.FileSNP)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", verdict.Misuse("--firmware", "firmware for SEV-SNP that measures a kernel, OVMF's AmdSev build", "an image without: no "+image.FileSNP+" in it",
			"name it, or build an image that has it: strongroom image lock --update --snp, and image build with that lock")
	}
	return path, nil
}

// bootFiles gives firmware and kernel. inDir is the firmware's name in an image directory.
func (a *app) bootFiles(f measureFlags, args []string, inDir string) ([]byte, *predict.DirectBoot, error) {
	dir, err := imageDir(args)
	if err != nil {
		return nil, nil, err
	}
	if dir != "" && f.firmware == "" && inDir == image.FileSNP {
		if _, err := ownFirmware(dir, f.platform); err != nil {
			return nil, nil, err
		}
	}
	firmware, err := a.read(f, "firmware", f.firmware, dir, inDir)
	if err == nil && firmware == nil {
		err = verdict.Misuse("--firmware", "the firmware, or an image directory", "neither", "name it")
	}
	if err != nil {
		return nil, nil, err
	}
	boot, err := a.boot(f, dir)
	return firmware, boot, err
}

func (a *app) measuredTPM(f measureFlags, args []string) (prediction, error) {
	if f.from == fromDisk {
		return a.measuredDisk(f, args)
	}
	firmware, boot, err := a.bootFiles(f, args, image.FileCode)
	if err != nil {
		return prediction{}, err
	}
	memory, err := memorySize(f.memory)
	if err != nil {
		return prediction{}, err
	}
	v, err := predict.TPM{Firmware: firmware, Boot: boot, Memory: memory}.PCRs()
	if err != nil {
		return prediction{}, err
	}
	return predicted(f, v, "image").untouched(), nil
}

// measuredDisk predicts what follows from the image alone where other firmware starts it.
func (a *app) measuredDisk(f measureFlags, args []string) (prediction, error) {
	dir, err := imageDir(args)
	if err != nil {
		return prediction{}, err
	}
	boot, err := a.boot(f, dir)
	switch {
	case err != nil:
		return prediction{}, err
	case boot == nil:
		return prediction{}, verdict.Misuse("--kernel", "the unified kernel image, or an image directory", "neither", "name it")
	case len(boot.Initrd) > 0 || boot.Append != "" || f.firmware != "":
		return prediction{}, verdict.Misuse("--boot", "a unified kernel image alone with --boot disk", "something beside it", "leave out --firmware, --initrd and --append")
	}
	v, err := predict.DiskPCRs(boot.Kernel)
	if err != nil {
		return prediction{}, err
	}
	return predicted(f, v, "image").untouched(), nil
}

// untouched adds PCR 12, which nothing extends unless somebody injects a command line or
// credentials. Facts about evidence leave out what is zero, and so do agreements.
func (p prediction) untouched() prediction {
	p.Values = maps.Clone(p.Values)
	p.Values["pcr12"] = strings.Repeat("0", 64)
	p.Notes = append(slices.Clip(p.Notes), "pcr12 stays zero unless arguments or credentials come from beside the image; agreements leave out what is zero, and a room with anything in it is refused")
	return p
}

func (a *app) measuredTDX(f measureFlags, args []string) (prediction, error) {
	firmware, boot, err := a.bootFiles(f, args, image.FileTDX)
	if err != nil {
		return prediction{}, err
	}
	memory, err := memorySize(f.memory)
	if err != nil {
		return prediction{}, err
	}
	t := predict.TDX{Firmware: firmware, Boot: boot, Memory: memory}
	if f.acpi != "" {
		if memory == 0 {
			return prediction{}, verdict.Misuse("--memory", "the size of memory with --acpi", "none", "give the machine's -m")
		}
		t.ACPI = &predict.ACPI{}
		for _, file := range []struct {
			name string
			to   *[]byte
		}{{"table-loader", &t.ACPI.Loader}, {"rsdp", &t.ACPI.RSDP}, {"tables", &t.ACPI.Tables}} {
			if *file.to, err = a.read(f, file.name, filepath.Join(f.acpi, file.name), "", ""); err != nil {
				return prediction{}, err
			}
		}
	}
	v, err := t.Registers()
	group := "image"
	if memory != 0 {
		group = fmt.Sprintf("memory-%d", memory>>20)
	}
	if err != nil {
		return prediction{}, err
	}
	p := predicted(f, v, group)
	p.unproven = v.Values["rtmr1"] == ""
	return p, nil
}

// predicted names the values as they are: facts about these platforms use the same names.
func predicted(f measureFlags, v predict.Values, group string) prediction {
	return prediction{Platform: f.platform, Values: v.Values, Inputs: f.inputs, Notes: v.Notes, measurements: v.Values, group: draft.NameOf(group)}
}

// memorySize reads a size as QEMU's -m has it; 0 if none was given.
func memorySize(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	digits, shift := text, 20
	switch {
	case strings.HasSuffix(text, "G"):
		digits, shift = text[:len(text)-1], 30
	case strings.HasSuffix(text, "M"):
		digits = text[:len(text)-1]
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 || n<<shift>>shift != n {
		return 0, verdict.Misuse("--memory", "a size such as 512, 512M or 2G", fmt.Sprintf("%q", verdict.Short(text)), "give the machine's -m")
	}
	return n << shift, nil
}

func (a *app) measuredSNP(f measureFlags, args []string) (prediction, error) {
	firmware, boot, err := a.bootFiles(f, args, image.FileSNP)
	if err != nil {
		return prediction{}, err
	}
	var notes []string
	if len(args) > 0 && f.kernel == "" && !f.lineGiven {
		line, err := a.read(f, "cmdline", "", args[0], image.FileCmdline)
		if err != nil {
			return prediction{}, err
		}
		boot.Append = string(line) + " " + machine.NoByteCode // as rooms are started there
		notes = append(notes, "the command line that is measured is that of "+image.FileCmdline+" with "+machine.NoByteCode+" behind it, which rooms on SEV-SNP are started with")
	}
	features, err := strconv.ParseUint(strings.TrimPrefix(f.features, "0x"), 16, 64)
	if err != nil {
		return prediction{}, verdict.Misuse("--guest-features", "a number in hex, such as 0x1", fmt.Sprintf("%q", verdict.Short(f.features)), "correct it")
	}
	digest, err := predict.SNP{Firmware: firmware, Boot: boot, VCPUs: f.vcpus, CPU: f.vcpuType, Features: features, VMM: predict.VMM(f.vmm)}.LaunchDigest()
	if err != nil {
		return prediction{}, err
	}
	value := fmt.Sprintf("%x", digest[:])
	return prediction{
		Platform: f.platform, Inputs: f.inputs, Notes: notes, Values: map[string]string{"launch_digest": value},
		measurements: map[string]string{"measurement": value},
		group:        draft.NameOf(fmt.Sprintf("vcpus-%d", f.vcpus)),
		unproven:     boot == nil,
	}, nil
}

// measuredDev measures the programs beside this one as the dev launcher does, and gives the
// SHA-256 of each file too, for comparing downloads.
func measuredDev(f measureFlags, args []string) (prediction, error) {
	if len(args) > 0 || f.firmware != "" || f.kernel != "" || f.initrd != "" || f.lineGiven {
		return prediction{}, verdict.Misuse("--platform", "the platform of a virtual machine, since there is an image", "dev", "give --platform")
	}
	m := dev.Measurement{Helpers: map[string]wire.Digest{}}
	for _, name := range []string{agentProgram, sqlProgram} {
		digest, err := measure(name)
		if err != nil {
			return prediction{}, err
		}
		if name == agentProgram {
			m.Agent = digest
		} else {
			m.Helpers[name] = digest
		}
		path, err := beside(name)
		if err != nil {
			return prediction{}, err
		}
		file, err := os.Open(path)
		if err != nil {
			return prediction{}, err
		}
		hash, _, err := wire.HashReader(file)
		file.Close()
		if err != nil {
			return prediction{}, err
		}
		f.took(name, hash, path)
	}
	return prediction{Platform: f.platform, Values: m.Named(), Inputs: f.inputs, measurements: m.Named(), group: "programs"}, nil
}

// The programs that make a room, as they stand beside this one.
const (
	agentProgram = "strongroom-agent"
	sqlProgram   = "strongroom-sql"
)

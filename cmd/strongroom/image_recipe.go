package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/host/qemu"
	"strongroom.dev/image"
	"strongroom.dev/image/cloud"
	"strongroom.dev/internal/durable"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// recipeFlags are how a machine is launched elsewhere.
type recipeFlags struct {
	disk     string
	force    bool
	firmware string
	vcpus    int
	vcpuType string
	memory   string
}

func (a *app) imageRecipe() *cobra.Command {
	var f recipeFlags
	cmd := &cobra.Command{
		Use:   "recipe " + strings.Join(cloud.Targets(), "|") + " [DIR]",
		Short: "Print how an image is launched in a cloud or on a host of yours",
		Long: `Prints the commands that bring a room image to a place and launch it there, and the values that
a broker will see, computed from the image. --disk also writes the image in the form that a
cloud takes: a virtual hard disk for azure, an archive for gcp, a raw disk for aws; each is a
disk whose only program is the unified kernel image. The same image gives the same bytes.

--firmware names the firmware of the place, where the launch digest follows from it and is not
the image's own. Without an image the page is that of docs/cloud.`,
		Example: `  strongroom image recipe azure room --disk room.vhd
  strongroom image recipe tdx room --memory 8G
  strongroom image recipe snp room --firmware OVMF.amdsev.fd --vcpus 4`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error { return a.recipe(f, args[0], args[1:]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.disk, "disk", "", "`FILE` to write the image to, as the cloud takes it")
	flags.BoolVar(&f.force, "force", false, "replace the file")
	flags.StringVar(&f.firmware, "firmware", "", "`FILE` of the firmware that starts it there")
	flags.IntVar(&f.vcpus, "vcpus", 2, "processors of the machine")
	flags.StringVar(&f.vcpuType, "vcpu-type", qemu.DefaultCPU, "their `TYPE`, as QEMU's -cpu names AMD's")
	flags.StringVar(&f.memory, "memory", "4G", "`SIZE` of the machine's memory")
	return cmd
}

func (a *app) recipe(f recipeFlags, target string, dir []string) error {
	r := cloud.Recipe{Target: target, Image: "room", VCPUs: f.vcpus, Model: f.vcpuType, Memory: f.memory, Disk: f.disk}
	if r.Disk == "" {
		r.Disk = cloud.File(target)
	}
	if target == cloud.SNP || target == cloud.TDX {
		line, err := launchLine(target, f)
		if err != nil {
			return err
		}
		r.Command = line
	}
	if _, err := r.Markdown(); err != nil {
		return err
	}
	if f.disk != "" && (len(dir) == 0 || cloud.File(target) == "") {
		return verdict.Misuse("--disk", "an image, and a cloud that takes it as a disk", target, "name the image's directory; hosts of one's own start it as it is")
	}
	if len(dir) > 0 {
		if _, err := image.Open(dir[0]); err != nil {
			return err
		}
		var err error
		if r.Image = dir[0]; f.disk != "" {
			if err := a.writeDisk(f, target, dir[0]); err != nil {
				return err
			}
		}
		if r.Groups, err = a.recipeValues(f, target, dir); err != nil {
			return err
		}
	}
	text, err := r.Markdown()
	if err != nil {
		return err
	}
	if target == cloud.SNP && len(dir) > 0 {
		text = withFirmware(text, dir[0], f.firmware)
	}
	return a.print(map[string]any{"target": target, "groups": r.Groups, "recipe": text}, func(w io.Writer) { fmt.Fprint(w, text) })
}

// hostFirmware is how an SEV-SNP host's firmware is called here until its owner names it.
const hostFirmware = "OVMF.amdsev.fd"

// withFirmware names the firmware in a recipe's commands, where it is not the image's own.
func withFirmware(text, dir, firmware string) string {
	if firmware == "" {
		if _, err := ownFirmware(dir, string(qemu.SNP)); err == nil {
			return text
		}
		firmware = hostFirmware
	}
	return strings.NewReplacer("--platform snp", "--platform snp --firmware "+verdict.ShellWord(firmware), "/IMAGE/"+image.FileSNP, firmware).Replace(text)
}

// recipeValues predicts what evidence will carry at a place.
func (a *app) recipeValues(f recipeFlags, target string, dir []string) ([]cloud.Group, error) {
	m := measureFlags{vcpus: f.vcpus, vcpuType: f.vcpuType, features: "0x1", vmm: "QEMU", memory: f.memory, firmware: f.firmware, inputs: map[string]string{}}
	switch target {
	case cloud.TDX:
		m.platform = string(qemu.TDX)
		p, err := a.measuredTDX(m, dir)
		return groupOf(fmt.Sprintf("With %s of memory", f.memory), p), err
	case cloud.SNP:
		if _, err := ownFirmware(dir[0], string(qemu.SNP)); err != nil && f.firmware == "" {
			return []cloud.Group{{Title: "With the firmware of your host", Notes: []string{"No value follows from this image alone: it has no firmware for SEV-SNP (" + image.FileSNP +
				"). Give the host's, and the launch digest stands here: `" + a.self() + " image recipe snp " + verdict.ShellWord(dir[0]) + " --firmware " + hostFirmware + "`; or build the image anew with a lock that has one, as above."}}}, nil
		}
		p, err := a.launchDigest(m, "QEMU", dir)
		return groupOf(fmt.Sprintf("With %d processors of model %s", f.vcpus, f.vcpuType), p), err
	}
	disk := m
	disk.platform, disk.firmware, disk.from = string(qemu.TPM), "", fromDisk
	p, err := a.measuredDisk(disk, dir)
	groups := groupOf("PCRs of the SHA-256 bank that follow from the image, whatever the firmware", p)
	if err != nil || f.firmware == "" || target == cloud.Azure {
		return groups, err
	}
	// The firmware boots the disk: no kernel is handed to it, and so none is in the digest.
	m.vmm = map[string]string{cloud.GCP: "gce", cloud.AWS: "ec2"}[target]
	p, err = a.launchDigest(m, m.vmm, nil)
	return append(groups, groupOf(fmt.Sprintf("Launch digest of %s with %d processors", filepath.Base(f.firmware), f.vcpus), p)...), err
}

func (a *app) launchDigest(m measureFlags, vmm string, dir []string) (prediction, error) {
	m.platform, m.vmm = string(qemu.SNP), vmm
	return a.measuredSNP(m, dir)
}

func groupOf(title string, p prediction) []cloud.Group {
	g := cloud.Group{Title: title, Notes: p.Notes}
	for _, name := range byNumber(p.Values) {
		g.Values = append(g.Values, cloud.Value{Name: name, Value: p.Values[name]})
	}
	return []cloud.Group{g}
}

// writeDisk writes the image as a cloud takes it, whole or not at all.
func (a *app) writeDisk(f recipeFlags, target, dir string) error {
	kernel, err := os.ReadFile(filepath.Join(dir, image.FileUKI))
	if err != nil {
		return fileError(dir, "an image directory", err)
	}
	disk, err := cloud.NewDisk(kernel, cloud.Unit(target))
	if err != nil {
		return err
	}
	if _, err := os.Lstat(f.disk); err == nil && !f.force {
		return misfile(f.disk, "a file that is not there yet", "a file", "give another name, or --force")
	}
	out, err := durable.Create(f.disk, 0o644)
	if err != nil {
		return fileError(f.disk, "a place for the disk", err)
	}
	switch target {
	case cloud.Azure:
		err = disk.WriteVHD(out)
	case cloud.GCP:
		buffered := bufio.NewWriterSize(out, 1<<20)
		err = errors.Join(disk.WriteTarGz(buffered), buffered.Flush())
	default:
		_, err = disk.WriteTo(out)
	}
	if err != nil {
		out.Abort()
		return fileError(f.disk, "a place for the disk", err)
	}
	if err := out.Commit(); err != nil {
		return fileError(f.disk, "a place for the disk", err)
	}
	a.say("written: %s, a disk of %d MiB", f.disk, disk.Size()>>20)
	return nil
}

// launchLine shows what starts one room, with names in place of what is the room's own.
func launchLine(target string, f recipeFlags) (string, error) {
	memory, err := memorySize(f.memory)
	if err != nil {
		return "", err
	}
	in := func(name string) string { return path.Join("/IMAGE", name) }
	c := qemu.Config{
		Platform: qemu.SNP, Accel: qemu.KVM, CPUs: f.vcpus, Memory: int(memory >> 20), Firmware: in(image.FileSNP), Kernel: in(image.FileUKI),
		Disks:   []qemu.Disk{{Serial: "engine-0", Path: in(image.EngineFile(sqlProgram))}, {Serial: "input-0", Path: "/DATA/INPUT.age"}},
		Channel: qemu.Socket{Path: "/ROOM/channel"}, Console: "/ROOM/console.log", InitData: wire.Digest{1}, ShortInitData: wire.Hash{1},
		SNP: snpConfig(f.vcpuType, image.Cmdline), TDX: qemu.TDXConfig{QuoteSocket: defaultQuotes},
	}
	if target == cloud.TDX {
		c.Platform, c.Firmware = qemu.TDX, in(image.FileTDX)
	}
	args, err := c.Args()
	if err != nil {
		return "", err
	}
	hash, digest := base64.StdEncoding.EncodeToString(c.ShortInitData[:]), base64.StdEncoding.EncodeToString(c.InitData[:])
	return strings.NewReplacer(hash, "SHORT-INIT-DATA-IN-BASE64", digest, "INIT-DATA-IN-BASE64").Replace(qemu.Line("qemu-system-x86_64", args)), nil
}

// Package image makes the files that a room's virtual machine boots from, and looks into
// them: one unified kernel image with everything that is measured, one disk for each engine,
// firmware, and a list of all of it with its origin (docs/room-images.md).
//
// Who makes an image twice gets the same bytes: the package computes from its inputs alone.
// It is never part of a room.
package image

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"strongroom.dev/machine"
	"strongroom.dev/verdict"
	"strongroom.dev/verity"
	"strongroom.dev/wire"
)

// Cmdline is the kernel's command line in every image. It is measured. The kernel keeps
// secrets from whoever gains its own root (lockdown), loads modules only with Debian's
// signature, stops the machine when it fails, and writes to the serial line only. It follows no
// tables of the host's that say what to write where (ERST), or where errors stand (HEST, BERT),
// and calls none of the firmware's services once it runs (spec/host-interface.md, section 3).
const Cmdline = "console=ttyS0 quiet panic=-1 lockdown=confidentiality module.sig_enforce=1 erst_disable hest_disable bert_disable efi=noruntime"

// Limits of what is built, in bytes: firmware under software emulation takes a second to
// measure each 4 MB.
const (
	MaxUKI  = 17_000_000
	MaxDisk = 60_000_000
)

// wantedModules are the kernel modules that rooms use, beside what they depend on. Drivers
// of one platform are in every image; they find no device elsewhere.
func wantedModules() []string {
	return []string{
		"virtio_blk", "virtio_rng", // disks, entropy
		"dm_mod", "dm_verity", "dm_crypt", "xts", // engines' disks; spill under keys of one boot
		"erofs",                   // containers' roots and data
		"dm_integrity", "authenc", // their volumes and scratch
		"aesni_intel", "sha256_ssse3", // faster, where the processor can
		"configfs", "tsm", "sev_guest", "tdx_guest", "nsm", // evidence
	}
}

// Program is one of our own programs: its name and its bytes.
type Program struct {
	Name wire.ID
	Data []byte
}

// Config says what to build an image of. The zero value builds nothing.
type Config struct {
	// Lock names the packages, Packages gives the bytes of each, under its digest.
	Lock     Lock
	Packages func(Package) ([]byte, error)
	// Agent is the first process, Engines the programs beside it.
	Agent   Program
	Engines []Program
	// Version is the build's name, which goes into the image's own description of itself.
	Version string
}

// Image is an image in memory: its files by name.
type Image struct {
	Manifest Manifest
	Files    map[string][]byte
}

// parts is what the packages gave.
type parts struct {
	lock                 Lock
	vmlinuz, stub        debFile
	code, vars, tdx, snp debFile // snp is empty where the lock has none
	vmlinuzPath          string
	release              string
	modules              []module
	newest               time.Time
}

// The files that an image takes out of packages.
const (
	stubPath     = "usr/lib/systemd/boot/efi/linuxx64.efi.stub"
	codePath     = "usr/share/OVMF/OVMF_CODE_4M.fd"
	varsPath     = "usr/share/OVMF/OVMF_VARS_4M.fd"
	tdxPath      = "usr/share/ovmf/OVMF.fd"
	snpPath      = "usr/share/ovmf/OVMF.amdsev.fd"
	kernelPrefix = "boot/vmlinuz-"
	modulePrefix = "lib/modules/"
)

// Build makes an image. Errors are of kind Refused where a limit is passed, of kind Invalid
// where a package isn't the one that the lock names.
func Build(c Config) (*Image, error) {
	if c.Agent.Name == "" || len(c.Agent.Data) == 0 || c.Packages == nil {
		return nil, verdict.Misuse("image.build", "an agent and packages", "none", "say what to build of")
	}
	if !plainVersion(c.Version) {
		return nil, verdict.Misuse("image.build", "the build's version, letters, digits and .+~_-", strconv.Quote(verdict.Short(c.Version)), "build strongroom with make build")
	}
	if err := c.Lock.check(); err != nil {
		return nil, err
	}
	p, err := readPackages(c)
	if err != nil {
		return nil, err
	}
	b := builder{c, p, &Image{Files: map[string][]byte{}}, map[string]goProgram{}}
	if err := b.build(); err != nil {
		return nil, err
	}
	return b.image, nil
}

// plainVersion reports whether a version needs no quoting in os-release and elsewhere.
func plainVersion(v string) bool {
	return v != "" && len(v) <= 64 && strings.Trim(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+~_-") == ""
}

// readPackages takes what an image needs out of the packages.
func readPackages(c Config) (p parts, err error) {
	p.lock = c.Lock
	files := map[string]map[string]debFile{}
	for _, pkg := range c.Lock.Packages {
		deb, err := c.Packages(pkg)
		if err != nil {
			return p, err
		}
		if err := pkg.Verify(deb); err != nil {
			return p, err
		}
		if files[pkg.Use], err = readDeb(deb, wantedOf(pkg.Use)); err != nil {
			return p, fmt.Errorf("%s: %w", pkg.File(), err)
		}
	}
	for name, f := range files[UseKernel] {
		if release, found := strings.CutPrefix(name, kernelPrefix); found {
			p.vmlinuz, p.vmlinuzPath, p.release = f, name, release
		}
	}
	p.stub = files[UseStub][stubPath]
	p.code, p.vars = files[UseFirmware][codePath], files[UseFirmware][varsPath]
	p.tdx, p.snp = files[UseTDX][tdxPath], files[UseSNP][snpPath]
	needed := map[string]debFile{kernelPrefix + "*": p.vmlinuz, stubPath: p.stub, codePath: p.code, varsPath: p.vars, tdxPath: p.tdx}
	if c.Lock.Has(UseSNP) {
		needed[snpPath] = p.snp
	}
	for name, f := range needed {
		if len(f.data) == 0 {
			return p, &verdict.Error{Kind: verdict.Broken, Check: "image.package", Expected: "the file " + name + " in its package", Got: "none", Fix: "take the packages that the lock of this version names"}
		}
		if f.time.After(p.newest) {
			p.newest = f.time
		}
	}
	p.modules, err = newModules(files[UseKernel]).order(wantedModules())
	return p, err
}

func wantedOf(use string) func(string) bool {
	switch use {
	case UseKernel:
		return func(name string) bool {
			return strings.HasPrefix(name, kernelPrefix) || strings.HasPrefix(name, modulePrefix) && (strings.Contains(path.Base(name), ".ko") || path.Base(name) == "modules.builtin")
		}
	case UseStub:
		return func(name string) bool { return name == stubPath }
	}
	wanted := map[string][]string{UseFirmware: {codePath, varsPath}, UseTDX: {tdxPath}, UseSNP: {snpPath}}[use]
	return func(name string) bool { return slices.Contains(wanted, name) }
}

// How parts came to be that are neither of a package nor programs.
const (
	madeInitrd = "made: cpio packed with zstd"
	madeFixed  = "made: the same in all images of this version"
)

// builder puts an image together.
type builder struct {
	Config
	parts
	image    *Image
	programs map[string]goProgram
}

func (b builder) build() error {
	m := &b.image.Manifest
	*m = Manifest{Format: Format, Version: b.Version, Kernel: b.release, Cmdline: Cmdline, Packages: b.lock.Packages, Engines: []machine.Engine{}}
	if err := b.program(b.Agent, false); err != nil {
		return err
	}
	for i, e := range b.Engines {
		if err := b.engine(i, e); err != nil {
			return err
		}
	}
	initrd, err := b.initrd()
	if err != nil {
		return err
	}
	if err := b.uki(initrd); err != nil {
		return err
	}
	kernel, firmware := b.lock.Of(UseKernel).String(), b.lock.Of(UseFirmware).String()
	b.add(FileKernel, b.vmlinuz.data, Origin{Package: kernel, Path: b.vmlinuzPath})
	b.add(FileInitrd, initrd, Origin{Made: madeInitrd})
	b.add(FileCmdline, []byte(Cmdline), Origin{Made: madeFixed})
	b.add(FileCode, b.code.data, Origin{Package: firmware, Path: codePath})
	b.add(FileVars, b.vars.data, Origin{Package: firmware, Path: varsPath})
	b.add(FileTDX, b.tdx.data, Origin{Package: b.lock.Of(UseTDX).String(), Path: tdxPath})
	if b.lock.Has(UseSNP) {
		b.add(FileSNP, b.snp.data, Origin{Package: b.lock.Of(UseSNP).String(), Path: snpPath})
	}
	b.add(FileSBOM, makeSBOM(*m, b.newest, b.programs), Origin{Made: "made: packages, and what the programs say of themselves"})
	slices.SortFunc(m.Files, func(x, y File) int { return strings.Compare(x.Name, y.Name) })
	b.image.Files[FileManifest] = m.Text()
	return nil
}

func (b builder) add(name string, data []byte, origin Origin) {
	b.image.Files[name] = data
	b.image.Manifest.Files = append(b.image.Manifest.Files, fileOf(name, data, origin))
}

// program looks into one of our programs and lists it.
func (b builder) program(p Program, cgo bool) (err error) {
	if b.programs[string(p.Name)], err = readProgram(p, cgo); err != nil {
		return err
	}
	m := &b.image.Manifest
	m.Programs = append(m.Programs, fileOf(string(p.Name), p.Data, Origin{Made: "built from source"}))
	return nil
}

// engine makes the disk of one engine.
func (b builder) engine(i int, p Program) error {
	if !p.Name.Valid() || len(p.Data) == 0 || len(p.Data) > MaxDisk {
		return tooLarge("engine "+string(p.Name), MaxDisk, len(p.Data))
	}
	digest := wire.DigestOf(p.Data)
	salt := wire.SHA256("strongroom/engine-salt/v1", digest[:])
	disk, root, blocks, err := verity.Disk(p.Data, salt[:])
	if err != nil {
		return err
	}
	if len(disk) > MaxDisk {
		return tooLarge("the disk of engine "+string(p.Name), MaxDisk, len(disk))
	}
	m := &b.image.Manifest
	m.Engines = append(m.Engines, machine.Engine{Name: p.Name, Disk: machine.Disk(i), Root: root, Salt: salt, DataBlocks: blocks, Size: int64(len(p.Data)), Digest: digest})
	if err := b.program(p, true); err != nil {
		return err
	}
	b.add(EngineFile(p.Name), disk, Origin{Program: string(p.Name)})
	return nil
}

// initrd makes the room's first file system.
func (b builder) initrd() ([]byte, error) {
	kernel := b.lock.Of(UseKernel).String()
	config := machine.Config{Format: machine.Format, Modules: []string{}, Engines: b.image.Manifest.Engines}
	var entries []entry
	origins := map[string]Origin{"init": {Program: string(b.Agent.Name)}, "machine.json": {Made: "made: modules in their order, roots of engines' disks"}}
	for _, mod := range b.modules {
		config.Modules = append(config.Modules, mod.name)
		name := "modules/" + mod.name + ".ko"
		entries = append(entries, entry{name, mod.data})
		origins[name] = Origin{Package: kernel, Path: mod.from}
	}
	if err := config.Check(); err != nil {
		return nil, err
	}
	text, err := wire.Marshal(config)
	if err != nil {
		return nil, err
	}
	entries = append(entries, entry{"init", b.Agent.Data}, entry{"machine.json", text})
	slices.SortFunc(entries, func(x, y entry) int { return strings.Compare(x.name, y.name) })
	for _, e := range entries {
		b.image.Manifest.Initrd = append(b.image.Manifest.Initrd, fileOf(e.name, e.data, origins[e.name]))
	}
	return compress(writeCpio(Directories(), entries))
}

// Directories are those of the initrd: empty, or holding modules.
func Directories() []string {
	return []string{"dev", "mnt", "modules", "newroot", "proc", "run", "sys", "tmp"}
}

// compress packs with zstd, the same way on every machine: one thread, one level.
func compress(data []byte) ([]byte, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	defer e.Close()
	return e.EncodeAll(data, nil), nil
}

// uki makes the unified kernel image.
func (b builder) uki(initrd []byte) error {
	kernel := b.lock.Of(UseKernel).String()
	release := []byte("ID=strongroom\nNAME=\"Strongroom room\"\nVERSION_ID=\"" + b.Version + "\"\nPRETTY_NAME=\"Strongroom room " + b.Version + "\"\n")
	add := []section{
		{".osrel", release},
		{".cmdline", append([]byte(Cmdline), 0)}, // with the zero byte that the stub measures too
		{".uname", []byte(b.release)},
		{".linux", b.vmlinuz.data},
		{".initrd", initrd},
	}
	origins := []Origin{{Made: "made: the version"}, {Made: madeFixed}, {Made: "made: the kernel's release"}, {Package: kernel, Path: b.vmlinuzPath}, {Made: madeInitrd}}
	uki, err := appendSections(b.stub.data, add)
	if err != nil {
		return err
	}
	if len(uki) > MaxUKI {
		return tooLarge("the unified kernel image", MaxUKI, len(uki))
	}
	for i, s := range add {
		b.image.Manifest.Sections = append(b.image.Manifest.Sections, fileOf(s.name, s.data, origins[i]))
	}
	b.add(FileUKI, bytes.Clone(uki), Origin{Made: "made: " + stubPath + " of " + b.lock.Of(UseStub).String() + ", with sections behind it"})
	return nil
}

func tooLarge(what string, most, got int) error {
	return verdict.Refuse("image.size", fmt.Sprintf("%s of 1 to %d bytes", what, most), fmt.Sprintf("%d", got), "take what is not needed out of it")
}

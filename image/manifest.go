package image

import (
	"encoding/json"
	"fmt"

	"strongroom.dev/machine"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Format is the version of image.json.
const Format = "strongroom/image/v1"

// MaxManifest bounds the size of image.json, in bytes.
const MaxManifest = 1 << 20

// The files of an image's directory, beside one disk for each engine.
const (
	FileUKI          = "room.efi"       // unified kernel image: all that is measured of the room
	FileKernel       = "vmlinuz"        // the kernel in it, unmodified
	FileInitrd       = "initrd"         // the first file system in it, cpio packed with zstd
	FileCmdline      = "cmdline"        // the kernel's command line in it, text
	FileCode         = "OVMF_CODE.fd"   // firmware, read-only part
	FileVars         = "OVMF_VARS.fd"   // firmware, empty variable store; each boot needs a copy
	FileTDX          = "OVMF_TDX.fd"    // firmware in one piece, for trust domains of Intel's TDX
	FileSNP          = "OVMF_SNP.fd"    // firmware in one piece, for AMD's SEV-SNP; where the lock has it
	FileManifest     = "image.json"     // the manifest
	FileSBOM         = "sbom.spdx.json" // software bill of materials, SPDX 2.3
	engineDiskEnding = ".disk"
)

// EngineFile is the name of the file that holds an engine's disk.
func EngineFile(name wire.ID) string { return string(name) + engineDiskEnding }

// Manifest is image.json: what an image consists of and where each part came from. It is a
// description for people and tools; what a room measures is in the files themselves.
type Manifest struct {
	// Format is [Format].
	Format string `json:"format"`
	// Version is the build of Strongroom that made the image.
	Version string `json:"version"`
	// Kernel is the kernel's release, as uname prints it.
	Kernel string `json:"kernel"`
	// Cmdline is the kernel's command line.
	Cmdline string `json:"cmdline"`
	// Packages are the packages of others, Programs our own.
	Packages []Package `json:"packages"`
	Programs []File    `json:"programs"`
	// Files are the directory's, without the manifest itself.
	Files []File `json:"files"`
	// Sections are the parts of the unified kernel image that were added to the stub.
	Sections []File `json:"sections"`
	// Initrd are the files in the initrd; beside them it has [Directories] and nothing else.
	Initrd []File `json:"initrd"`
	// Engines say how engines' disks are checked, as /machine.json in the initrd does.
	Engines []machine.Engine `json:"engines"`
}

// File is one file, or a part of one.
type File struct {
	Name string `json:"name"`
	// Size is in bytes, SHA256 over exactly these.
	Size   int64     `json:"size"`
	SHA256 wire.Hash `json:"sha256"`
	Origin Origin    `json:"origin"`
}

// Origin says where a file came from: a file of a package, a program of ours, or made here.
type Origin struct {
	// Package is name and version of one of the manifest's packages, Path the file in it.
	Package string `json:"package,omitempty"`
	Path    string `json:"path,omitempty"`
	// Program is the name of one of the manifest's programs.
	Program string `json:"program,omitempty"`
	// Made says how it was made, where it comes from no package and is no program.
	Made string `json:"made,omitempty"`
}

// String says it in a few words.
func (o Origin) String() string {
	switch {
	case o.Package != "":
		return o.Package + ": " + o.Path
	case o.Program != "":
		return o.Program
	}
	return o.Made
}

func fileOf(name string, data []byte, origin Origin) File {
	return File{name, int64(len(data)), wire.HashOf(data), origin}
}

// ParseManifest reads image.json. Errors are of kind Invalid.
func ParseManifest(data []byte) (Manifest, error) {
	if len(data) > MaxManifest {
		return Manifest{}, badManifest(fmt.Sprintf("at most %d bytes", MaxManifest), "more")
	}
	canonical, err := wire.Canonical(data)
	if err != nil {
		return Manifest{}, badManifest("JSON", verdict.Short(err.Error()))
	}
	var m Manifest
	if err := wire.UnmarshalCanonical(canonical, &m); err != nil {
		return Manifest{}, badManifest("the format "+Format, verdict.Short(err.Error()))
	}
	if m.Format != Format {
		return Manifest{}, badManifest("the format "+Format, verdict.Short(m.Format))
	}
	return m, nil
}

// Text gives the manifest as it is kept in the image.
func (m Manifest) Text() []byte {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		panic(err) // strings and numbers: can't happen
	}
	return append(data, '\n')
}

// File gives the manifest's entry of a file of the directory.
func (m Manifest) File(name string) (File, bool) {
	for _, f := range m.Files {
		if f.Name == name {
			return f, true
		}
	}
	return File{}, false
}

func badManifest(expected, got string) error {
	return verdict.NotGenuine("image.manifest", expected, got, "build the image anew: strongroom image build")
}

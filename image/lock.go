package image

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// LockFormat is the version of image.lock.
const LockFormat = "strongroom/image-lock/v1"

// MaxLock bounds the size of image.lock, in bytes.
const MaxLock = 64 << 10

// Lock is image.lock: exactly which packages of others a room image is made of.
type Lock struct {
	// Format is [LockFormat].
	Format string `json:"format"`
	// Packages are one for each use, in the order of [Uses]; that for SEV-SNP may be left out.
	Packages []Package `json:"packages"`
}

// Package is one Debian package, by what it holds and not by who serves it: any mirror of
// the archive will do, none is named, and none is trusted.
type Package struct {
	// Use says what the image takes from it: one of [Uses].
	Use string `json:"use"`
	// Name and Version are Debian's own.
	Name    string `json:"name"`
	Version string `json:"version"`
	// Archive is "debian" or "debian-security": which of Debian's archives has it.
	Archive string `json:"archive"`
	// Suite is the release it was taken from, "bookworm-security".
	Suite string `json:"suite"`
	// Path is where it lies in its archive, "pool/…/NAME.deb".
	Path string `json:"path"`
	// Size is the package's in bytes, SHA256 its digest: checked before a byte is read.
	Size   int64     `json:"size"`
	SHA256 wire.Hash `json:"sha256"`
}

// What an image takes from a package.
const (
	UseKernel   = "kernel"   // vmlinuz and modules
	UseStub     = "stub"     // systemd's EFI stub
	UseFirmware = "firmware" // OVMF, for machines with a TPM

	// OVMF for machines that measure it at launch. They need newer builds than machines with a
	// TPM, whose rules of measurement belong to the older one.
	UseTDX = "firmware-tdx"
	UseSNP = "firmware-snp" // may be left out: no stable release of Debian has it yet
)

// Uses lists them all, in the order of a lock.
func Uses() []string { return []string{UseKernel, UseStub, UseFirmware, UseTDX, UseSNP} }

//go:embed image.lock
var builtinLock []byte // constant: the lock this version was built with

// BuiltinLock is the lock that this version of the program came with.
func BuiltinLock() (Lock, error) { return ParseLock(builtinLock) }

// ParseLock reads a lock. Errors are of kind Usage.
func ParseLock(data []byte) (Lock, error) {
	l, err := readLock(data)
	if err != nil {
		return Lock{}, err
	}
	return l, l.check()
}

// ParseOldLock reads a lock that is to be updated: it may also be one from before images had
// firmware of their own for each platform, which nothing is built of. Errors are of kind Usage.
func ParseOldLock(data []byte) (Lock, error) {
	l, err := readLock(data)
	if err != nil {
		return Lock{}, err
	}
	if first := []string{UseKernel, UseStub, UseFirmware}; slices.Equal(l.uses(), first) {
		return l, l.checkPackages()
	}
	return l, l.check()
}

func readLock(data []byte) (Lock, error) {
	if len(data) > MaxLock {
		return Lock{}, badLock(fmt.Sprintf("at most %d bytes", MaxLock), "more")
	}
	canonical, err := wire.Canonical(data)
	if err != nil {
		return Lock{}, badLock("JSON", verdict.Short(err.Error()))
	}
	var l Lock
	if err := wire.UnmarshalCanonical(canonical, &l); err != nil {
		return Lock{}, badLock("the format "+LockFormat, verdict.Short(err.Error()))
	}
	return l, nil
}

// Text gives the lock as it is kept in a file.
func (l Lock) Text() []byte {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		panic(err) // strings and numbers: can't happen
	}
	return append(data, '\n')
}

// Of gives the package for a use, the zero one if there is none. See [Lock.Has].
func (l Lock) Of(use string) Package {
	for _, p := range l.Packages {
		if p.Use == use {
			return p
		}
	}
	return Package{}
}

// Has reports whether a checked lock has a package for a use.
func (l Lock) Has(use string) bool { return l.Of(use).Name != "" }

func (l Lock) check() error {
	if err := l.checkPackages(); err != nil {
		return err
	}
	if all, uses := Uses(), l.uses(); !slices.Equal(uses, all) && !slices.Equal(uses, all[:len(all)-1]) {
		return badLock("packages for "+strings.Join(all, ", ")+" in this order, the last or not", verdict.Short(strings.Join(uses, ", ")))
	}
	return nil
}

func (l Lock) uses() []string {
	uses := make([]string, len(l.Packages))
	for i, p := range l.Packages {
		uses[i] = p.Use
	}
	return uses
}

func (l Lock) checkPackages() error {
	if l.Format != LockFormat {
		return badLock("the format "+LockFormat, strconv.Quote(verdict.Short(l.Format)))
	}
	for _, p := range l.Packages {
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

// maxPackage bounds a package, in bytes; kernels have 35 MB.
const maxPackage = 256 << 20

func (p Package) check() error {
	what := "package " + verdict.Short(p.Name)
	switch {
	case !debianWord(p.Name) || !debianWord(p.Version) || !debianWord(p.Suite):
		return badLock("name, version and suite as Debian writes them", what)
	case p.Archive != "debian" && p.Archive != "debian-security":
		return badLock("the archive debian or debian-security", what+": "+verdict.Short(p.Archive))
	case path.Clean(p.Path) != p.Path || !strings.HasPrefix(p.Path, "pool/") || path.Ext(p.Path) != ".deb" || !strings.HasPrefix(p.File(), p.Name+"_") || strings.Trim(p.Path, pathBytes) != "":
		return badLock("a path of the archive's pool", what+": "+verdict.Short(p.Path))
	case p.Size < 1 || p.Size > maxPackage || p.SHA256.IsZero():
		return badLock("a size of at most 256 MiB and a digest", what)
	}
	return nil
}

// pathBytes are what paths of Debian's pools consist of.
const pathBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-._~/"

func debianWord(s string) bool {
	return s != "" && len(s) <= 128 && strings.Trim(s, strings.TrimSuffix(pathBytes, "/")+":") == ""
}

// File is the package's file name.
func (p Package) File() string { return path.Base(p.Path) }

func (p Package) String() string { return p.Name + " " + p.Version }

func badLock(expected, got string) error {
	return verdict.Misuse("image.lock", expected, got, "strongroom image lock --update writes one")
}

// Verify reports whether these are the package's bytes. Errors are of kind Invalid.
func (p Package) Verify(deb []byte) error {
	if got := wire.HashOf(deb); int64(len(deb)) != p.Size || got != p.SHA256 {
		return p.otherBytes(int64(len(deb)), got.String())
	}
	return nil
}

func (p Package) otherBytes(size int64, digest string) error {
	return verdict.NotGenuine("image.package", fmt.Sprintf("%s: %d bytes, %s", p.File(), p.Size, p.SHA256), fmt.Sprintf("%d bytes, %s", size, digest),
		"the file is damaged or another one: remove it and fetch it anew")
}

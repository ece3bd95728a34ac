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
	// Packages are one for each use, in the order of [Uses].
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
	UseFirmware = "firmware" // OVMF
)

// Uses lists them all, in the order of a lock.
func Uses() []string { return []string{UseKernel, UseStub, UseFirmware} }

//go:embed image.lock
var builtinLock []byte // constant: the lock this version was built with

// BuiltinLock is the lock that this version of the program came with.
func BuiltinLock() (Lock, error) { return ParseLock(builtinLock) }

// ParseLock reads a lock. Errors are of kind Usage.
func ParseLock(data []byte) (Lock, error) {
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
	return l, l.check()
}

// Text gives the lock as it is kept in a file.
func (l Lock) Text() []byte {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		panic(err) // strings and numbers: can't happen
	}
	return append(data, '\n')
}

// Of gives the package for a use; a checked lock has one for each.
func (l Lock) Of(use string) Package {
	for _, p := range l.Packages {
		if p.Use == use {
			return p
		}
	}
	return Package{}
}

func (l Lock) check() error {
	if l.Format != LockFormat {
		return badLock("the format "+LockFormat, strconv.Quote(verdict.Short(l.Format)))
	}
	uses := make([]string, len(l.Packages))
	for i, p := range l.Packages {
		uses[i] = p.Use
		if err := p.check(); err != nil {
			return err
		}
	}
	if !slices.Equal(uses, Uses()) {
		return badLock("packages for "+strings.Join(Uses(), ", ")+", in this order", verdict.Short(strings.Join(uses, ", ")))
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

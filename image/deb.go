package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"strongroom.dev/verdict"
)

// Limits of a Debian package. The kernel's, the largest we read, unpacks to 50 MB in 3000
// files; modules and vmlinuz in it are compressed once more.
const (
	maxUnpacked = 512 << 20 // bytes of a package unpacked
	maxEntries  = 50_000    // files and directories
	maxMember   = 64 << 20  // bytes of one file taken out of it
)

// debFile is one file taken out of a package.
type debFile struct {
	data []byte
	time time.Time
}

// readDeb takes the files that want asks for out of a Debian binary package (deb(5)): an ar
// archive of debian-binary, control.tar and data.tar, each tar plain or compressed. Names
// are relative to the root, "boot/vmlinuz". Only regular files count: links are not followed.
func readDeb(deb []byte, want func(name string) bool) (map[string]debFile, error) {
	name, data, err := debMember(deb, "data.tar")
	if err != nil {
		return nil, err
	}
	r, err := decompress(strings.TrimPrefix(name, "data.tar"), bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return readTar(r, want)
}

// debMember finds the member of an ar archive whose name starts with prefix.
func debMember(deb []byte, prefix string) (name string, data []byte, err error) {
	const magic, header = "!<arch>\n", 60
	rest, found := bytes.CutPrefix(deb, []byte(magic))
	if !found {
		return "", nil, badDeb("an ar archive", "other bytes")
	}
	for n := 0; len(rest) >= header && n < 16; n++ {
		name := strings.TrimRight(strings.TrimRight(string(rest[:16]), " "), "/")
		size, err := strconv.ParseUint(strings.TrimRight(string(rest[48:58]), " "), 10, 40)
		if err != nil || string(rest[58:60]) != "`\n" || size > uint64(len(rest)-header) {
			return "", nil, badDeb("a header of an ar member", "a broken one")
		}
		if n == 0 && name != "debian-binary" {
			return "", nil, badDeb("debian-binary as the first member", strconv.Quote(verdict.Short(name)))
		}
		data := rest[header : header+int(size)]
		if strings.HasPrefix(name, prefix) {
			return name, data, nil
		}
		rest = rest[header+int(size):]
		if size%2 == 1 && len(rest) > 0 {
			rest = rest[1:]
		}
	}
	return "", nil, badDeb("a member "+prefix, "none")
}

// decompress reads what is packed as the name's ending says.
func decompress(ending string, r io.Reader) (io.Reader, error) {
	switch ending {
	case "":
		return r, nil
	case ".gz":
		return gzip.NewReader(r)
	case ".xz":
		return xz.NewReader(r)
	case ".zst":
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxUnpacked), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return nil, badDeb("a tar archive, plain or compressed with gzip, xz or zstd", strconv.Quote(verdict.Short(ending)))
}

func readTar(r io.Reader, want func(string) bool) (map[string]debFile, error) {
	files := map[string]debFile{}
	t := tar.NewReader(io.LimitReader(r, maxUnpacked))
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, badDeb("a whole tar archive", verdict.Short(err.Error()))
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if n >= maxEntries {
			return nil, badDeb(fmt.Sprintf("at most %d files", maxEntries), "more")
		}
		if h.Typeflag != tar.TypeReg || !want(name) {
			continue
		}
		if _, twice := files[name]; twice || h.Size > maxMember {
			return nil, badDeb(fmt.Sprintf("each file once and under %d bytes", maxMember), verdict.Short(name))
		}
		var data bytes.Buffer // grows with what comes, not with what the header promises
		if _, err := io.Copy(&data, t); err != nil {
			return nil, badDeb("a whole file "+verdict.Short(name), verdict.Short(err.Error()))
		}
		files[name] = debFile{data.Bytes(), h.ModTime}
	}
}

func badDeb(expected, got string) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "image.package", Expected: expected, Got: got, Fix: "the package is not one that image build can read"}
}

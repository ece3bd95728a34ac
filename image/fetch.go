package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"strongroom.dev/internal/durable"
	"strongroom.dev/verdict"
)

// Fetcher gets packages from mirrors of Debian's archives, and keeps them. Nothing that a
// mirror says is believed: a package counts once its digest is the lock's.
type Fetcher struct {
	Client *http.Client
	// Mirrors are base addresses by archive ("debian", "debian-security"); see [Mirrors].
	Mirrors map[string]string
	// Cache is the directory where packages stay; it is made if it isn't there.
	Cache string
	// Progress is told how many bytes of a package are there; nil for nobody.
	Progress func(p Package, done int64)
}

// Get gives a package's bytes, from the cache or from the mirror. A download that broke off
// goes on where it stopped.
func (f Fetcher) Get(ctx context.Context, p Package) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	path := f.path(p)
	if deb, err := readPackage(path, p); err == nil || !errors.Is(err, os.ErrNotExist) {
		return deb, err
	}
	if err := os.MkdirAll(f.Cache, 0o755); err != nil {
		return nil, err
	}
	unlock, err := durable.Lock(path+".lock", 10*time.Minute)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if deb, err := readPackage(path, p); err == nil { // somebody else was faster
		return deb, nil
	}
	part := path + ".part"
	if err := f.download(ctx, p, part); err != nil {
		return nil, err
	}
	deb, err := readPackage(part, p)
	if err != nil {
		return nil, errors.Join(err, os.Remove(part))
	}
	return deb, os.Rename(part, path)
}

// FromDir gives a package out of a directory where somebody put it, as files of its name.
func FromDir(dir string, p Package) ([]byte, error) {
	path := filepath.Join(dir, p.File())
	deb, err := readPackage(path, p)
	if errors.Is(err, os.ErrNotExist) {
		return nil, verdict.Misuse("--packages", path, "no such file", "put "+p.String()+" there ("+p.SHA256.String()+"), or leave --packages away to fetch it")
	}
	return deb, err
}

// readPackage reads a package whole and checks that it is the one.
func readPackage(path string, p Package) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() != p.Size {
		return nil, fmt.Errorf("%s: %w", path, p.otherBytes(info.Size(), "another digest"))
	}
	deb, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := p.Verify(deb); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return deb, nil
}

// download appends to a file until it is as long as the package.
func (f Fetcher) download(ctx context.Context, p Package, part string) error {
	base := f.Mirrors[p.Archive]
	if base == "" {
		return verdict.Misuse("--mirror", "the address of a mirror of "+p.Archive, "none, and none in this machine's apt sources",
			"--mirror URL, where URL/debian and URL/debian-security are; or --packages DIR with the files")
	}
	out, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	have, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if have > p.Size {
		have = 0
		if err := out.Truncate(0); err != nil {
			return err
		}
	}
	if have == p.Size {
		return nil
	}
	body, from, err := f.open(ctx, p, strings.TrimRight(base, "/")+"/"+p.Path, have)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := out.Truncate(from); err != nil {
		return err
	}
	return f.copy(out, body, p, from)
}

func (f Fetcher) copy(out *os.File, body io.Reader, p Package, from int64) error {
	count := &counter{f: f, p: p, done: from}
	n, err := io.Copy(io.MultiWriter(out, count), io.LimitReader(body, p.Size-from+1))
	if err == nil && from+n != p.Size {
		err = io.ErrUnexpectedEOF
		if from+n > p.Size {
			err = errors.New("more bytes than the package has")
		}
	}
	if err != nil {
		return &verdict.Error{Kind: verdict.Broken, Check: "image.fetch", Expected: fmt.Sprintf("%s, %d bytes", p.File(), p.Size), Got: fmt.Sprintf("%d bytes: %v", from+n, err),
			Fix: "call again: it goes on where it stopped", Err: err}
	}
	return out.Sync()
}

// open asks a mirror for a package from a byte on, and gives the byte that its answer starts at.
func (f Fetcher) open(ctx context.Context, p Package, url string, have int64) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, verdict.Misuse("--mirror", "the address of a mirror", verdict.Short(err.Error()), "http://HOST/…")
	}
	if have > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(have, 10)+"-")
	}
	resp, err := f.Client.Do(req)
	if err != nil {
		return nil, 0, &verdict.Error{Kind: verdict.Broken, Check: "image.fetch", Expected: p.File() + " from " + url, Got: verdict.Short(err.Error()),
			Fix: "try again, give another mirror with --mirror, or the files with --packages DIR", Err: err}
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		return resp.Body, 0, nil
	case resp.StatusCode == http.StatusPartialContent && have > 0 && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have)):
		return resp.Body, have, nil
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone {
		return nil, 0, &verdict.Error{Kind: verdict.Broken, Check: "image.fetch", Expected: p.String() + ", which image.lock names, at the mirror", Got: "it is gone: " + resp.Status + " from " + url,
			Fix: "Debian replaces packages: strongroom image lock --update moves the lock to the newest; or give a mirror that keeps old ones with --mirror, or the file with --packages DIR"}
	}
	return nil, 0, &verdict.Error{Kind: verdict.Broken, Check: "image.fetch", Expected: p.File() + " from " + url, Got: resp.Status, Fix: "try again, or give another mirror with --mirror"}
}

// counter tells how far a download is.
type counter struct {
	f    Fetcher
	p    Package
	done int64
}

func (c *counter) Write(data []byte) (int, error) {
	c.done += int64(len(data))
	if c.f.Progress != nil {
		c.f.Progress(c.p, c.done)
	}
	return len(data), nil
}

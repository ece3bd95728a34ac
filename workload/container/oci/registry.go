package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// registry is a repository of a registry (OCI distribution-spec), with a cache of what came.
type registry struct {
	ref    name.Reference
	client *http.Client
	cache  string
	tell   func(part string, done, total int64)
}

func openRegistry(ctx context.Context, src Source) (*registry, error) {
	ref, err := name.ParseReference(src.Name)
	if err != nil {
		return nil, verdict.Misuse("image", "HOST/NAME:TAG, HOST/NAME@sha256:HEX, oci:PATH or docker-archive:PATH", verdict.Short(src.Name), "name the image as docker and podman do")
	}
	if src.Cache == "" {
		return nil, verdict.Misuse("image.cache", "a directory for what is fetched", "none", "name one")
	}
	auth, err := authn.DefaultKeychain.Resolve(ref.Context())
	if err != nil {
		return nil, verdict.Misuse("registry.login", "what `docker login` or `podman login` wrote", verdict.Short(err.Error()), "log in again")
	}
	base := src.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	t, err := transport.NewWithContext(ctx, ref.Context().Registry, auth, base, []string{ref.Context().Scope(transport.PullScope)})
	if err != nil {
		return nil, broken(ref.Context().RegistryStr(), err)
	}
	tell := src.Progress
	if tell == nil {
		tell = func(string, int64, int64) {}
	}
	return &registry{ref, &http.Client{Transport: t}, src.Cache, tell}, nil
}

func broken(where string, err error) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "registry", Where: where, Expected: "an answer of the registry", Got: verdict.Short(err.Error()), Fix: "check the name, the network and `docker login`; what came already is kept", Err: err}
}

func (r *registry) close() error { return nil }

func (r *registry) get(ctx context.Context, kind, id, accept, part string) (*http.Response, error) {
	repo := r.ref.Context()
	url := fmt.Sprintf("%s://%s/v2/%s/%s/%s", repo.Scheme(), repo.RegistryStr(), repo.RepositoryStr(), kind, id)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	if part != "" {
		req.Header.Set("Range", part)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// failed says what came of a request that was not answered.
func (r *registry) failed(ctx context.Context, what string, err error) error {
	var e *verdict.Error
	if errors.As(err, &e) {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if status(err) == http.StatusNotFound {
		return absent(what, err)
	}
	return broken(verdict.Short(r.ref.Context().Name()), err)
}

// status is what a registry answered in a part's place; 0 where it did not answer.
func status(err error) int {
	var e *transport.Error
	if errors.As(err, &e) {
		return e.StatusCode
	}
	return 0
}

// mayPass tells whether an error is one that another try may not meet.
func mayPass(err error) bool {
	code := status(err)
	var e *verdict.Error
	return !errors.As(err, &e) && (code == 0 || code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout)
}

// again does something up to five times, with pauses, until it succeeds or fails for good.
func again(ctx context.Context, do func() error) error {
	for attempt := 0; ; attempt++ {
		err := do()
		if err == nil || !mayPass(err) || ctx.Err() != nil || attempt == 4 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(attempt+1) * time.Second / 2):
		}
	}
}

func (r *registry) top(ctx context.Context) (data []byte, reference, resolved string, err error) {
	data, err = r.tagged(ctx, r.ref.Identifier())
	if err != nil {
		return nil, "", "", err
	}
	got := wire.HashOf(data).String()
	if _, byDigest := r.ref.(name.Digest); !byDigest {
		resolved = r.ref.Identifier()
	} else if got != r.ref.Identifier() {
		return nil, "", "", verdict.NotGenuine("image.digest", r.ref.Identifier(), got, "whoever serves this image altered or damaged it")
	}
	return data, r.ref.Context().Name() + "@" + got, resolved, nil
}

// tagged gives the manifest or index of a tag or digest.
func (r *registry) tagged(ctx context.Context, id string) (data []byte, err error) {
	err = again(ctx, func() error {
		resp, err := r.get(ctx, "manifests", id, strings.Join([]string{typeIndex, typeManifest, dockerIndex, dockerManifest}, ", "), "")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		data, err = readSmall(resp.Body, maxManifest)
		return err
	})
	if err != nil {
		return nil, r.failed(ctx, verdict.Short(id), err)
	}
	return data, nil
}

// readSmall reads at most so many bytes; one more is an error.
func readSmall(r io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(data)) > most {
		return nil, refuse("image.size", fmt.Sprintf("at most %d bytes", most), "more", "this is no ordinary image")
	}
	return data, err
}

// small gives a manifest or a configuration: which of the two decides where it is asked for.
func (r *registry) small(ctx context.Context, d descriptor, most int64) ([]byte, error) {
	if d.MediaType == typeManifest || d.MediaType == dockerManifest || d.MediaType == typeIndex || d.MediaType == dockerIndex {
		return r.tagged(ctx, d.Digest)
	}
	b, err := r.blob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return readSmall(b, most)
}

// blob gives a part out of the cache, where it is put first. A fetch that broke off goes on
// where it ended.
func (r *registry) blob(ctx context.Context, d descriptor) (io.ReadCloser, error) {
	want, err := d.hash()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(r.cache, strings.ReplaceAll(want.String(), ":", "-"))
	if f, err := os.Open(path); err == nil {
		if got, n, err := wire.HashReader(f); err == nil && got == want && n == d.Size {
			_, err := f.Seek(0, io.SeekStart)
			return f, err
		}
		f.Close()
		os.Remove(path) // damaged: fetched anew
	}
	if err := os.MkdirAll(r.cache, 0o700); err != nil {
		return nil, err
	}
	if err := again(ctx, func() error { return r.fetch(ctx, d, want, path) }); err != nil {
		return nil, r.failed(ctx, want.String(), err)
	}
	return os.Open(path)
}

// fetch adds to what is there of a part until it is whole, and gives it its name.
func (r *registry) fetch(ctx context.Context, d descriptor, want wire.Hash, path string) error {
	f, err := os.OpenFile(path+".part", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if have > d.Size {
		have = 0
	}
	if have < d.Size {
		if err := r.rest(ctx, d, want, f, have); err != nil {
			return err
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	got, n, err := wire.HashReader(io.LimitReader(f, d.Size+1))
	if err != nil {
		return err
	}
	if got != want || n != d.Size {
		if err := f.Truncate(0); err != nil {
			return err
		}
		if have > 0 { // perhaps it was what lay there
			return r.fetch(ctx, d, want, path)
		}
		return verdict.NotGenuine("image.digest", fmt.Sprintf("%s, %d bytes", want, d.Size), fmt.Sprintf("%s, %d bytes", got, n), "whoever serves this image altered or damaged it")
	}
	return os.Rename(f.Name(), path)
}

func (r *registry) rest(ctx context.Context, d descriptor, want wire.Hash, f *os.File, have int64) error {
	part := ""
	if have > 0 {
		part = fmt.Sprintf("bytes=%d-%d", have, d.Size-1) // both ends: not every registry takes less
	}
	resp, err := r.get(ctx, "blobs", want.String(), "", part)
	if have > 0 && status(err) == http.StatusRequestedRangeNotSatisfiable {
		return r.rest(ctx, d, want, f, 0)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		have = 0
	}
	if err := f.Truncate(have); err != nil {
		return err
	}
	if _, err := f.Seek(have, io.SeekStart); err != nil {
		return err
	}
	body := io.LimitReader(resp.Body, d.Size-have+1)
	for buf := make([]byte, 1<<17); ; {
		n, err := body.Read(buf)
		if _, werr := f.Write(buf[:n]); werr != nil {
			return werr
		}
		have += int64(n)
		r.tell(want.Short(), have, d.Size)
		if err == io.EOF {
			return ended(have, d.Size)
		}
		if err != nil {
			return err
		}
	}
}

// ended tells a stream that broke off from one that was whole.
func ended(have, size int64) error {
	if have < size {
		return io.ErrUnexpectedEOF
	}
	return nil
}

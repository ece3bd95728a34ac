package oci

import (
	"bytes"
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
	if err := os.MkdirAll(src.Cache, 0o700); err != nil {
		return nil, err
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

func (r *registry) get(ctx context.Context, kind, id, accept string, from int64) (*http.Response, error) {
	repo := r.ref.Context()
	url := fmt.Sprintf("%s://%s/v2/%s/%s/%s", repo.Scheme(), repo.RegistryStr(), repo.RepositoryStr(), kind, id)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	resp, err := r.client.Do(req)
	if err == nil {
		if err = transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err == nil {
			return resp, nil
		}
		resp.Body.Close()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, broken(verdict.Short(repo.String()), err)
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
func (r *registry) tagged(ctx context.Context, id string) ([]byte, error) {
	resp, err := r.get(ctx, "manifests", id, strings.Join([]string{typeIndex, typeManifest, dockerIndex, dockerManifest}, ", "), 0)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return readSmall(resp.Body, maxManifest)
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
	for attempt := 0; ; attempt++ {
		err := r.fetch(ctx, d, want, path)
		if err == nil {
			return os.Open(path)
		}
		var e *verdict.Error
		if errors.As(err, &e) || ctx.Err() != nil || attempt == 4 {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(attempt+1) * time.Second / 2):
		}
	}
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
		os.Remove(f.Name())
		return verdict.NotGenuine("image.digest", fmt.Sprintf("%s, %d bytes", want, d.Size), fmt.Sprintf("%s, %d bytes", got, n), "whoever serves this image altered or damaged it")
	}
	return os.Rename(f.Name(), path)
}

func (r *registry) rest(ctx context.Context, d descriptor, want wire.Hash, f *os.File, have int64) error {
	resp, err := r.get(ctx, "blobs", d.Digest, "", have)
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

// sniff says how a layer without a media type is packed, by its first bytes.
func sniff(start []byte) string {
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		return typeLayer + gzipped
	case bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return typeLayer + zstored
	}
	return typeLayer
}

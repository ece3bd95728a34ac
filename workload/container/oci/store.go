package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// newStore finds where an image is, by its name.
func newStore(ctx context.Context, src Source) (store, error) {
	scheme, rest, found := strings.Cut(src.Name, ":")
	switch {
	case found && scheme == "oci":
		return openLayout(rest)
	case found && scheme == "docker-archive":
		return openArchive(rest)
	case strings.HasPrefix(src.Name, "/") || strings.HasPrefix(src.Name, "."):
		path, _ := pathAndTag(src.Name)
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return openLayout(src.Name)
		}
		return openArchive(src.Name)
	}
	return openRegistry(ctx, src)
}

// pathAndTag splits PATH[:TAG], of which the longest PATH that exists is meant: a tag may have
// colons (docker-archive:FILE:NAME:TAG), and so may a path.
func pathAndTag(text string) (path, tag string) {
	for end := len(text); end > 0; end = strings.LastIndexByte(text[:end], ':') {
		if _, err := os.Stat(text[:end]); err == nil {
			return text[:end], strings.TrimPrefix(text[end:], ":")
		}
	}
	return text, ""
}

// files is where the parts of a layout or an archive are, by their paths in it.
type files interface {
	open(path string) (io.ReadCloser, int64, error)
	close() error
}

// folder is a directory.
type folder string

func (f folder) open(path string) (io.ReadCloser, int64, error) {
	root, err := os.OpenRoot(string(f))
	if err != nil {
		return nil, 0, err
	}
	defer root.Close()
	file, err := root.Open(filepath.FromSlash(path)) // never outside
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		file.Close()
		return nil, 0, fmt.Errorf("%s is no file", path)
	}
	return file, info.Size(), nil
}

func (folder) close() error { return nil }

// layout is an OCI image layout (image-layout.md).
type layout struct {
	files
	name, tag string
	index     manifest
}

func openLayout(text string) (store, error) {
	path, tag := pathAndTag(text)
	l := &layout{files: folder(path), name: path, tag: tag}
	return l, l.readIndex()
}

func (l *layout) readIndex() error {
	data, err := l.read("index.json", maxManifest)
	if err != nil {
		return verdict.Misuse("image", "an OCI layout, with an index.json", verdict.Short(err.Error()), "name a registry's image, oci:DIR or docker-archive:FILE")
	}
	if err := json.Unmarshal(data, &l.index); err != nil {
		return refuse("image.index", "an OCI layout's index", verdict.Short(err.Error()), "write the layout anew")
	}
	return nil
}

func (l *layout) read(path string, most int64) ([]byte, error) {
	r, size, err := l.open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > most {
		return nil, fmt.Errorf("%s has %d bytes, at most %d expected", path, size, most)
	}
	return io.ReadAll(io.LimitReader(r, most))
}

// refName is the annotation by which an index names its images.
const refName = "org.opencontainers.image.ref.name"

// find gives the one entry of a tag; without a tag the only one that is no signature.
func (l *layout) find(tag string) (descriptor, error) {
	var fit []descriptor
	var names []string
	for _, d := range l.index.Manifests {
		name := d.Annotations[refName]
		if _, short, found := cutLast(name, ":"); found && tag != "" && !strings.Contains(tag, ":") {
			name = short
		}
		if strings.HasSuffix(name, ".sig") && tag == "" {
			continue
		}
		names = append(names, name)
		if tag == "" || name == tag {
			fit = append(fit, d)
		}
	}
	if len(fit) != 1 {
		return descriptor{}, refuse("image.name", "one image "+tag, fmt.Sprintf("%d; there are: %s", len(fit), verdict.Short(strings.Join(names, ", "))), "name it: oci:DIR:TAG")
	}
	return fit[0], nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func (l *layout) top(ctx context.Context) (data []byte, reference, resolved string, err error) {
	d, err := l.find(l.tag)
	if err != nil {
		return nil, "", "", err
	}
	want, err := d.hash()
	if err != nil {
		return nil, "", "", err
	}
	if data, err = l.small(ctx, d, maxManifest); err != nil {
		return nil, "", "", err
	}
	if wire.HashOf(data) != want {
		return nil, "", "", verdict.NotGenuine("image.digest", want.String(), wire.HashOf(data).String(), "the layout was altered or damaged")
	}
	return data, "oci:" + filepath.Base(filepath.Clean(l.name)) + "@" + want.String(), l.tag, nil
}

func (l *layout) tagged(ctx context.Context, tag string) ([]byte, error) {
	d, err := l.find(tag)
	if err != nil {
		return nil, err
	}
	return l.small(ctx, d, maxManifest)
}

func blobPath(d descriptor) (string, error) {
	h, err := d.hash()
	return "blobs/sha256/" + strings.TrimPrefix(h.String(), "sha256:"), err
}

func (l *layout) small(_ context.Context, d descriptor, most int64) ([]byte, error) {
	path, err := blobPath(d)
	if err != nil {
		return nil, err
	}
	data, err := l.read(path, most)
	if err != nil {
		return nil, absent(path, err)
	}
	return data, nil
}

func (l *layout) blob(_ context.Context, d descriptor) (io.ReadCloser, error) {
	path, err := blobPath(d)
	if err != nil {
		return nil, err
	}
	r, _, err := l.open(path)
	if err != nil {
		return nil, absent(path, err)
	}
	return r, nil
}

func absent(path string, err error) error {
	return &verdict.Error{Kind: verdict.Invalid, Check: "image.parts", Expected: "the part " + path, Got: verdict.Short(err.Error()), Fix: "the image is not whole: write or fetch it anew", Err: err}
}

// dockerSave is an archive of `docker save` in its old form: layers without digests.
type dockerSave struct {
	files
	name, tag string
	manifest  []byte
	parts     map[string]string // paths by digest
}

// saved is an entry of manifest.json.
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func openArchive(text string) (store, error) {
	path, tag := pathAndTag(text)
	a, err := openTar(path)
	if err != nil {
		return nil, err
	}
	if r, _, err := a.open("index.json"); err == nil { // as docker writes it since version 25
		r.Close()
		l := &layout{files: a, name: path, tag: tag}
		return l, l.readIndex()
	}
	s := &dockerSave{files: a, name: path, tag: tag, parts: map[string]string{}}
	if err := s.read(); err != nil {
		a.close()
		return nil, err
	}
	return s, nil
}

// read makes a manifest of what the archive has: the digest that a registry knows is not in it.
func (s *dockerSave) read() error {
	all, err := (&layout{files: s.files}).read("manifest.json", maxManifest)
	if err != nil {
		return verdict.Misuse("image", "an archive of docker save, or an OCI layout", verdict.Short(err.Error()), "write it with docker save, or skopeo copy")
	}
	var list []saved
	if err := json.Unmarshal(all, &list); err != nil {
		return refuse("image.index", "the manifest.json of docker save", verdict.Short(err.Error()), "write the archive anew")
	}
	var fit []saved
	for _, one := range list {
		matches := s.tag == ""
		for _, name := range one.RepoTags {
			matches = matches || name == s.tag || strings.HasSuffix(name, ":"+s.tag) || strings.HasSuffix(name, "/"+s.tag)
		}
		if matches {
			fit = append(fit, one)
		}
	}
	if len(fit) != 1 {
		return refuse("image.name", "one image "+s.tag, fmt.Sprint(len(fit)), "name it: docker-archive:FILE:TAG")
	}
	config, err := s.part(fit[0].Config, dockerConfig)
	if err != nil {
		return err
	}
	m := manifest{SchemaVersion: 2, MediaType: dockerManifest, Config: &config}
	for _, path := range fit[0].Layers {
		l, err := s.part(path, dockerLayer)
		if err != nil {
			return err
		}
		m.Layers = append(m.Layers, l)
	}
	s.manifest, err = json.Marshal(m)
	return err
}

func (s *dockerSave) part(path, mediaType string) (descriptor, error) {
	r, size, err := s.open(path)
	if err != nil {
		return descriptor{}, absent(path, err)
	}
	defer r.Close()
	sum, _, err := wire.HashReader(r)
	if err != nil {
		return descriptor{}, err
	}
	s.parts[sum.String()] = path
	return descriptor{MediaType: mediaType, Digest: sum.String(), Size: size}, nil
}

func (s *dockerSave) top(context.Context) (data []byte, reference, resolved string, err error) {
	return s.manifest, "docker-archive:" + filepath.Base(s.name) + "@" + wire.HashOf(s.manifest).String(), s.tag, nil
}

func (s *dockerSave) tagged(context.Context, string) ([]byte, error) {
	return nil, refuse("image.signature", "an image of a registry or an OCI layout", "an archive without signatures", "verify it where it is signed")
}

func (s *dockerSave) small(ctx context.Context, d descriptor, most int64) ([]byte, error) {
	r, err := s.blob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b bytes.Buffer
	_, err = io.Copy(&b, io.LimitReader(r, most))
	return b.Bytes(), err
}

func (s *dockerSave) blob(_ context.Context, d descriptor) (io.ReadCloser, error) {
	path, found := s.parts[d.Digest]
	if !found {
		return nil, absent(verdict.Short(d.Digest), os.ErrNotExist)
	}
	r, _, err := s.open(path)
	return r, err
}

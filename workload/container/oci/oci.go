// Package oci turns container images into the disks that rooms mount: it gets an image from
// a registry, an OCI layout or a Docker archive, checks every digest on the way, flattens the
// layers into one sorted tree, and says what of the image's configuration becomes of the
// agreement. Spec: spec/container-image.md.
//
// It promises that the same manifest gives the same disk on every machine, that nothing of a
// layer leads outside its tree, and that what an image has and a room can't is refused or
// left out by name, never in silence. An image's bytes, entries and expansion are bounded
// before they are read.
package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Limits bound what is taken from an image. The zero value admits nothing.
type Limits struct {
	Layers  int
	Packed  int64 // bytes of all layers as they are stored
	Bytes   int64 // bytes of all layers unpacked
	Entries int   // of all layers together
	Ratio   int64 // unpacked bytes for one packed byte of a layer, beyond its first 64 MiB
}

// Ordinary limits are several times what large images have.
func Ordinary() Limits {
	return Limits{Layers: 512, Packed: 64 << 30, Bytes: 256 << 30, Entries: 4 << 20, Ratio: 200}
}

const (
	maxManifest = 4 << 20 // bytes, as registries have it
	maxConfig   = 8 << 20
	maxNested   = 3        // indexes in indexes
	freeBytes   = 64 << 20 // of a layer, below which its ratio doesn't count
)

// Platform is what an image was built for.
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
}

// String gives linux/arm64/v8.
func (p Platform) String() string {
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

// ParsePlatform reads OS/ARCHITECTURE[/VARIANT]; "" is Linux on this machine's processor.
func ParsePlatform(text string) (Platform, error) {
	if text == "" {
		return Platform{OS: "linux", Architecture: runtime.GOARCH}, nil
	}
	parts := strings.Split(text, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") || parts[0] != "linux" {
		return Platform{}, verdict.Misuse("--platform", "linux/ARCHITECTURE, such as linux/amd64", verdict.Short(text), "rooms run Linux")
	}
	return Platform{parts[0], parts[1], strings.Join(parts[2:], "")}, nil
}

// Source says where an image comes from, and how much is taken of it.
type Source struct {
	// Name is a registry's reference (HOST/NAME:TAG or HOST/NAME@sha256:HEX), "oci:PATH[:TAG]"
	// or "docker-archive:PATH[:TAG]"; a path that starts with / or . may go without.
	Name     string
	Platform Platform
	Limits   Limits
	// Cache is a directory where what was fetched stays, by its digest; needed for registries.
	Cache string
	// Transport carries requests to registries; nil: http.DefaultTransport.
	Transport http.RoundTripper
	// CosignKey is a public key (PEM) by which the image must be signed; nil: none is asked for.
	CosignKey []byte
	// Progress is told of the bytes of a part as they come; may be nil.
	Progress func(part string, done, total int64)
}

// Image is an image whose manifest and configuration were checked, layers to be read.
type Image struct {
	// Reference is what it was called, with its digest in a tag's place.
	Reference string
	// Manifest is the SHA-256 of ManifestBytes.
	Manifest      wire.Hash
	ManifestBytes []byte
	// ConfigDigest is the SHA-256 of the configuration as the image has it.
	ConfigDigest wire.Hash
	Config       Config
	// Resolved is the tag that Reference was found by; "" if it was named by digest.
	Resolved string
	// Signed: its signature was asked for, and is good.
	Signed bool

	layers []descriptor
	limits Limits
	store  store
}

// Close lets go of files.
func (i *Image) Close() error { return i.store.close() }

// Layers is the number of layers, and Packed their size as they are stored.
func (i *Image) Layers() int { return len(i.layers) }

// Packed is the size in bytes of all layers as they are stored.
func (i *Image) Packed() (size int64) {
	for _, l := range i.layers {
		size += l.Size
	}
	return size
}

// store is where an image's parts are.
type store interface {
	// top gives the manifest or index that the name stands for. Its bytes are unchecked where
	// the name had no digest.
	top(ctx context.Context) (data []byte, reference, resolved string, err error)
	// tagged gives the manifest of a tag beside the image, unchecked.
	tagged(ctx context.Context, tag string) ([]byte, error)
	// small gives a part of at most so many bytes, unchecked.
	small(ctx context.Context, d descriptor, most int64) ([]byte, error)
	// blob gives a part, unchecked.
	blob(ctx context.Context, d descriptor) (io.ReadCloser, error)
	close() error
}

// descriptor is how a manifest or an index names a part (OCI image-spec, descriptor.md).
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    *Platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// hash gives the digest, of SHA-256 alone.
func (d descriptor) hash() (wire.Hash, error) {
	h, err := wire.ParseHash(d.Digest)
	if err != nil || d.Size < 0 {
		return h, refuse("image.digest", "a size, and a digest sha256:HEX", verdict.Short(d.Digest), "push the image again with a current tool")
	}
	return h, nil
}

// manifest is an OCI manifest or index, or Docker's of schema 2.
type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        *descriptor  `json:"config"`
	Layers        []descriptor `json:"layers"`
	Manifests     []descriptor `json:"manifests"`
}

// The kinds of documents (OCI image-spec, media-types.md, and Docker's that are the same).
const (
	typeIndex        = "application/vnd.oci.image.index.v1+json"
	typeManifest     = "application/vnd.oci.image.manifest.v1+json"
	typeConfig       = "application/vnd.oci.image.config.v1+json"
	typeLayer        = "application/vnd.oci.image.layer.v1.tar"
	dockerIndex      = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest   = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig     = "application/vnd.docker.container.image.v1+json"
	dockerLayer      = "application/vnd.docker.image.rootfs.diff.tar"
	dockerLayerGzip  = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	dockerLayerZstd  = "application/vnd.docker.image.rootfs.diff.tar.zstd"
	gzipped, zstored = "+gzip", "+zstd"
)

// layerPacking says how a layer of a media type is packed: "", "gzip" or "zstd".
func layerPacking(mediaType string) (packing string, known bool) {
	switch mediaType {
	case typeLayer, dockerLayer:
		return "", true
	case typeLayer + gzipped, dockerLayerGzip:
		return "gzip", true
	case typeLayer + zstored, dockerLayerZstd:
		return "zstd", true
	}
	return "", false
}

// Open finds an image and checks its manifest, its signature where one is asked for, and its
// configuration. No layer is read. The caller closes the image.
func Open(ctx context.Context, src Source) (*Image, error) {
	s, err := newStore(ctx, src)
	if err != nil {
		return nil, err
	}
	img := &Image{store: s, limits: src.Limits}
	if err := img.open(ctx, src); err != nil {
		s.close()
		return nil, err
	}
	return img, nil
}

func (i *Image) open(ctx context.Context, src Source) error {
	data, reference, resolved, err := i.store.top(ctx)
	if err != nil {
		return err
	}
	signed := wire.HashOf(data)
	m, data, err := i.choose(ctx, data, src.Platform, 0)
	if err != nil {
		return err
	}
	i.Reference, i.Resolved, i.ManifestBytes, i.Manifest = reference, resolved, data, wire.HashOf(data)
	if src.CosignKey != nil {
		if err := verifyCosign(ctx, i.store, src.CosignKey, signed, i.Manifest); err != nil {
			return err
		}
		i.Signed = true
	}
	return i.readConfig(ctx, m, src.Platform)
}

// choose follows indexes to the one manifest for the platform.
func (i *Image) choose(ctx context.Context, data []byte, p Platform, depth int) (m manifest, _ []byte, err error) {
	if err := json.Unmarshal(data, &m); err != nil || m.SchemaVersion != 2 {
		return m, nil, refuse("image.manifest", "a manifest of schema version 2", firstOf(err, fmt.Sprintf("version %d", m.SchemaVersion)), "push the image again with a current tool")
	}
	index := m.Manifests != nil
	want := []string{"", typeManifest, dockerManifest}
	if index {
		want = []string{"", typeIndex, dockerIndex}
	}
	if !slices.Contains(want, m.MediaType) || index && (m.Config != nil || m.Layers != nil) {
		return m, nil, refuse("image.manifest", "an image's manifest or an index of them", verdict.Short(m.MediaType), "name an image, not another artefact")
	}
	if !index {
		return m, data, nil
	}
	d, err := pick(m.Manifests, p)
	if err != nil {
		return m, nil, err
	}
	if depth == maxNested {
		return m, nil, refuse("image.index", fmt.Sprintf("at most %d indexes in each other", maxNested), "more", "name the platform's image by its own digest")
	}
	if data, err = i.checked(ctx, d, maxManifest); err != nil {
		return m, nil, err
	}
	return i.choose(ctx, data, p, depth+1)
}

// pick finds the one entry for a platform.
func pick(list []descriptor, p Platform) (found descriptor, err error) {
	var offered []string
	var fit []descriptor
	for _, d := range list {
		if d.Platform == nil || d.Platform.OS == "unknown" {
			continue // of no platform: attestations, signatures
		}
		offered = append(offered, d.Platform.String())
		if d.Platform.OS == p.OS && d.Platform.Architecture == p.Architecture && (p.Variant == "" || d.Platform.Variant == p.Variant) {
			fit = append(fit, d)
		}
	}
	if len(fit) == 0 && len(list) == 1 && list[0].Platform == nil {
		return list[0], nil // its configuration says the platform
	}
	if len(fit) != 1 {
		return found, refuse("image.platform", "one image for "+p.String(), fmt.Sprintf("%d; there are: %s", len(fit), verdict.Short(strings.Join(offered, ", "))), "choose with --platform, or name the image by its own digest")
	}
	return fit[0], nil
}

// checked gives a small part whose digest and size are right.
func (i *Image) checked(ctx context.Context, d descriptor, most int64) ([]byte, error) {
	want, err := d.hash()
	if err != nil {
		return nil, err
	}
	if d.Size > most {
		return nil, refuse("image.size", fmt.Sprintf("at most %d bytes in %s", most, want), fmt.Sprint(d.Size), "this is no ordinary image")
	}
	data, err := i.store.small(ctx, d, most)
	if err != nil {
		return nil, err
	}
	if got := wire.HashOf(data); got != want || int64(len(data)) != d.Size {
		return nil, verdict.NotGenuine("image.digest", fmt.Sprintf("%s, %d bytes", want, d.Size), fmt.Sprintf("%s, %d bytes", got, len(data)), "whoever serves this image altered or damaged it")
	}
	return data, nil
}

func (i *Image) readConfig(ctx context.Context, m manifest, p Platform) error {
	if m.Config == nil || m.Config.MediaType != typeConfig && m.Config.MediaType != dockerConfig {
		got := "none"
		if m.Config != nil {
			got = verdict.Short(m.Config.MediaType)
		}
		return refuse("image.config", "the configuration of a container image", got, "name an image, not another artefact")
	}
	if len(m.Layers) > i.limits.Layers {
		return refuse("image.layers", fmt.Sprintf("at most %d layers", i.limits.Layers), fmt.Sprint(len(m.Layers)), "squash the image")
	}
	var packed int64
	for n, l := range m.Layers {
		if _, known := layerPacking(l.MediaType); !known {
			return refuse("image.media-type", "layers of tar, plain or packed by gzip or zstd", fmt.Sprintf("layer %d: %s", n, verdict.Short(l.MediaType)), "convert the image: skopeo copy --format oci")
		}
		if _, err := l.hash(); err != nil {
			return err
		}
		if packed += l.Size; l.Size > i.limits.Packed || packed > i.limits.Packed {
			return refuse("image.size", fmt.Sprintf("at most %d bytes in all layers", i.limits.Packed), fmt.Sprintf("more, with layer %d", n), "make the image smaller")
		}
	}
	data, err := i.checked(ctx, *m.Config, maxConfig)
	if err != nil {
		return err
	}
	i.ConfigDigest, i.layers = wire.HashOf(data), m.Layers
	if err := json.Unmarshal(data, &i.Config); err != nil {
		return refuse("image.config", "the configuration of a container image", verdict.Short(err.Error()), "push the image again with a current tool")
	}
	if got := (Platform{i.Config.OS, i.Config.Architecture, i.Config.Variant}); got.OS != p.OS || got.Architecture != p.Architecture {
		return refuse("image.platform", p.String(), verdict.Short(got.String()), "choose with --platform, or build the image for "+p.String())
	}
	if fs := i.Config.RootFS; fs.Type != "layers" || len(fs.DiffIDs) != len(i.layers) {
		return refuse("image.config", fmt.Sprintf("the digests of %d layers", len(i.layers)), fmt.Sprintf("%d of type %q", len(fs.DiffIDs), verdict.Short(fs.Type)), "push the image again with a current tool")
	}
	return nil
}

func refuse(check, expected, got, fix string) error { return verdict.Refuse(check, expected, got, fix) }

func firstOf(err error, other string) string {
	if err != nil {
		return verdict.Short(err.Error())
	}
	return other
}

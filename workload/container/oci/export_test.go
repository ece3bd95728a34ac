package oci

import (
	"bytes"
	"context"
	"io"
	"os"
)

// memory is an image whose parts are at hand, by digest.
type memory struct {
	index []byte
	parts map[string][]byte
}

func (m memory) top(context.Context) (data []byte, reference, resolved string, err error) {
	return m.index, "memory", "", nil
}

func (m memory) tagged(context.Context, string) ([]byte, error) { return m.index, nil }

func (m memory) small(_ context.Context, d descriptor, _ int64) ([]byte, error) {
	if data, found := m.parts[d.Digest]; found {
		return data, nil
	}
	return nil, absent("part", os.ErrNotExist)
}

func (m memory) blob(_ context.Context, d descriptor) (io.ReadCloser, error) {
	data, err := m.small(context.Background(), d, 0)
	return io.NopCloser(bytes.NewReader(data)), err
}

func (memory) close() error { return nil }

// OpenMemory is [Open] of an image that is nowhere.
func OpenMemory(ctx context.Context, src Source, index []byte, parts map[string][]byte) (*Image, error) {
	img := &Image{store: memory{index, parts}, limits: src.Limits}
	return img, img.open(ctx, src)
}

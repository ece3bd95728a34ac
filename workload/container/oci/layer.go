package oci

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// spool unpacks a layer into a file, and checks what it was packed and unpacked.
func (i *Image) spool(ctx context.Context, n int, most int64, to *os.File) (size int64, err error) {
	l := i.layers[n]
	want, err := l.hash()
	if err != nil {
		return 0, err
	}
	body, err := i.store.blob(ctx, l)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	packed := &counted{r: body, most: l.Size, h: sha256.New()}
	packing, _ := layerPacking(l.MediaType)
	plain, done, err := unpacker(packed, packing)
	if err != nil {
		return 0, layerError(n, err)
	}
	defer done()
	sum := sha256.New()
	out := io.MultiWriter(to, sum)
	for buf := make([]byte, 1<<18); ; {
		k, rerr := plain.Read(buf)
		size += int64(k)
		if size > most {
			return 0, refuse("image.size", fmt.Sprintf("at most %d bytes in all layers unpacked", i.limits.Bytes), fmt.Sprintf("more, in layer %d", n), "make the image smaller")
		}
		if size > freeBytes && size/i.limits.Ratio > packed.n {
			return 0, refuse("image.ratio", fmt.Sprintf("a layer that unpacks to at most %d times its size", i.limits.Ratio), fmt.Sprintf("layer %d: %d bytes out of %d", n, size, packed.n), "this is made to fill disks")
		}
		if _, err := out.Write(buf[:k]); err != nil {
			return 0, err
		}
		if rerr == io.EOF {
			break
		}
		if rerr != nil {
			return 0, layerError(n, rerr)
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
	if err := packed.finish(want); err != nil {
		return 0, layerError(n, err)
	}
	return size, i.checkDiff(n, sum)
}

func (i *Image) checkDiff(n int, sum hash.Hash) error {
	want, err := wire.ParseHash(i.Config.RootFS.DiffIDs[n])
	if err != nil {
		return refuse("image.diff-id", "a digest sha256:HEX", verdict.Short(i.Config.RootFS.DiffIDs[n]), "push the image again with a current tool")
	}
	if got := wire.Hash(sum.Sum(nil)); got != want {
		return verdict.NotGenuine("image.diff-id", fmt.Sprintf("layer %d unpacked: %s", n, want), got.String(), "the image's configuration is of other layers")
	}
	return nil
}

// unpacker gives what is packed.
func unpacker(r io.Reader, packing string) (plain io.Reader, done func(), err error) {
	switch packing {
	case "gzip":
		z, err := gzip.NewReader(r)
		return z, func() {}, err
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}

func layerError(n int, err error) error {
	var e *verdict.Error
	if errors.As(err, &e) || errors.Is(err, context.Canceled) {
		return err
	}
	return verdict.NotGenuine("image.layer", fmt.Sprintf("layer %d whole, packed as its media type says", n), verdict.Short(err.Error()), "get the image again: it is cut short or malformed")
}

// counted reads a part of known size and digest.
type counted struct {
	r    io.Reader
	n    int64
	most int64
	h    hash.Hash
}

func (c *counted) Read(p []byte) (int, error) {
	if left := c.most - c.n; int64(len(p)) > left {
		p = p[:left]
	}
	if len(p) == 0 {
		return 0, io.EOF
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.h.Write(p[:n])
	return n, err
}

// finish reads what nobody read, and compares.
func (c *counted) finish(want wire.Hash) error {
	if _, err := io.Copy(io.Discard, c); err != nil {
		return err
	}
	more, _ := io.ReadFull(c.r, make([]byte, 1))
	if got := wire.Hash(c.h.Sum(nil)); got != want || c.n != c.most || more > 0 {
		return verdict.NotGenuine("image.digest", fmt.Sprintf("%s, %d bytes", want, c.most), fmt.Sprintf("%s, %d bytes or more", got, c.n+int64(more)), "whoever serves this image altered or damaged it")
	}
	return nil
}

package seal

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"golang.org/x/crypto/chacha20poly1305"
	"strongroom.dev/verdict"
)

// The payload of an age file (age-encryption.org/v1, "Payload"): a nonce, then chunks of
// ChaCha20-Poly1305 under a key derived from file key and nonce.
const (
	nonceSize   = 16
	plainChunk  = 64 << 10
	sealedChunk = plainChunk + chacha20poly1305.Overhead
	// jobChunks is how many chunks a worker takes at a time: enough to make system calls
	// cheap, few enough for a job's two buffers to stay in a core's own cache (measured: 2 is
	// a tenth faster than 16).
	jobChunks = 2
)

// payload encrypts and decrypts chunks; it is safe for concurrent use.
type payload struct{ aead cipher.AEAD }

func newPayload(fileKey, nonce []byte) (payload, error) {
	key, err := hkdf.Key(sha256.New, fileKey, nonce, "payload", chacha20poly1305.KeySize)
	if err != nil {
		return payload{}, err
	}
	defer clear(key)
	aead, err := chacha20poly1305.New(key)
	return payload{aead}, err
}

// chunkNonce is an 11-byte big-endian counter and a byte that is 1 in the last chunk only.
func chunkNonce(nonce *[chacha20poly1305.NonceSize]byte, chunk uint64, last bool) []byte {
	binary.BigEndian.PutUint64(nonce[3:11], chunk)
	nonce[11] = 0
	if last {
		nonce[11] = 1
	}
	return nonce[:]
}

// seal encrypts a job's plaintext. An empty plaintext is one empty chunk.
func (p payload) seal(l *lane) {
	var nonce [chacha20poly1305.NonceSize]byte
	in := l.in[:l.n]
	for i := l.chunk; ; i++ {
		c := in[:min(plainChunk, len(in))]
		in = in[len(c):]
		out := p.aead.Seal(l.out[l.m:l.m], chunkNonce(&nonce, i, l.last && len(in) == 0), c, nil)
		l.m += len(out)
		if len(in) == 0 {
			return
		}
	}
}

// open decrypts a job's chunks up to the first that is not genuine.
func (p payload) open(l *lane) {
	in := l.in[:l.n]
	for i := l.chunk; l.err == nil; i++ {
		c := in[:min(sealedChunk, len(in))]
		in = in[len(c):]
		n := 0
		n, l.err = p.openChunk(l.out[l.m:l.m], c, i, l.last && len(in) == 0)
		l.m += n
		if len(in) == 0 {
			return
		}
	}
}

// openChunk decrypts one chunk behind out. A chunk that is genuine but in the wrong place
// tells a cut file from an altered one; its plaintext is given out with the error, as age does.
func (p payload) openChunk(out, c []byte, number uint64, last bool) (int, error) {
	if len(c) < chacha20poly1305.Overhead {
		return 0, truncated(fmt.Sprintf("%d bytes of chunk %d", len(c), number))
	}
	if len(c) == chacha20poly1305.Overhead && number > 0 {
		return 0, altered(number)
	}
	var nonce [chacha20poly1305.NonceSize]byte
	plain, err := p.aead.Open(out, chunkNonce(&nonce, number, last), c, nil)
	if err == nil {
		return len(plain), nil
	}
	if len(c) == sealedChunk {
		if plain, err = p.aead.Open(out, chunkNonce(&nonce, number, !last), c, nil); err == nil && last {
			return len(plain), truncated(fmt.Sprintf("chunk %d as the last, which it is not", number))
		} else if err == nil {
			return len(plain), verdict.NotGenuine("sealed.trailing", "nothing after the last chunk", fmt.Sprintf("bytes after chunk %d", number), "fetch the file again")
		}
	}
	return 0, altered(number)
}

func altered(number uint64) error {
	return verdict.NotGenuine("sealed.chunk", "every chunk as it was sealed",
		fmt.Sprintf("chunk %d (plaintext from byte %d) cut or altered", number, number*plainChunk), "fetch the file again")
}

func truncated(got string) error {
	return verdict.NotGenuine("sealed.truncated", "a file to its last chunk", got, "fetch the file again")
}

// source reads jobs from a stream. It reads one byte ahead, since only what follows tells
// whether a chunk is the last.
type source struct {
	src   io.Reader
	ahead [1]byte
	has   bool
	total int64 // bytes given out
}

// fill reads the next job's bytes, at most size.
func (s *source) fill(l *lane, size int) {
	buf := l.in[:size]
	if s.has {
		buf[0], l.n = s.ahead[0], 1
	}
	n, err := io.ReadFull(s.src, buf[l.n:])
	l.n += n
	if err == nil {
		_, err = io.ReadFull(s.src, s.ahead[:])
		s.has = err == nil
	}
	s.total += int64(l.n)
	switch err {
	case nil:
	case io.EOF, io.ErrUnexpectedEOF:
		l.last = true
	default:
		l.err = readError(err)
	}
}

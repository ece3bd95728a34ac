// Package seal makes and opens sealed files. A sealed file is a plain age file
// (age-encryption.org/v1): the stock age command opens what this package seals, and the
// other way round. Recipients are hybrid post-quantum ("age1pq1...") or classic X25519
// ("age1..."), never both in one file.
//
// age makes and unwraps the header; the payload is encrypted, decrypted and hashed here on
// all cores, in memory that depends on nothing a sender says.
//
// The package promises that an opened file is the one sealed, to its last byte, and with
// [OpenVerified] that it is the one its owner's statement names. Whatever was written to a
// destination before an error counts for nothing. It refuses text armor, passphrases,
// headers above 64 KiB, and everything in FIPS-140-only mode, where age can't work.
package seal

import (
	"bytes"
	"io"
	"slices"

	"filippo.io/age"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Options are the choices of one call. The zero value is an ordinary one.
type Options struct {
	// Root asks for the Merkle root of the sealed file, which costs a hash of every byte.
	Root bool
	// Progress is told how many bytes of the input are done, in rising order and never
	// concurrently. An error from it stops the work and is returned.
	Progress func(done int64) error
}

// Summary says what a sealed file is.
type Summary struct {
	Header     []byte    // the age header
	HeaderHash wire.Hash // its SHA-256
	Root       wire.Hash // spec/root.md; zero unless asked for
	Size       int64     // of the sealed file, bytes
	Plain      int64     // of the plaintext, bytes
	Recipients int       // stanzas in the header
}

// Seal encrypts src to the recipients and writes an age file to dst. dst gets large writes,
// one at a time.
func Seal(dst io.Writer, src io.Reader, recipients []Recipient, opts Options) (Summary, error) {
	if err := refuseFIPS(); err != nil {
		return Summary{}, err
	}
	if err := checkRecipients(recipients); err != nil {
		return Summary{}, err
	}
	start, p, err := newFile(recipients)
	if err != nil {
		return Summary{}, err
	}
	s := sealing{payload: p, dst: dst, src: source{src: src}, offset: int64(len(start)), opts: opts}
	if opts.Root {
		s.root = NewRootHasher()
		s.root.Write(start)
	}
	if _, err := dst.Write(start); err != nil {
		return Summary{}, writeError(err)
	}
	r := relay{read: s.read, work: s.work, write: s.write}
	if err := r.run(); err != nil {
		return Summary{}, err
	}
	header := start[:len(start)-nonceSize]
	sum := Summary{Header: header, HeaderHash: wire.HashOf(header), Size: s.offset, Plain: s.src.total, Recipients: len(recipients)}
	if s.root != nil {
		sum.Root = s.root.Sum()
	}
	return sum, nil
}

// newFile has age make a file key, a header and a nonce, and gives the bytes a file starts
// with and what encrypts its payload.
func newFile(recipients []Recipient) ([]byte, payload, error) {
	var fileKey []byte
	var list []age.Recipient
	for _, r := range recipients {
		list = append(list, capture{r, &fileKey})
	}
	var start bytes.Buffer
	if _, err := age.Encrypt(&start, list...); err != nil {
		// Only a recipient whose key is a point of low order comes to this.
		return nil, payload{}, verdict.Misuse("sealed.recipient", "recipients that a key can be wrapped for", err.Error(), "ask for the recipient again")
	}
	defer clear(fileKey) // age has derived its own key from it by now
	if start.Len() > MaxHeader+nonceSize {
		return nil, payload{}, tooLong()
	}
	b := start.Bytes()
	p, err := newPayload(fileKey, b[len(b)-nonceSize:])
	return b, p, err
}

// sealing is one call of Seal. read and write are called one at a time each.
type sealing struct {
	payload
	dst    io.Writer
	src    source
	chunk  uint64 // next to be read
	offset int64  // of the next job in the sealed file
	done   int64
	root   *RootHasher
	opts   Options
}

func (s *sealing) read(l *lane) {
	s.src.fill(l, jobChunks*plainChunk)
	l.chunk, l.offset = s.chunk, s.offset
	chunks := max(1, (l.n+plainChunk-1)/plainChunk)
	s.chunk += uint64(chunks)
	s.offset += int64(l.n + chunks*(sealedChunk-plainChunk))
}

func (s *sealing) work(l *lane) {
	s.payload.seal(l)
	if s.root != nil {
		l.leaves = hashLeaves(l.leaves, s.root.prefix, l.out[:l.m], l.offset)
	}
}

func (s *sealing) write(l *lane) error {
	if l.err != nil {
		return l.err
	}
	if s.root != nil {
		s.root.join(l.out[:l.m], l.leaves)
	}
	if _, err := s.dst.Write(l.out[:l.m]); err != nil {
		return writeError(err)
	}
	s.done += int64(l.n)
	return s.opts.progress(s.done)
}

func (o Options) progress(done int64) error {
	if o.Progress == nil {
		return nil
	}
	return o.Progress(done)
}

// Root computes the Merkle root and the size of a sealed file without opening it, on all
// cores.
func Root(src io.Reader, opts Options) (wire.Hash, int64, error) {
	s := source{src: src}
	root := NewRootHasher()
	offset := int64(0)
	r := relay{
		read: func(l *lane) {
			l.offset = offset
			s.fill(l, jobChunks*LeafSize)
			offset += int64(l.n)
		},
		work: func(l *lane) { l.leaves = hashLeaves(l.leaves, root.prefix, l.in[:l.n], l.offset) },
	}
	var done int64
	r.write = func(l *lane) error {
		if l.err != nil {
			return l.err
		}
		root.join(l.in[:l.n], slices.Clip(l.leaves))
		done += int64(l.n)
		return opts.progress(done)
	}
	if err := r.run(); err != nil {
		return wire.Hash{}, 0, err
	}
	return root.Sum(), offset, nil
}

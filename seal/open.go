package seal

import (
	"bytes"
	"fmt"
	"io"

	"golang.org/x/crypto/chacha20poly1305"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Open decrypts a sealed file with the first of the identities it is sealed to and writes
// the plaintext to dst in large writes, one at a time. Every byte written is authentic, but
// only a nil error says that they are all.
func Open(dst io.Writer, src io.Reader, ids []*Identity, opts Options) (Summary, error) {
	o, err := newOpening(dst, src, opts)
	if err != nil {
		return Summary{}, err
	}
	key, err := unwrap(o.header, ids)
	if err != nil {
		return Summary{}, err
	}
	defer key.Wipe()
	return o.run(key)
}

// OpenWithKey is [Open] with the file key itself.
func OpenWithKey(dst io.Writer, src io.Reader, key *FileKey, opts Options) (Summary, error) {
	o, err := newOpening(dst, src, opts)
	if err != nil {
		return Summary{}, err
	}
	if err := checkMAC(o.header, key); err != nil {
		return Summary{}, err
	}
	return o.run(key)
}

// OpenAt is [Open] for a file of known size. The last chunk is checked before the first
// byte is written, so that a cut file gives no plaintext at all.
func OpenAt(dst io.Writer, src io.ReaderAt, size int64, ids []*Identity, opts Options) (Summary, error) {
	o, err := newOpening(dst, io.NewSectionReader(src, 0, size), opts)
	if err != nil {
		return Summary{}, err
	}
	key, err := unwrap(o.header, ids)
	if err != nil {
		return Summary{}, err
	}
	defer key.Wipe()
	if err := o.checkLast(src, size, key); err != nil {
		return Summary{}, err
	}
	return o.run(key)
}

// Expectation is what a dataset statement says about its file. Every field must be set.
type Expectation struct {
	Header     wire.Hash // SHA-256 of the age header
	Root       wire.Hash // spec/root.md
	Size       int64     // of the sealed file, bytes
	Recipients int64     // stanzas in the header
}

// OpenVerified decrypts the sealed file that a statement names, and no other: header, size
// and root are checked, on the very bytes that are decrypted, in one pass. A src that holds
// more than the file (a disk) is for the caller to limit; here more is refused. Whoever has
// the file key can forge chunks, which reach dst before the root tells: what was written
// counts only when the error is nil.
func OpenVerified(dst io.Writer, src io.Reader, key *FileKey, want Expectation, opts Options) (Summary, error) {
	if want.Header.IsZero() || want.Root.IsZero() || want.Size <= 0 || want.Recipients <= 0 {
		return Summary{}, verdict.Refuse("sealed.statement", "header, root, size and recipients of the file", "a statement that lacks one", "publish the dataset again")
	}
	opts.Root = true
	o, err := newOpening(dst, src, opts)
	if err != nil {
		return Summary{}, err
	}
	o.size = want.Size
	if got := wire.HashOf(o.header); got != want.Header {
		return Summary{}, mismatch("sealed.header", "header "+want.Header.String(), got.String())
	}
	if int64(o.recipients) != want.Recipients {
		return Summary{}, mismatch("sealed.recipients", fmt.Sprintf("%d recipients", want.Recipients), fmt.Sprint(o.recipients))
	}
	if err := checkMAC(o.header, key); err != nil {
		return Summary{}, err
	}
	sum, err := o.run(key)
	if err != nil {
		return Summary{}, err
	}
	if sum.Root != want.Root {
		return Summary{}, mismatch("sealed.root", "root "+want.Root.String(), sum.Root.String())
	}
	return sum, nil
}

func mismatch(check, want, got string) error {
	return verdict.NotGenuine(check, want, got, "feed the file that the dataset's statement names")
}

// opening is one file being opened. read and write are called one at a time each.
type opening struct {
	payload
	header     []byte
	recipients int
	dst        io.Writer
	src        source
	size       int64  // what the whole file must have; 0: any
	chunk      uint64 // next to be read
	offset     int64  // of the next job in the sealed file
	plain      int64  // bytes written
	root       *RootHasher
	opts       Options
}

func newOpening(dst io.Writer, src io.Reader, opts Options) (*opening, error) {
	header, types, rest, err := splitHeader(src)
	if err != nil {
		return nil, err
	}
	return &opening{header: header, recipients: len(types), dst: dst, opts: opts,
		src: source{src: io.MultiReader(bytes.NewReader(rest), src)}}, nil
}

func (o *opening) run(key *FileKey) (Summary, error) {
	var nonce [nonceSize]byte
	switch n, err := io.ReadFull(o.src.src, nonce[:]); err {
	case nil:
	case io.EOF, io.ErrUnexpectedEOF:
		return Summary{}, truncated(fmt.Sprintf("%d bytes of the nonce", n))
	default:
		return Summary{}, readError(err)
	}
	var err error
	if o.payload, err = newPayload(key.secret.bytes[:], nonce[:]); err != nil {
		return Summary{}, err
	}
	o.offset = int64(len(o.header) + nonceSize)
	if o.opts.Root {
		o.root = NewRootHasher()
		o.root.Write(o.header)
		o.root.Write(nonce[:])
	}
	r := relay{read: o.read, work: o.work, write: o.write}
	if err := r.run(); err != nil {
		return Summary{}, err
	}
	sum := Summary{Header: o.header, HeaderHash: wire.HashOf(o.header), Size: o.offset, Plain: o.plain, Recipients: o.recipients}
	if o.root != nil {
		sum.Root = o.root.Sum()
	}
	return sum, nil
}

func (o *opening) read(l *lane) {
	o.src.fill(l, jobChunks*sealedChunk)
	l.chunk, l.offset = o.chunk, o.offset
	o.chunk += jobChunks
	o.offset += int64(l.n)
	if o.size > 0 && l.err == nil && (o.offset > o.size || l.last != (o.offset == o.size)) {
		got := fmt.Sprint(o.offset)
		if !l.last {
			got = "more"
		}
		l.err = mismatch("sealed.size", fmt.Sprintf("%d bytes", o.size), got)
	}
}

func (o *opening) work(l *lane) {
	if o.root != nil {
		l.leaves = hashLeaves(l.leaves, o.root.prefix, l.in[:l.n], l.offset)
	}
	o.payload.open(l)
}

func (o *opening) write(l *lane) error {
	if o.root != nil {
		o.root.join(l.in[:l.n], l.leaves)
	}
	if l.m > 0 {
		if _, err := o.dst.Write(l.out[:l.m]); err != nil {
			return writeError(err)
		}
	}
	o.plain += int64(l.m)
	if l.err != nil {
		return l.err
	}
	return o.opts.progress(l.offset + int64(l.n))
}

// checkLast authenticates the last chunk, and with it the size.
func (o *opening) checkLast(src io.ReaderAt, size int64, key *FileKey) error {
	start := int64(len(o.header))
	length := size - start - nonceSize
	if length < chacha20poly1305.Overhead {
		return truncated(fmt.Sprintf("%d bytes of payload", max(0, size-start)))
	}
	number := (length - 1) / sealedChunk
	buf := make([]byte, nonceSize+length-number*sealedChunk)
	if _, err := src.ReadAt(buf[:nonceSize], start); err != nil && err != io.EOF {
		return readError(err)
	}
	last := buf[nonceSize:]
	if _, err := src.ReadAt(last, start+nonceSize+number*sealedChunk); err != nil && err != io.EOF {
		return readError(err)
	}
	p, err := newPayload(key.secret.bytes[:], buf[:nonceSize])
	if err != nil {
		return err
	}
	plain := make([]byte, plainChunk)
	defer clear(plain)
	_, err = p.openChunk(plain[:0], last, uint64(number), true)
	return err
}

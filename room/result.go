package room

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"io"

	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// A result's plaintext (spec/result.md, section 2): magic, salt, then what is committed to:
// the head and the body behind their lengths, and zero bytes up to the size of a bucket.
const (
	containerMagic = "strongroom/result-container/v1\n"
	saltSize       = 32
	maxHead        = 64 << 10
	// smallest is the least size of the committed part: results of most questions people ask
	// have it, whatever the answer and whether there is one.
	smallest = 64 << 10
	// headRoom is what head and lengths may take: a head has some 600 bytes.
	headRoom = 4 << 10
)

// Head says what a result is.
type Head struct {
	Agreement wire.Digest `json:"agreement"`
	Run       wire.Digest `json:"run"`
	RunID     string      `json:"run_id"`
	Work      wire.ID     `json:"work"`
	Output    wire.ID     `json:"output"`
	Format    wire.ID     `json:"format"` // of the body: csv or json
	Status    Status      `json:"status"`
	// Code says why there is no answer; empty with status ok.
	Code string `json:"code"`
}

// Status says whether a result is an answer.
type Status string

// The statuses.
const (
	OK     Status = "ok"
	Failed Status = "failed"
)

// Failure gives the error that a failed result stands for, nil for an answer.
func (h Head) Failure() error {
	if h.Status == OK {
		return nil
	}
	text := codes[codeFailed]
	return &verdict.Error{Kind: verdict.Refused, Check: codeFailed, Expected: text[0], Got: "a run that failed", Fix: text[1]}
}

// bucket gives the size of the committed part of every result of an output with this maximum:
// a power of two, at least smallest. It depends on the agreement alone, never on the answer.
func bucket(maxBytes int64) int {
	size := smallest
	for int64(size) < headRoom+maxBytes {
		size *= 2
	}
	return size
}

// committed gives the committed part of a result of an output with this maximum.
func committed(h Head, body []byte, maxBytes int64) ([]byte, error) {
	head, err := wire.Marshal(h)
	if err != nil {
		return nil, err
	}
	n := 4 + len(head) + 8 + len(body)
	if n > bucket(maxBytes) {
		return nil, fmt.Errorf("a result of %d bytes where %d are agreed", len(body), maxBytes)
	}
	out := make([]byte, 0, bucket(maxBytes))
	out = binary.BigEndian.AppendUint32(out, uint32(len(head)))
	out = append(out, head...)
	out = binary.BigEndian.AppendUint64(out, uint64(len(body)))
	out = append(out, body...)
	return out[:cap(out)], nil // make has zeroed the rest
}

// plaintext gives the whole plaintext.
func plaintext(salt [32]byte, part []byte) io.Reader {
	return io.MultiReader(bytes.NewReader([]byte(containerMagic)), bytes.NewReader(salt[:]), bytes.NewReader(part))
}

// Committed is what a result's plaintext is checked against: members of its proven statement.
type Committed struct {
	Agreement  wire.Digest
	Run        wire.Digest
	RunID      string
	Output     wire.ID
	Commitment wire.Digest
}

// ReadResult reads a result's plaintext from src and writes its body to dst. What was written
// counts only if the error is nil: the commitment covers every byte, and is checked last. A
// zero Commitment, for results opened without proof, checks only the form.
func ReadResult(dst io.Writer, src io.Reader, want Committed) (Head, error) {
	start := make([]byte, len(containerMagic)+saltSize)
	if _, err := io.ReadFull(src, start); err != nil {
		return Head{}, badResult("a result", err)
	}
	if string(start[:len(containerMagic)]) != containerMagic {
		return Head{}, badResult("a result", fmt.Errorf("something else"))
	}
	salt := [saltSize]byte(start[len(containerMagic):])
	hash := sha512.New384()
	h, err := readCommitted(dst, io.TeeReader(src, hash))
	if err != nil {
		return Head{}, badResult("a result", err)
	}
	if want.Commitment.IsZero() {
		return h, nil
	}
	if h.Agreement != want.Agreement || h.Run != want.Run || h.RunID != want.RunID || h.Output != want.Output {
		return Head{}, badResult("the result of run "+want.RunID, fmt.Errorf("that of run %s", h.RunID))
	}
	if release.CommitTo(salt, h.Run, h.Output, wire.Digest(hash.Sum(nil))) != want.Commitment {
		return Head{}, badResult("the plaintext that every owner's broker let out", fmt.Errorf("another one"))
	}
	return h, nil
}

func readCommitted(dst io.Writer, src io.Reader) (h Head, err error) {
	var size [8]byte
	if _, err := io.ReadFull(src, size[:4]); err != nil {
		return h, err
	}
	n := binary.BigEndian.Uint32(size[:4])
	if n > maxHead {
		return h, fmt.Errorf("a head of %d bytes", n)
	}
	head := make([]byte, n)
	if _, err := io.ReadFull(src, head); err != nil {
		return h, err
	}
	if err := wire.Unmarshal(head, &h); err != nil {
		return h, err
	}
	if h.Status != OK && h.Status != Failed || (h.Status == OK) != (h.Code == "") || h.Status == Failed && h.Code != codeFailed {
		return h, fmt.Errorf("status %.20q with code %.40q", string(h.Status), h.Code)
	}
	if _, err := io.ReadFull(src, size[:]); err != nil {
		return h, err
	}
	body := binary.BigEndian.Uint64(size[:])
	if body > uint64(wire.MaxInteger) {
		return h, fmt.Errorf("a body of %d bytes", body)
	}
	if _, err := io.CopyN(dst, src, int64(body)); err != nil {
		return h, err
	}
	return h, onlyZeros(src)
}

// onlyZeros reads to the end: padding carries nothing.
func onlyZeros(src io.Reader) error {
	buffer := make([]byte, 32<<10)
	for {
		n, err := src.Read(buffer)
		for _, b := range buffer[:n] {
			if b != 0 {
				return fmt.Errorf("padding that is not zero")
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func badResult(expected string, got error) error {
	if got == io.EOF {
		got = io.ErrUnexpectedEOF
	}
	return &verdict.Error{Kind: verdict.Invalid, Check: "result.container", Expected: expected, Got: verdict.Short(got.Error()),
		Fix: "do not use it: ask for the run to be done again", Err: got}
}

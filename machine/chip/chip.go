// Package chip commands a TPM 2.0 over the device file that it owns alone: the few commands
// that a room needs, marshalled here so that the agent links nothing else for them.
//
// It promises that a key made here can't leave the TPM and signs only what the TPM itself
// states, and that quotes and the values beside them belong together. It judges nothing:
// whether a TPM is genuine is for verifiers (package attest/tpm).
package chip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// TPM is a TPM 2.0 behind a device file such as /dev/tpm0: one write is one command, one
// read its whole answer. It is for one goroutine at a time, and for one owner: without a
// resource manager in between, what others load is in its way.
type TPM struct{ dev io.ReadWriter }

// New gives the TPM behind a device.
func New(dev io.ReadWriter) *TPM { return &TPM{dev} }

// The limits of a TPM's answers and of what is taken from it.
const (
	maxAnswer = 4096    // MAX_RESPONSE_SIZE of the reference implementation
	maxNV     = 8 << 10 // an index: EK certificates have 1 KiB, reports of paravisors 4
	chunk     = 512     // bytes of one NV_Read: every TPM gives as much
)

// Structure tags, commands, handles and algorithms (TPM 2.0, part 2, 6).
const (
	tagNoSessions uint16 = 0x8001
	tagSessions   uint16 = 0x8002

	ccCreatePrimary      uint32 = 0x131
	ccActivateCredential uint32 = 0x147
	ccNVRead             uint32 = 0x14e
	ccPolicySecret       uint32 = 0x151
	ccQuote              uint32 = 0x158
	ccFlushContext       uint32 = 0x165
	ccNVReadPublic       uint32 = 0x169
	ccReadPublic         uint32 = 0x173
	ccStartAuthSession   uint32 = 0x176
	ccGetCapability      uint32 = 0x17a
	ccPCRRead            uint32 = 0x17e
	ccPCRExtend          uint32 = 0x182

	rhOwner       uint32 = 0x40000001
	rhNull        uint32 = 0x40000007
	rsPassword    uint32 = 0x40000009
	rhEndorsement uint32 = 0x4000000b

	algRSA    uint16 = 0x0001
	algSHA256 uint16 = 0x000b
	algSHA384 uint16 = 0x000c
	algAES    uint16 = 0x0006
	algNull   uint16 = 0x0010
	algECDSA  uint16 = 0x0018
	algECC    uint16 = 0x0023
	algCFB    uint16 = 0x0043

	curveP256 uint16 = 0x0003
	curveP384 uint16 = 0x0004
)

// Error is a TPM's refusal of a command.
type Error struct {
	Command string
	Code    uint32 // TPM_RC
}

func (e *Error) Error() string { return fmt.Sprintf("TPM2_%s: response code %#x", e.Command, e.Code) }

// absent reports whether an error means that a handle stands for nothing: TPM_RC_HANDLE for
// the first handle or parameter.
func absent(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code&0xbf == 0x8b
}

// again reports whether an error is a TPM's word that it did nothing yet and would:
// TPM_RC_YIELDED, TPM_RC_TESTING, TPM_RC_RETRY.
func again(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code == 0x908 || e.Code == 0x90a || e.Code == 0x922)
}

// auth authorises one handle of a command: an empty password, or a policy session.
type auth uint32

const password = auth(rsPassword)

// command is one command. handles are followed by the authorisations of the first of them.
type command struct {
	name    string
	code    uint32
	handles []uint32
	auths   []auth
	params  []byte
	// returns is how many handles are in front of the answer's parameters.
	returns int
}

// run sends a command. The answer gives its handles, then its parameters. What the TPM asks
// to be sent again it is sent again: it tests itself as it goes.
func (t *TPM) run(c command) (*reader, error) {
	for wait := time.Millisecond; ; wait *= 2 {
		r, err := t.once(c)
		if !again(err) || wait > longest {
			return r, err
		}
		time.Sleep(wait)
	}
}

// longest is the longest wait between two tries; all of them take twice as long.
const longest = 500 * time.Millisecond

func (t *TPM) once(c command) (*reader, error) {
	if _, err := t.dev.Write(c.bytes()); err != nil {
		return nil, fmt.Errorf("TPM2_%s: %w", c.name, err)
	}
	buffer := make([]byte, maxAnswer)
	n, err := t.dev.Read(buffer)
	if err != nil {
		return nil, fmt.Errorf("TPM2_%s: %w", c.name, err)
	}
	return c.answer(buffer[:n])
}

func (c command) bytes() []byte {
	tag, body := tagNoSessions, []byte(nil)
	for _, h := range c.handles {
		body = binary.BigEndian.AppendUint32(body, h)
	}
	if len(c.auths) > 0 {
		tag = tagSessions
		body = binary.BigEndian.AppendUint32(body, uint32(9*len(c.auths)))
		for _, a := range c.auths {
			body = binary.BigEndian.AppendUint32(body, uint32(a))
			body = append(body, 0, 0, 0, 0, 0) // no nonce, no attributes, no HMAC
		}
	}
	body = append(body, c.params...)
	out := binary.BigEndian.AppendUint16(nil, tag)
	out = binary.BigEndian.AppendUint32(out, uint32(10+len(body)))
	return append(binary.BigEndian.AppendUint32(out, c.code), body...)
}

// answer takes an answer apart (TPM 2.0, part 1, 18).
func (c command) answer(data []byte) (*reader, error) {
	r := &reader{rest: data}
	tag, size, code := r.u16(), r.u32(), r.u32()
	if r.bad || int64(size) != int64(len(data)) {
		return nil, fmt.Errorf("TPM2_%s: an answer of %d bytes that is none", c.name, len(data))
	}
	if code != 0 {
		return nil, &Error{c.name, code}
	}
	if wants := map[bool]uint16{false: tagNoSessions, true: tagSessions}[len(c.auths) > 0]; tag != wants {
		return nil, fmt.Errorf("TPM2_%s: an answer with tag %#x", c.name, tag)
	}
	if len(c.auths) == 0 {
		return r, nil
	}
	handles := r.take(4 * c.returns)
	params := r.take(int(r.u32()))
	if r.bad {
		return nil, fmt.Errorf("TPM2_%s: an answer that is cut", c.name)
	}
	return &reader{rest: slices.Concat(handles, params)}, nil
}

// reader reads big-endian fields. Once it ran out of bytes it is bad, and gives zeros.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.rest) {
		r.bad = true
		return nil
	}
	out := r.rest[:n:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// sized reads bytes behind their length in 16 bits.
func (r *reader) sized() []byte { return r.take(int(r.u16())) }

func (r *reader) err(name string) error {
	if r.bad {
		return fmt.Errorf("TPM2_%s: an answer that is cut", name)
	}
	return nil
}

// sized puts a length of 16 bits in front.
func sized(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

func u16(values ...uint16) (out []byte) {
	for _, v := range values {
		out = binary.BigEndian.AppendUint16(out, v)
	}
	return out
}

func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

package chip

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"slices"
)

// NumPCRs is how many PCRs a bank of a PC's TPM has.
const NumPCRs = 24

// bank is a hash algorithm with PCRs of its own.
type bank struct {
	alg  uint16
	size int
}

// banks are the banks that TPMs have: SHA-1, SHA-256, SHA-384, SHA-512.
func banks() []bank {
	return []bank{{0x0004, 20}, {algSHA256, 32}, {algSHA384, 48}, {0x000d, 64}}
}

// allocated gives the banks that have PCRs. It is an error if one is of an algorithm that
// isn't known here: it could not be extended, and would be left for others.
func (t *TPM) allocated() ([]bank, error) {
	const name = "GetCapability"
	r, err := t.run(command{name: name, code: ccGetCapability, params: slices.Concat(u32(5), u32(0), u32(1))}) // TPM_CAP_PCRS
	if err != nil {
		return nil, err
	}
	r.u8() // more data: there is none
	if capability := r.u32(); capability != 5 {
		return nil, fmt.Errorf("TPM2_%s: capability %d", name, capability)
	}
	var have []bank
	for range min(r.u32(), 16) {
		alg, selected := r.u16(), r.take(int(r.u8()))
		if len(bytes.Trim(selected, "\x00")) == 0 {
			continue
		}
		i := slices.IndexFunc(banks(), func(b bank) bool { return b.alg == alg })
		if i < 0 {
			return nil, fmt.Errorf("PCRs of algorithm %#x, which is not known here", alg)
		}
		have = append(have, banks()[i])
	}
	if !slices.ContainsFunc(have, func(b bank) bool { return b.alg == algSHA256 }) && !r.bad {
		return nil, fmt.Errorf("no PCRs of SHA-256")
	}
	return have, r.err(name)
}

// Measurement is what a PCR is extended with: SHA256 in the SHA-256 bank, SHA384 in the
// SHA-384 bank. In the others it is what stands for them, so that nobody finds these banks
// untouched: in that of SHA-1, which proves nothing, the start of SHA256; in that of SHA-512
// SHA384 and zeros.
type Measurement struct {
	SHA256 [32]byte
	SHA384 [48]byte
}

// Measure gives the measurement of bytes by the banks' own hashes.
func Measure(data []byte) Measurement {
	return Measurement{sha256.Sum256(data), sha512.Sum384(data)}
}

// in gives the digest for a bank.
func (m Measurement) in(b bank) []byte {
	switch b.size {
	case 20, 32:
		return m.SHA256[:b.size]
	case 48:
		return m.SHA384[:]
	}
	return append(m.SHA384[:], make([]byte, b.size-len(m.SHA384))...)
}

// Extend extends a PCR in every bank that the TPM has (spec/tpm.md, section 1).
func (t *TPM) Extend(pcr int, m Measurement) error {
	have, err := t.allocated()
	if err != nil {
		return err
	}
	digests := u32(uint32(len(have)))
	for _, b := range have {
		digests = append(append(digests, u16(b.alg)...), m.in(b)...)
	}
	_, err = t.run(command{name: "PCR_Extend", code: ccPCRExtend, handles: []uint32{uint32(pcr)}, auths: []auth{password}, params: digests})
	return err
}

// PCRs gives the values of the SHA-256 bank, by number.
func (t *TPM) PCRs() ([NumPCRs][]byte, error) {
	const name = "PCR_Read"
	var values [NumPCRs][]byte
	wanted := [3]byte{0xff, 0xff, 0xff}
	for wanted != [3]byte{} { // a TPM gives at most eight at a time
		r, err := t.run(command{name: name, code: ccPCRRead, params: selection(wanted)})
		if err != nil {
			return values, err
		}
		r.u32() // a counter of changes
		if count, alg, size := r.u32(), r.u16(), r.u8(); count != 1 || alg != algSHA256 || size != 3 {
			return values, fmt.Errorf("TPM2_%s: an answer about other PCRs", name)
		}
		given := r.take(3)
		r.u32() // as many digests as there are bits
		before := wanted
		for i := range NumPCRs {
			if !r.bad && given[i/8]>>(i%8)&1 == 1 {
				values[i] = r.sized()
				wanted[i/8] &^= 1 << (i % 8)
			}
		}
		if r.bad || wanted == before {
			return values, fmt.Errorf("TPM2_%s: PCRs are missing in the answer", name)
		}
	}
	return values, nil
}

// selection selects PCRs of the SHA-256 bank.
func selection(pcrs [3]byte) []byte { return slices.Concat(u32(1), u16(algSHA256), []byte{3}, pcrs[:]) }

// Quote is a quote of all PCRs of the SHA-256 bank, and their values.
type Quote struct {
	Message   []byte // TPMS_ATTEST
	Signature []byte // TPMT_SIGNATURE
	PCRs      [NumPCRs][]byte
}

// Quote quotes all PCRs of the SHA-256 bank over a nonce of at most 32 bytes.
func (t *TPM) Quote(k Key, nonce []byte) (Quote, error) {
	const name = "Quote"
	var q Quote
	// The kernel may extend a PCR in between: once is chance.
	for range 3 {
		r, err := t.run(command{name: name, code: ccQuote, handles: []uint32{k.handle}, auths: []auth{password},
			params: slices.Concat(sized(nonce), u16(algNull), selection([3]byte{0xff, 0xff, 0xff}))})
		if err != nil {
			return q, err
		}
		q.Message, q.Signature = r.sized(), r.rest
		if err := r.err(name); err != nil {
			return q, err
		}
		if q.PCRs, err = t.PCRs(); err != nil {
			return q, err
		}
		// pcrDigest ends a TPMS_ATTEST of a quote (TPM 2.0, part 2, 10.12.1).
		digest := sha256.Sum256(bytes.Join(q.PCRs[:], nil))
		if bytes.HasSuffix(q.Message, digest[:]) {
			return q, nil
		}
	}
	return q, fmt.Errorf("TPM2_%s: the PCRs change as they are quoted", name)
}

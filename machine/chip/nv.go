package chip

import (
	"fmt"
	"slices"
)

// Chain gives the certificates that lead from the endorsement keys' to their root, DER, as
// far as the TPM holds them: one file cut into indices (EK credential profile 2.5, section
// 2.2.1.5.2).
func (t *TPM) Chain() ([][]byte, error) {
	const first, last = 0x01c00100, 0x01c001ff
	const most = 8
	var file []byte
	for index := uint32(first); index <= last && len(file) < most*maxNV; index++ {
		part, err := t.Read(index)
		if absent(err) {
			break
		}
		if err != nil {
			return nil, err
		}
		file = append(file, part...)
	}
	var all [][]byte
	for len(file) > 0 && len(all) < most {
		one := trimDER(file)
		if len(one) == len(file) && derSize(file) == 0 {
			break // no certificate: padding
		}
		all = append(all, one)
		file = file[len(one):]
	}
	return all, nil
}

// Read reads a whole NV index with its owner's password, which is empty, at most 8 KiB.
func (t *TPM) Read(index uint32) ([]byte, error) {
	size, err := t.nvSize(index)
	if err != nil {
		return nil, err
	}
	if size > maxNV {
		return nil, fmt.Errorf("NV index %#x of %d bytes, at most %d", index, size, maxNV)
	}
	const name = "NV_Read"
	var data []byte
	for len(data) < size {
		n := min(size-len(data), chunk)
		r, err := t.run(command{name: name, code: ccNVRead, handles: []uint32{rhOwner, index}, auths: []auth{password}, params: u16(uint16(n), uint16(len(data)))})
		if err != nil {
			return nil, err
		}
		part := r.sized()
		if r.bad || len(part) != n {
			return nil, fmt.Errorf("TPM2_%s: %d bytes for %d", name, len(part), n)
		}
		data = append(data, part...)
	}
	return data, nil
}

func (t *TPM) nvSize(index uint32) (int, error) {
	const name = "NV_ReadPublic"
	r, err := t.run(command{name: name, code: ccNVReadPublic, handles: []uint32{index}})
	if err != nil {
		return 0, err
	}
	public := reader{rest: r.sized()}
	public.take(4 + 2 + 4) // index, hash, attributes
	public.sized()         // policy
	size := public.u16()
	if public.bad {
		return 0, r.err(name)
	}
	return int(size), r.err(name)
}

// derSize gives the size of the DER element that data starts with, 0 if there is none: a
// SEQUENCE with a length of two bytes, as every certificate is.
func derSize(data []byte) int {
	if len(data) < 4 || data[0] != 0x30 || data[1] != 0x82 {
		return 0
	}
	if n := 4 + int(data[2])<<8 + int(data[3]); n <= len(data) {
		return n
	}
	return 0
}

// trimDER takes away what is behind a certificate: indices are often larger.
func trimDER(data []byte) []byte {
	if n := derSize(data); n > 0 {
		return slices.Clip(data[:n])
	}
	return data
}

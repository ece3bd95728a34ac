package qemu

import (
	"encoding/binary"
	"fmt"
	"io"

	"strongroom.dev/verdict"
)

// ChainIndex is the first of the TPM's memory indices that the certificates between its
// endorsement keys' and their root are in, one after the other, DER, the issuer's first (TCG
// EK Credential Profile 2.5, section 2.2.1.5). A machine finds them nowhere else: the host
// has no other way to hand it anything.
const ChainIndex = 0x01c00100

// TPM 2.0 library specification, part 2: command codes, structure tags and handles.
const (
	tpmSessions, tpmNoSessions       = 0x8002, 0x8001
	tpmOwner, tpmPassword            = 0x40000001, 0x40000009
	ccNVDefine, ccNVWrite, ccNVLock  = 0x12a, 0x137, 0x138
	ccShutdown                       = 0x145
	algSHA256                        = 0x000b
	maxNVWrite                       = 512 // below every TPM's TPM_PT_NV_BUFFER_MAX
	maxTPMAnswer                     = 4096
	attrOwnerWrite, attrWriteDefine  = 1 << 1, 1 << 13
	attrOwnerRead, attrAuthRead      = 1 << 17, 1 << 18
	attrNoDictionaryAttackProtection = 1 << 25
)

// writeChain puts certificates into a new TPM, whose owner has no password yet, and locks
// them. conn takes commands.
func writeChain(conn io.ReadWriter, certificates [][]byte) error {
	for i, der := range certificates {
		index := uint32(ChainIndex + i)
		public := be(nil, index, uint16(algSHA256), uint32(attrOwnerWrite|attrWriteDefine|attrOwnerRead|attrAuthRead|attrNoDictionaryAttackProtection), uint16(0), uint16(len(der)))
		if err := command(conn, ccNVDefine, []uint32{tpmOwner}, be(nil, uint16(0), sized(public))); err != nil {
			return err
		}
		for offset := 0; offset < len(der); offset += maxNVWrite {
			part := der[offset:min(len(der), offset+maxNVWrite)]
			if err := command(conn, ccNVWrite, []uint32{tpmOwner, index}, be(nil, sized(part), uint16(offset))); err != nil {
				return err
			}
		}
		if err := command(conn, ccNVLock, []uint32{tpmOwner, index}, nil); err != nil {
			return err
		}
	}
	return exchange(conn, be(nil, uint16(tpmNoSessions), uint32(12), uint32(ccShutdown), uint16(0)))
}

// command sends one command with the owner's empty password.
func command(conn io.ReadWriter, code uint32, handles []uint32, parameters []byte) error {
	session := be(nil, uint32(tpmPassword), uint16(0), byte(0), uint16(0))
	body := be(nil, handles, uint32(len(session)), session, parameters)
	return exchange(conn, be(nil, uint16(tpmSessions), uint32(10+len(body)), code, body))
}

// exchange sends a command and reads the answer's code.
func exchange(conn io.ReadWriter, message []byte) error {
	if _, err := conn.Write(message); err != nil {
		return tpmBroken(err.Error())
	}
	var head [10]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return tpmBroken(err.Error())
	}
	size, code := binary.BigEndian.Uint32(head[2:]), binary.BigEndian.Uint32(head[6:])
	if size < 10 || size > maxTPMAnswer {
		return tpmBroken(fmt.Sprintf("an answer of %d bytes", size))
	}
	if _, err := io.CopyN(io.Discard, conn, int64(size)-10); err != nil {
		return tpmBroken(err.Error())
	}
	if code != 0 {
		return tpmBroken(fmt.Sprintf("TPM error %#x to command %#x", code, message[6:10]))
	}
	return nil
}

func tpmBroken(got string) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "vm.tpm", Expected: "a new software TPM that keeps its certificates", Got: verdict.Short(got), Fix: "use swtpm 0.7.1 or newer"}
}

// be appends numbers in big endian, and bytes as they are.
func be(b []byte, values ...any) []byte {
	for _, v := range values {
		b, _ = binary.Append(b, binary.BigEndian, v) // fixed sizes: it can't fail
	}
	return b
}

// sized gives bytes behind their length in two bytes (TPM2B).
func sized(b []byte) []byte { return be(nil, uint16(len(b)), b) }

package endorse

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/url"
	"slices"
	"strings"

	mldsax509 "filippo.io/mldsa/x509"
)

// Parse finds the endorsements in a file: PEM (also among other text), DER (also several in
// a row, or padded with zeros), GUID tables of certificates (AMD's GHCB specification, section
// 4.1.8.1), COSE_Sign1, RIMs, Rego policies; JSON responses and collections of Intel, Azure
// and common tools, whatever members they use; keys of elliptic curves as JWK (RFC 7517); and hex or base64 of any of these. What it
// does not recognise gives nothing. A [Bundle] is not opened here: its signature must be
// checked first.
func Parse(name string, data []byte) []Item {
	if len(data) > MaxFile {
		return nil
	}
	p := parser{name: name}
	p.any(data, 0)
	return p.items
}

type parser struct {
	name  string
	items []Item
}

func (p *parser) add(kind Kind, data []byte) {
	if len(data) == 0 || len(data) > MaxItem || len(p.items) >= MaxItems {
		return
	}
	name := p.name
	if n := len(p.items); n > 0 {
		name = fmt.Sprintf("%s#%d", name, n+1)
	}
	if len(name) > MaxName {
		name = strings.ToValidUTF8(name[len(name)-MaxName:], "")
	}
	p.items = append(p.items, Item{kind, name, slices.Clone(data)})
}

// any parses bytes of unknown form.
func (p *parser) any(data []byte, nesting int) {
	if nesting > maxNesting || len(data) == 0 {
		return
	}
	switch {
	case data[0] == 0x30 && p.der(data):
	case table(data) != nil:
		for _, entry := range table(data) {
			p.any(entry.Data, nesting+1)
		}
	case sign1(data):
		p.add(COSESign1, data)
	default:
		p.text(data, nesting)
	}
}

func (p *parser) text(exact []byte, nesting int) {
	data := bytes.TrimSpace(exact)
	switch {
	case len(data) == 0:
	case data[0] == '{' || data[0] == '[':
		p.json(data, nesting)
	case bytes.Contains(data, []byte("-----BEGIN ")):
		p.pem(data)
	case bytes.HasPrefix(data, []byte("-----BEGIN%20")):
		if plain, err := url.PathUnescape(string(data)); err == nil {
			p.pem([]byte(plain))
		}
	case data[0] == '<' && bytes.Contains(data[:min(len(data), 4096)], []byte("SoftwareIdentity")):
		p.add(NVIDIARIM, data)
	case bytes.HasPrefix(data, []byte("package policy")):
		p.add(ContainerPolicy, exact) // its hash is of every byte
	default:
		if decoded := Decode(data); decoded != nil {
			p.any(decoded, nesting+1)
		}
	}
}

func (p *parser) pem(data []byte) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return
		}
		switch block.Type {
		case "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CRL", "CRL", "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
			p.der(block.Bytes)
		case "PUBLIC KEY":
			if _, err := mldsax509.ParsePKIXPublicKey(block.Bytes); err == nil {
				p.add(PublicKey, block.Bytes)
			}
		}
	}
}

// der adds the certificates, CRLs, requests and OCSP responses that stand one after the other,
// and reports whether data is that and nothing else but zero padding.
func (p *parser) der(data []byte) bool {
	for len(data) > 0 && data[0] == 0x30 {
		var value asn1.RawValue
		rest, err := asn1.Unmarshal(data, &value)
		if err != nil || !p.one(value.FullBytes) {
			return false
		}
		data = rest
	}
	return len(bytes.TrimLeft(data, "\x00")) == 0
}

func (p *parser) one(der []byte) bool {
	if _, err := x509.ParseCertificate(der); err == nil {
		p.add(X509Certificate, der)
		return true
	}
	if _, err := x509.ParseRevocationList(der); err == nil {
		p.add(X509CRL, der)
		return true
	}
	if _, err := x509.ParseCertificateRequest(der); err == nil {
		p.add(X509Request, der)
		return true
	}
	if isOCSP(der) {
		p.add(OCSPResponse, der)
		return true
	}
	return false
}

// isOCSP recognises OCSPResponse ::= SEQUENCE { ENUMERATED, [0] { id-pkix-ocsp-basic, ...
// (RFC 6960, section 4.2.1).
func isOCSP(der []byte) bool {
	var r struct {
		Status asn1.Enumerated
		Bytes  struct {
			Type     asn1.ObjectIdentifier
			Response []byte
		} `asn1:"explicit,tag:0"`
	}
	_, err := asn1.Unmarshal(der, &r)
	return err == nil && r.Bytes.Type.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1})
}

// sign1 recognises COSE_Sign1 (RFC 9052, section 4.2), tagged or not: an array of four, of
// which the first is a byte string and, without the tag, at least an algorithm.
func sign1(data []byte) bool {
	if len(data) < 64 {
		return false
	}
	if data[0] == 0xd2 {
		return data[1] == 0x84 && data[2]>>5 == 2
	}
	return data[0] == 0x84 && data[1]>>5 == 2 && data[1] > 0x40
}

// Entry is one certificate of a GUID table.
type Entry struct {
	// GUID is in its usual text form, lower case.
	GUID string
	Data []byte

	offset int
}

// The GUIDs of AMD's certificate table (GHCB specification 2.03, section 4.1.8.1).
const (
	GUIDVCEK = "63da758d-e664-4564-adc5-f4b93be8accd"
	GUIDVLEK = "a8074bc2-a25a-483e-aae6-39c045a0b8a1"
	GUIDASK  = "4ab7b379-bbac-4fe4-a02f-05aef327c782"
	GUIDARK  = "c0b406a4-a803-4952-9743-3fb6014cd0ae"
	GUIDCRL  = "92f81bc3-5811-4d3d-97ff-d19f88dc67ea"
)

// Table reads a GUID table of certificates: entries of 24 bytes {GUID, u32 offset, u32
// length}, little endian, ended by one of zeros; data at the offsets, behind the entries. It
// gives nil for anything else. At least one GUID must be AMD's: clouds add their own.
func Table(data []byte) []Entry { return table(data) }

func table(data []byte) []Entry {
	const size = 24
	var entries []Entry
	known := false
	for at := 0; at+size <= len(data) && len(entries) < maxTable; at += size {
		head := data[at : at+size]
		if len(bytes.TrimLeft(head, "\x00")) == 0 {
			if !known || slices.ContainsFunc(entries, func(e Entry) bool { return e.offset < at+size }) {
				return nil
			}
			return entries
		}
		guid, ours := guidText(head[:16])
		offset, length := binary.LittleEndian.Uint32(head[16:]), binary.LittleEndian.Uint32(head[20:])
		if uint64(offset)+uint64(length) > uint64(len(data)) || length > MaxItem {
			return nil
		}
		known = known || ours
		entries = append(entries, Entry{guid, data[offset : offset+length], int(offset)})
	}
	return nil
}

// guidText gives a GUID's text and whether it is one of AMD's. Bytes stand in text order
// (kernel, go-sev-guest) or with the first three groups swapped (UEFI's order).
func guidText(b []byte) (string, bool) {
	text := func(b []byte) string {
		h := hex.EncodeToString(b)
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	}
	swapped := []byte{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6]}
	swapped = append(swapped, b[8:]...)
	for _, g := range []string{text(b), text(swapped)} {
		switch g {
		case GUIDVCEK, GUIDVLEK, GUIDASK, GUIDARK, GUIDCRL:
			return g, true
		}
	}
	return text(b), false
}

// Decode gives the bytes of text that is wholly hex or wholly base64 (standard or URL
// alphabet, padded or not, spread over lines or not); nil for anything else or less than 64
// bytes. Hex comes first, since most hex is also base64.
func Decode(text []byte) []byte {
	plain := bytes.TrimSpace(text)
	if bytes.ContainsAny(plain, " \t\r\n") {
		plain = bytes.Join(bytes.Fields(plain), nil)
	}
	if len(plain) < minEncoded {
		return nil
	}
	out := make([]byte, hex.DecodedLen(len(plain)))
	trimmed := bytes.TrimPrefix(plain, []byte("0x"))
	if n, err := hex.Decode(out, trimmed); err == nil {
		return out[:n]
	}
	unpadded := bytes.TrimRight(plain, "=")
	if len(plain)-len(unpadded) > 2 {
		return nil
	}
	out = make([]byte, base64.RawStdEncoding.DecodedLen(len(unpadded)))
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding.Strict(), base64.RawURLEncoding.Strict()} {
		if n, err := enc.Decode(out, unpadded); err == nil {
			return out[:n]
		}
	}
	return nil
}

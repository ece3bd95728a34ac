package endorse

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// frame is an object or array that is being read.
type frame struct {
	start   int
	object  bool
	key     string // the member whose value comes next, "" before a member's name
	members map[string]string
}

// intel gives the kind of Intel's response that has such a member.
func intel(member string) Kind {
	switch member {
	case "tcbInfo":
		return IntelTCBInfo
	case "enclaveIdentity":
		return IntelQEIdentity
	case "tcbEvaluationDataNumbers":
		return IntelTCBEvaluation
	}
	return Unknown
}

// parted are the members in which tools keep text and signature of those responses apart
// (quote collateral of Intel's library and others), and the member of the response itself.
type parted struct{ text, signature, member string }

func partings() []parted {
	return []parted{
		{"tcb_info", "tcb_info_signature", "tcbInfo"},
		{"qe_identity", "qe_identity_signature", "enclaveIdentity"},
	}
}

// json walks through a JSON text once. Objects that are Intel's responses are kept as they
// stand, every string is looked into. The text is known to be valid, so that the walk need
// not look for errors of form.
func (p *parser) json(data []byte, nesting int) {
	if !json.Valid(data) {
		return
	}
	var stack []*frame
	for at := 0; at < len(data); {
		top := (*frame)(nil)
		if len(stack) > 0 {
			top = stack[len(stack)-1]
		}
		switch c := data[at]; c {
		case ' ', '\t', '\r', '\n', ',', ':':
			at++
		case '{', '[':
			top.other()
			if len(stack) == maxDepth {
				return
			}
			stack = append(stack, &frame{start: at, object: c == '{'})
			at++
		case '}', ']':
			at++
			stack = stack[:len(stack)-1]
			p.closed(top, data[top.start:at])
		case '"':
			end := stringEnd(data, at)
			p.str(top, data[at:end], nesting)
			at = end
		default:
			top.other()
			for at < len(data) && bytes.IndexByte([]byte(" \t\r\n,]}"), data[at]) < 0 {
				at++
			}
		}
	}
}

// stringEnd gives the offset behind the string that starts at an offset.
func stringEnd(data []byte, at int) int {
	for at++; data[at] != '"'; at++ {
		if data[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// other ends the member that was being read, of a value that is no string.
func (f *frame) other() {
	if f != nil && f.object {
		f.note("")
	}
}

// str takes a string with its quotes: a member's name, or a value.
func (p *parser) str(top *frame, quoted []byte, nesting int) {
	plain := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(plain, '\\') >= 0 {
		var text string
		if json.Unmarshal(quoted, &text) != nil {
			return
		}
		plain = []byte(text)
	}
	switch {
	case top == nil || !top.object:
		p.any(plain, nesting+1)
	case top.key == "":
		top.key = string(plain) + "\x00" // never empty, even for the member ""
	case !top.note(string(plain)):
		p.any(plain, nesting+1)
	}
}

// note ends the member that was being read, keeping its value if the member matters. It
// reports whether that is text of a parted response, which [parser.closed] puts together.
func (f *frame) note(value string) bool {
	key := f.key[:len(f.key)-1]
	f.key = ""
	text, wanted := false, intel(key) != Unknown || key == "signature" || slices.Contains(jwkMembers(), key)
	for _, p := range partings() {
		text = text || key == p.text
		wanted = wanted || key == p.text || key == p.signature
	}
	if !wanted {
		return false
	}
	if f.members == nil {
		f.members = make(map[string]string)
	}
	f.members[key] = value
	return text && value != ""
}

// jwkMembers are the members of a key of an elliptic curve (RFC 7518, section 6.2) that matter.
func jwkMembers() []string { return []string{"kty", "crv", "x", "y", "d"} }

// jwk gives the SubjectPublicKeyInfo of a public key, nil if the object is none. A private key
// is left alone: it has no business among endorsements.
func (f *frame) jwk() []byte {
	_, private := f.members["d"]
	curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[f.members["crv"]]
	if f.members["kty"] != "EC" || curve == nil || private {
		return nil
	}
	point := []byte{4}
	for _, name := range []string{"x", "y"} {
		b, err := base64.RawURLEncoding.Strict().DecodeString(f.members[name])
		if err != nil || len(b) != (curve.Params().BitSize+7)/8 {
			return nil
		}
		point = append(point, b...)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil
	}
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil
	}
	return spki
}

// closed looks at an object that was read to its end.
func (p *parser) closed(f *frame, raw []byte) {
	if spki := f.jwk(); spki != nil {
		p.add(PublicKey, spki)
		return
	}
	if _, signed := f.members["signature"]; signed {
		for _, member := range []string{"tcbInfo", "enclaveIdentity", "tcbEvaluationDataNumbers"} {
			if _, ok := f.members[member]; ok {
				p.add(intel(member), raw)
				return
			}
		}
	}
	for _, part := range partings() {
		body, signature := f.members[part.text], f.members[part.signature]
		if _, err := hex.DecodeString(signature); err != nil || body == "" || signature == "" || body[0] != '{' {
			continue
		}
		whole := []byte(`{"` + part.member + `":` + body + `,"signature":"` + signature + `"}`)
		if json.Valid(whole) {
			p.add(intel(part.member), whole)
		}
	}
}

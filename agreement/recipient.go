package agreement

import (
	"fmt"
	"slices"
	"strings"
)

// The kinds of age recipients: prefix, and bytes of the key. The tag kinds, whose private
// key lives in hardware, receive data only: a room seals results to the other two.
const (
	recipientX25519 = "age"       // 32 bytes
	recipientHybrid = "age1pq"    // 1,216 bytes, X-Wing
	recipientTag    = "age1tag"   // 33 bytes, P-256
	recipientTagPQ  = "age1tagpq" // 1,249 bytes, P-256 with ML-KEM-768
)

// recipients checks a list of age recipients.
func (p place) recipients(list []string, least int, kinds ...string) error {
	if err := p.count(len(list), least, MaxRecipients); err != nil {
		return err
	}
	if err := each(p, list, func(p place, r string) error { return p.recipient(r, kinds) }); err != nil {
		return err
	}
	return unique(p, list, "", self[string])
}

func (p place) recipient(text string, kinds []string) error {
	kind, bytes, err := bech32(text)
	if err == nil && !slices.Contains(kinds, kind) {
		err = fmt.Errorf("of a kind that is not accepted here")
	}
	if want := map[string]int{recipientX25519: 32, recipientHybrid: 1216, recipientTag: 33, recipientTagPQ: 1249}[kind]; err == nil && bytes != want {
		err = fmt.Errorf("of %d bytes, expected %d", bytes, want)
	}
	if err != nil {
		return p.bad("an age recipient starting "+strings.Join(kinds, "1, ")+"1", quoted(text)+" ("+err.Error()+")", "copy it whole, as `strongroom keygen` prints it")
	}
	return nil
}

// bech32 checks the checksum of a lower-case Bech32 string (BIP 173, without its limit of
// 90 characters, as age uses it), and gives its prefix and how many bytes it carries.
func bech32(text string) (prefix string, bytes int, err error) {
	const charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	if len(text) > 4096 {
		return "", 0, fmt.Errorf("too long")
	}
	split := strings.LastIndexByte(text, '1')
	if split < 1 || len(text)-split-1 < 6 {
		return "", 0, fmt.Errorf("not Bech32")
	}
	prefix = text[:split]
	values := make([]byte, 0, 2*split+1+len(text))
	for i := range len(prefix) {
		if prefix[i] < 33 || prefix[i] > 126 {
			return "", 0, fmt.Errorf("not Bech32")
		}
		values = append(values, prefix[i]>>5)
	}
	values = append(values, 0)
	for i := range len(prefix) {
		values = append(values, prefix[i]&31)
	}
	for _, c := range text[split+1:] {
		v := strings.IndexRune(charset, c)
		if v < 0 {
			return "", 0, fmt.Errorf("not Bech32")
		}
		values = append(values, byte(v))
	}
	if polymod(values) != 1 {
		return "", 0, fmt.Errorf("checksum does not match")
	}
	return prefix, (len(text) - split - 1 - 6) * 5 / 8, nil
}

// polymod is the checksum of BIP 173.
func polymod(values []byte) uint32 {
	generator := [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3}
	check := uint32(1)
	for _, v := range values {
		top := check >> 25
		check = (check&0x1ffffff)<<5 ^ uint32(v)
		for i, g := range generator {
			if top>>i&1 == 1 {
				check ^= g
			}
		}
	}
	return check
}

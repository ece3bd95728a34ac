package nvidia

import (
	"bytes"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"strongroom.dev/tcbinfo"
)

// identity is what a leaf certificate says of the firmware that holds its key.
type identity struct {
	// fwid is the SHA-384 of the firmware.
	fwid []byte
	// device is the SubjectPublicKeyInfo of the key below it; nil in certificates of the later
	// form.
	device []byte
	// svn and flags are of the later form only. A flag that is set names a way to look inside.
	svn   *int64
	flags *tcbinfo.Flags
}

// oidSHA384 is the only digest in use.
func oidSHA384() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2} }

// firmware is an FWID (TCG DICE Attestation Architecture 1.1, section 6.1.1.1).
type firmware struct {
	Algorithm asn1.ObjectIdentifier
	Digest    []byte
}

func (f firmware) sha384() ([]byte, error) {
	if !f.Algorithm.Equal(oidSHA384()) || len(f.Digest) != sha512.Size384 {
		return nil, errors.New("an FWID that is no SHA-384")
	}
	return f.Digest, nil
}

// parseIdentity reads the one extension that names the firmware, in either of two forms:
// 2.23.133.5.4.1 holding what was once CompositeDeviceID (Hopper, LS10), or 2.23.133.5.4.1.1
// holding a DiceTcbInfo (Blackwell).
func parseIdentity(leaf *x509.Certificate) (identity, error) {
	composite, tcb := asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1}, asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1, 1}
	var id identity
	found := 0
	for _, e := range leaf.Extensions {
		var err error
		switch {
		case e.Id.Equal(composite):
			id, err = parseComposite(e.Value)
		case e.Id.Equal(tcb):
			id, err = parseTCBInfo(e.Value)
		default:
			continue
		}
		if err != nil {
			return identity{}, fmt.Errorf("extension %s: %w", e.Id, err)
		}
		found++
	}
	if found != 1 {
		return identity{}, fmt.Errorf("%d extensions that name the firmware, expected one", found)
	}
	return id, nil
}

// parseComposite reads SEQUENCE { INTEGER 1, SubjectPublicKeyInfo, FWID }.
func parseComposite(der []byte) (identity, error) {
	var v struct {
		Version int
		Device  asn1.RawValue
		FWID    firmware
	}
	if rest, err := asn1.Unmarshal(der, &v); err != nil || len(rest) > 0 || v.Version != 1 {
		return identity{}, errors.New("no composite device id of version 1")
	}
	fwid, err := v.FWID.sha384()
	return identity{fwid: fwid, device: v.Device.FullBytes}, err
}

// parseTCBInfo reads a DiceTcbInfo. The first FWID is the firmware's; others, if any, are of
// parts that may be absent (zeros).
func parseTCBInfo(der []byte) (identity, error) {
	info, err := tcbinfo.Parse(der)
	if err != nil {
		return identity{}, err
	}
	if len(info.FWIDs) == 0 {
		return identity{}, errors.New("no FWID")
	}
	first := firmware{info.FWIDs[0].Algorithm, info.FWIDs[0].Digest}
	id := identity{svn: info.SVN, flags: info.Flags}
	if id.fwid, err = first.sha384(); err != nil {
		return identity{}, err
	}
	if bytes.Equal(id.fwid, make([]byte, sha512.Size384)) {
		return identity{}, errors.New("no FWID")
	}
	return id, nil
}

// open names the flags of a DiceTcbInfo that are set and should not be. One may be: bit 0,
// not configured, which all Blackwell GPUs have set. The others speak of debugging, recovery
// and the like, or are reserved.
func (id identity) open() []string {
	var set []string
	for _, bit := range id.flags.Bits() {
		if bit != tcbinfo.NotConfigured {
			set = append(set, tcbinfo.FlagName(bit))
		}
	}
	return set
}

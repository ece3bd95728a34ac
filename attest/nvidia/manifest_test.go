package nvidia_test

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// manifest is a RIM of the world. Its text is written in canonical form, so that its
// signature does not depend on the code under test.
type manifest struct {
	edition, product, version string
	values                    map[int][]string // active alternatives, hex, by index
	size                      int              // of measurements
	signer                    *authority
	certificates              []*authority // instead of the signer's chain
	// text, signed and whole alter the document before and after signing; info its SignedInfo.
	text, whole, info func(string) string
}

func driverRIM(w *world, d *dev) *manifest {
	m := &manifest{edition: "GPU", product: d.model[:5], version: strings.TrimRight(string(d.fields[3]), "\x00"), size: 48, signer: w.signer, values: map[int][]string{}}
	for i := 1; i < 20; i++ {
		m.values[i] = []string{hex.EncodeToString(digest("another driver")), hex.EncodeToString(d.blocks[i])}
	}
	return m
}

func vbiosRIM(w *world, d *dev) *manifest {
	m := driverRIM(w, d)
	v := d.fields[6]
	m.version, m.values = fmt.Sprintf("%02X.%02X.%02X.%02X.%02X", v[3], v[2], v[1], v[0], v[4]), map[int][]string{}
	for i := 20; i < 36; i++ {
		m.values[i] = []string{hex.EncodeToString(d.blocks[i])}
	}
	m.values[35] = []string{hex.EncodeToString(digest("a decoder that is off"))}
	return m
}

func switchRIM(w *world, d *dev) *manifest {
	m := driverRIM(w, newGPU(w, d.serial))
	m.edition, m.product, m.version = "SWITCH", "LS10", string(d.fields[6])
	return m
}

const (
	swid = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
	head = `<SoftwareIdentity xmlns="` + swid + `" xmlns:ns0="` + swid + `" xmlns:ns2="http://www.w3.org/2001/04/xmlenc#sha384" corpus="false" name="test" version="1.0">`
	// infoHead is the start of SignedInfo in canonical form: it inherits the namespaces.
	infoHead = `<ds:SignedInfo xmlns="` + swid + `" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" xmlns:ns0="` + swid + `" xmlns:ns2="http://www.w3.org/2001/04/xmlenc#sha384">`
	tail     = "</SoftwareIdentity>"
)

func (m *manifest) resources() string {
	var b strings.Builder
	for i := range 64 {
		active, values := "True", m.values[i]
		if values == nil {
			active, values = "False", []string{strings.Repeat("00", m.size)}
		}
		hashes := ""
		for j, v := range values {
			hashes += fmt.Sprintf(` ns2:Hash%d="%s"`, j, v)
		}
		fmt.Fprintf(&b, `<ns0:Resource active="%s" alternatives="%d" index="%d" name="Measurement_%d" size="%d" type="Measurement"%s></ns0:Resource>`+"\n", active, len(values), i, i, m.size, hashes)
	}
	return b.String()
}

// unsigned gives the document without its signature, in canonical form.
func (m *manifest) unsigned() string {
	text := head + "\n" + `<ns0:Entity name="NVIDIA Corporation" role="softwareCreator tagCreator"></ns0:Entity>` + "\n" +
		fmt.Sprintf(`<ns0:Meta colloquialVersion="%s" edition="%s" product="%s"></ns0:Meta>`, m.version, m.edition, m.product) + "\n<ns0:Payload>\n" + m.resources() + "</ns0:Payload>\n" + tail
	if m.text != nil {
		text = m.text(text)
	}
	return text
}

func (m *manifest) document() []byte {
	content := m.unsigned()
	sum := sha512.Sum384([]byte(content))
	const c14n = `<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2006/12/xml-c14n11"></ds:CanonicalizationMethod>`
	info := c14n + `<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"></ds:SignatureMethod>` +
		`<ds:Reference URI=""><ds:Transforms><ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"></ds:Transform>` +
		`<ds:Transform Algorithm="http://www.w3.org/2006/12/xml-c14n11"></ds:Transform></ds:Transforms>` +
		`<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#sha384"></ds:DigestMethod>` +
		`<ds:DigestValue>` + base64.StdEncoding.EncodeToString(sum[:]) + `</ds:DigestValue></ds:Reference></ds:SignedInfo>`
	if m.info != nil {
		info = m.info(info)
	}
	signed := sha512.Sum384([]byte(infoHead + info))
	certificates := ""
	chain := m.certificates
	if chain == nil {
		chain = m.signer.chain()
	}
	for _, a := range chain {
		certificates += "<ds:X509Certificate>" + base64.StdEncoding.EncodeToString(a.cert.Raw) + "\n</ds:X509Certificate>"
	}
	signature := `<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo>` + info + "<ds:SignatureValue>" +
		base64.StdEncoding.EncodeToString(raw(m.signer.key, signed[:])) + "</ds:SignatureValue><ds:KeyInfo><ds:X509Data>" + certificates + "</ds:X509Data></ds:KeyInfo></ds:Signature>"
	whole := strings.TrimSuffix(content, tail) + signature + tail
	if m.whole != nil {
		whole = m.whole(whole)
	}
	return []byte(whole)
}

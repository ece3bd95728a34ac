package ear

import (
	"crypto"
	"crypto/x509"
	"fmt"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// authorityFile is an authority as its store keeps it.
type authorityFile struct {
	Type   string      `json:"type"`
	Issuer string      `json:"issuer"`
	Chains []chainFile `json:"chains"`
}

type chainFile struct {
	Root         caFile       `json:"root"`
	Signing      caFile       `json:"signing"`
	Certificates []wire.Bytes `json:"certificates"`
}

type caFile struct {
	Certificate wire.Bytes `json:"certificate"`
	PKCS8       wire.Bytes `json:"pkcs8"`
	List        wire.Bytes `json:"crl"`
}

const authorityType = "strongroom/token-authority/v1"

// MarshalSecret gives the authority, private keys included, for the service's own store.
func (a Authority) MarshalSecret(shape Shape) ([]byte, error) {
	f := authorityFile{Type: authorityType + "/" + shape.Name, Issuer: a.issuer, Chains: []chainFile{}}
	for _, c := range a.chains {
		root, err := c.root.file()
		if err != nil {
			return nil, err
		}
		signing, err := c.signing.file()
		if err != nil {
			return nil, err
		}
		out := chainFile{root, signing, []wire.Bytes{}}
		for _, l := range c.leaves {
			out.Certificates = append(out.Certificates, l.certificate.Raw)
		}
		f.Chains = append(f.Chains, out)
	}
	return wire.Marshal(f)
}

func (c ca) file() (caFile, error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.private)
	return caFile{c.certificate.Raw, der, c.list.Raw}, err
}

// ParseAuthority reads what [Authority.MarshalSecret] wrote, and checks that it belongs together.
// The error never quotes the text.
func ParseAuthority(shape Shape, data []byte) (Authority, error) {
	defect := func(what string) error {
		return &verdict.Error{Kind: verdict.Broken, Check: "token.certificates", Expected: "the authority of " + shape.Name + " tokens as it was stored", Got: what, Fix: "restore the service's state"}
	}
	var f authorityFile
	if err := wire.Unmarshal(data, &f); err != nil {
		return Authority{}, defect("another document")
	}
	if f.Type != authorityType+"/"+shape.Name || len(f.Chains) > MaxKeys {
		return Authority{}, defect("an authority of " + verdict.Short(f.Type))
	}
	a := Authority{issuer: f.Issuer}
	for _, in := range f.Chains {
		c, err := in.parse()
		if err != nil {
			return Authority{}, defect(err.Error())
		}
		a.chains = append(a.chains, c)
	}
	return a, nil
}

func (f chainFile) parse() (c chain, err error) {
	if c.root, err = f.Root.parse(nil); err != nil {
		return c, err
	}
	if c.signing, err = f.Signing.parse(c.root.certificate); err != nil {
		return c, err
	}
	if len(f.Certificates) > MaxKeys {
		return c, fmt.Errorf("%d certificates of keys", len(f.Certificates))
	}
	for _, der := range f.Certificates {
		certificate, err := x509.ParseCertificate(der)
		if err != nil || certificate.CheckSignatureFrom(c.signing.certificate) != nil {
			return c, fmt.Errorf("a certificate that its CA did not sign")
		}
		id, err := thumbprint(certificate.PublicKey)
		if err != nil {
			return c, fmt.Errorf("a certificate of another kind of key")
		}
		c.leaves = append(c.leaves, leaf{id, certificate})
	}
	return c, nil
}

// parse reads a CA below another, or a root.
func (f caFile) parse(above *x509.Certificate) (ca, error) {
	certificate, err := x509.ParseCertificate(f.Certificate)
	if err != nil {
		return ca{}, fmt.Errorf("a CA without certificate")
	}
	if above == nil {
		above = certificate
	}
	private, err := x509.ParsePKCS8PrivateKey(f.PKCS8)
	signer, ok := private.(crypto.Signer)
	public, same := certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if err != nil || !ok || !same || !public.Equal(signer.Public()) || certificate.CheckSignatureFrom(above) != nil {
		return ca{}, fmt.Errorf("a CA whose key or certificate is another's")
	}
	list, err := x509.ParseRevocationList(f.List)
	if err != nil || list.Number == nil || list.CheckSignatureFrom(certificate) != nil {
		return ca{}, fmt.Errorf("a list that its CA did not sign")
	}
	return ca{certificate, signer, list}, nil
}

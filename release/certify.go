package release

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// The document types of messages about certificates.
const (
	CertifyRequestType = "strongroom/certify-request/v1"
	CertificateType    = "strongroom/certificate/v1"
)

// CertificateUse is which authority of a party certifies a room's key.
type CertificateUse string

// The uses: the names of the work's ports, by the party's authority; or whose room it is, by
// the agreement's authority for its mesh.
const (
	ForNames CertificateUse = "names"
	ForMesh  CertificateUse = "mesh"
)

// CertifyRequest asks the broker of the party that certifies a work's rooms for a certificate.
// It is a document of type CertifyRequestType signed by the room's signing key.
type CertifyRequest struct {
	Version   string         `json:"version"`
	Broker    wire.ID        `json:"broker"`
	Agreement wire.Digest    `json:"agreement"`
	Run       wire.Digest    `json:"run"`
	RunID     string         `json:"run_id"`
	ReleaseID string         `json:"release_id"`
	Use       CertificateUse `json:"use"`
	// SPKI is the public key of the room's TLS key, DER.
	SPKI wire.Bytes `json:"spki"`
	// CSR is a request of the same key for the names (PKCS #10, DER), which an authority outside
	// needs. For names only; optional: a broker that asks no such authority needs none.
	CSR   wire.Bytes `json:"csr,omitempty"`
	Nonce wire.Hash  `json:"nonce"`
}

// Certified is the broker's answer, a document of type CertificateType signed by its release
// key. It is recorded before it leaves.
type Certified struct {
	Version string         `json:"version"`
	Broker  wire.ID        `json:"broker"`
	Run     wire.Digest    `json:"run"`
	Use     CertificateUse `json:"use"`
	Nonce   wire.Hash      `json:"nonce"`
	// Chain are certificates (DER), the room's first and the authority's last.
	Chain []wire.Bytes `json:"chain"`
}

func (r CertifyRequest) check() error {
	switch {
	case !r.Broker.Valid():
		return fmt.Errorf("broker %.70q", string(r.Broker))
	case r.Agreement.IsZero() || r.Run.IsZero() || r.Nonce.IsZero():
		return fmt.Errorf("agreement, run or nonce is zero")
	case r.Use != ForNames && r.Use != ForMesh:
		return fmt.Errorf("use %.70q", string(r.Use))
	case len(r.SPKI) == 0 || len(r.SPKI) > MaxSPKI:
		return fmt.Errorf("public key of %d bytes, expected 1 to %d", len(r.SPKI), MaxSPKI)
	case len(r.CSR) > MaxCSR:
		return fmt.Errorf("request of %d bytes for a certificate, expected at most %d", len(r.CSR), MaxCSR)
	case len(r.CSR) > 0 && r.Use != ForNames:
		return fmt.Errorf("request for a certificate of use %s", r.Use)
	}
	if err := hexID("run id", r.RunID); err != nil {
		return err
	}
	return hexID("release id", r.ReleaseID)
}

// NewCertifyRequest signs a room's request.
func NewCertifyRequest(room keys.Signer, r CertifyRequest) ([]byte, error) {
	r.Version = Version
	if err := r.check(); err != nil {
		return nil, malformed("request for a certificate", err)
	}
	return signed(room, CertifyRequestType, r, MaxSmall)
}

// SignedCertifyRequest is a request for a certificate and the document it came in.
type SignedCertifyRequest struct {
	CertifyRequest
	Document *keys.Document
}

// SignedBy checks that the room key recorded for the release signed the request.
func (r *SignedCertifyRequest) SignedBy(room keys.PublicKey) error { return signedBy(r.Document, room) }

// ParseCertifyRequest reads a request on the broker's side: form only. The broker finds the
// release it names and then MUST call [SignedCertifyRequest.SignedBy] with the key on record.
func ParseCertifyRequest(data []byte) (*SignedCertifyRequest, error) {
	s := new(SignedCertifyRequest)
	doc, err := formed(data, CertifyRequestType, "request for a certificate", MaxSmall, &s.CertifyRequest, &s.Version)
	if err != nil {
		return nil, err
	}
	s.Document = doc
	return s, nil
}

func (c Certified) check() error {
	if len(c.Chain) < 2 || len(c.Chain) > MaxChain {
		return fmt.Errorf("%d certificates, expected 2 to %d", len(c.Chain), MaxChain)
	}
	for _, der := range c.Chain {
		if len(der) == 0 || len(der) > MaxChainCertificate {
			return fmt.Errorf("certificate of %d bytes, expected 1 to %d", len(der), MaxChainCertificate)
		}
	}
	return nil
}

// NewCertified signs a broker's answer.
func NewCertified(releaseKey keys.Signer, asked CertifyRequest, chain []wire.Bytes) ([]byte, error) {
	c := Certified{Version: Version, Broker: asked.Broker, Run: asked.Run, Use: asked.Use, Nonce: asked.Nonce, Chain: chain}
	if err := c.check(); err != nil {
		return nil, malformed("certificate", err)
	}
	return signed(releaseKey, CertificateType, c, MaxSmall)
}

// VerifyCertified reads a broker's answer on the room's side: signed by the release key, to
// this very request, and a chain that leads from the key asked about to an authority.
// Whether the certificate says what the agreement does is the caller's to check.
func VerifyCertified(data []byte, releaseKey keys.PublicKey, asked CertifyRequest) (Certified, error) {
	var c Certified
	doc, err := formed(data, CertificateType, "certificate", MaxSmall, &c, &c.Version)
	if err != nil {
		return Certified{}, err
	}
	if err := signedBy(doc, releaseKey); err != nil {
		return Certified{}, err
	}
	if asked.Nonce.IsZero() || c.Broker != asked.Broker || c.Run != asked.Run || c.Use != asked.Use || c.Nonce != asked.Nonce {
		return Certified{}, verdict.NotGenuine("certify.answer", "the answer of "+string(asked.Broker)+" to this request", "an answer to another request", "ask again; somebody on the way exchanged answers")
	}
	if err := leads(c.Chain, asked.SPKI); err != nil {
		return Certified{}, verdict.NotGenuine("certify.chain", "a chain of certificates from this room's key to the authority", verdict.Short(err.Error()), "the broker does not follow the protocol: tell its owner")
	}
	return c, nil
}

func leads(chain []wire.Bytes, spki []byte) error {
	var list []*x509.Certificate
	for _, der := range chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		list = append(list, cert)
	}
	if !bytes.Equal(list[0].RawSubjectPublicKeyInfo, spki) {
		return fmt.Errorf("a certificate of another key")
	}
	if !slices.Contains(list[0].ExtKeyUsage, x509.ExtKeyUsageServerAuth) || list[0].IsCA {
		return fmt.Errorf("a certificate that is not for servers alone")
	}
	for i := range len(list) - 1 {
		if err := list[i].CheckSignatureFrom(list[i+1]); err != nil {
			return err
		}
	}
	return nil
}

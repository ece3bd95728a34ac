// Package endorse holds what vendors sign about their hardware (RFC 9334: Endorsements):
// certificates, revocation lists, Intel's TCB information, NVIDIA's RIMs, OCSP responses,
// Microsoft's statements about the firmware of container groups. It recognises them in the
// forms in which vendors and tools hand them out ([Parse]), keeps them in an immutable
// [Set] for platform verifiers, and packs them into signed, dated bundles that need no
// network ([Bundle], spec/endorsements.md).
//
// It checks form only. Nothing in a Set is trusted for being there, bar what nobody signs
// ([Kind.Pins]): bare public keys, devices' requests and container policies. Each platform's
// verifier checks signatures up to roots of its own, and dates. What is not recognised is left out,
// and whoever needed it says that it is missing.
package endorse

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"

	mldsax509 "filippo.io/mldsa/x509"
	"strongroom.dev/wire"
)

// Kind says what an endorsement is.
type Kind string

// The kinds. Data is DER for X.509, OCSP, requests and public keys; for all others the exact
// bytes as served, since signatures are over exactly those.
const (
	X509Certificate Kind = "x509-certificate"
	X509CRL         Kind = "x509-crl"
	OCSPResponse    Kind = "ocsp-response"
	// IntelTCBInfo is {"tcbInfo":{...},"signature":"..."} as Intel serves it.
	IntelTCBInfo Kind = "intel-tcb-info"
	// IntelQEIdentity is {"enclaveIdentity":{...},"signature":"..."}.
	IntelQEIdentity Kind = "intel-qe-identity"
	// IntelTCBEvaluation is {"tcbEvaluationDataNumbers":{...},"signature":"..."}.
	IntelTCBEvaluation Kind = "intel-tcb-evaluation"
	// NVIDIARIM is a SWID tag with an enveloped XML signature.
	NVIDIARIM Kind = "nvidia-rim"
	// COSESign1 is a signed CBOR document: UVM reference info, a signed CoRIM.
	COSESign1 Kind = "cose-sign1"
	// ContainerPolicy is the Rego text whose SHA-256 is in the HOST_DATA of a container group.
	// Nobody signs it, and the hash says only which one a machine was started with: that it is
	// here is the relying party's approval of it.
	ContainerPolicy Kind = "container-policy"
	// PublicKey is a SubjectPublicKeyInfo. Nobody signs it: whoever puts one into a set pins it,
	// and it proves nothing but that (a TPM's attestation key, say).
	PublicKey Kind = "public-key"
	// X509Request is a PKCS #10 request as a device makes it for its identity key, so that its
	// maker can certify it (DICE's IDevID). Like a bare public key, it is pinned by being here.
	X509Request Kind = "x509-request"
	// Unknown is what was not recognised. A [Set] never holds it.
	Unknown Kind = ""
)

// Kinds lists every kind that a Set may hold.
func Kinds() []Kind {
	return []Kind{X509Certificate, X509CRL, OCSPResponse, IntelTCBInfo, IntelQEIdentity, IntelTCBEvaluation, NVIDIARIM, COSESign1, ContainerPolicy, PublicKey, X509Request}
}

// Pins reports whether an endorsement of this kind is trusted for being given, since nobody
// signs it: only a relying party may give one, never an attester and never the network.
func (k Kind) Pins() bool { return k == PublicKey || k == X509Request || k == ContainerPolicy }

// Item is one endorsement.
type Item struct {
	Kind Kind `json:"kind"`
	// Name says where it came from, for people: a file's name, "#2" behind it for the second
	// item found there. It decides nothing.
	Name string     `json:"name"`
	Data wire.Bytes `json:"data"`
}

// Set is an immutable collection of endorsements. The zero Set is empty: verifiers then have
// only what the evidence carries. A Set may be used by several goroutines at once; what it
// gives out must not be changed.
type Set struct {
	items        map[Kind][]Item
	certificates []*x509.Certificate
	crls         []*x509.RevocationList
}

// NewSet makes a Set, leaving out repeated items. It refuses items of unknown kind, X.509
// that does not parse, and more than limits.go allows.
func NewSet(items ...Item) (Set, error) {
	s := Set{items: make(map[Kind][]Item)}
	if len(items) > MaxItems {
		return Set{}, fmt.Errorf("%d endorsements, at most %d", len(items), MaxItems)
	}
	seen := make(map[[sha256.Size]byte]bool, len(items))
	total := 0
	for _, it := range items {
		if err := it.check(); err != nil {
			return Set{}, err
		}
		if total += len(it.Data); total > MaxTotal {
			return Set{}, fmt.Errorf("endorsements of more than %d bytes", MaxTotal)
		}
		id := sha256.Sum256(append([]byte(it.Kind+"\x00"), it.Data...))
		if seen[id] {
			continue
		}
		seen[id] = true
		it.Data = slices.Clone(it.Data)
		if err := s.add(it); err != nil {
			return Set{}, fmt.Errorf("endorsement %.80q: %w", it.Name, err)
		}
	}
	return s, nil
}

func (it Item) check() error {
	switch {
	case !slices.Contains(Kinds(), it.Kind):
		return fmt.Errorf("endorsement %.80q is of unknown kind %.40q", it.Name, string(it.Kind))
	case len(it.Name) > MaxName:
		return fmt.Errorf("endorsement's name of %d bytes, at most %d", len(it.Name), MaxName)
	case len(it.Data) == 0 || len(it.Data) > MaxItem:
		return fmt.Errorf("endorsement %.80q of %d bytes, expected 1 to %d", it.Name, len(it.Data), MaxItem)
	}
	return nil
}

func (s *Set) add(it Item) error {
	switch it.Kind {
	case X509Certificate:
		c, err := x509.ParseCertificate(it.Data)
		if err != nil {
			return err
		}
		s.certificates = append(s.certificates, c)
	case X509CRL:
		l, err := x509.ParseRevocationList(it.Data)
		if err != nil {
			return err
		}
		s.crls = append(s.crls, l)
	case PublicKey:
		if _, err := mldsax509.ParsePKIXPublicKey(it.Data); err != nil {
			return err
		}
	case X509Request:
		if _, err := x509.ParseCertificateRequest(it.Data); err != nil {
			return err
		}
	}
	s.items[it.Kind] = append(s.items[it.Kind], it)
	return nil
}

// Of gives the items of one kind, in the order they were given in.
func (s Set) Of(kind Kind) []Item { return slices.Clone(s.items[kind]) }

// Data gives the bytes of the items of one kind, in the order they were given in.
func (s Set) Data(kind Kind) [][]byte {
	var all [][]byte
	for _, it := range s.items[kind] {
		all = append(all, it.Data)
	}
	return all
}

// Items gives all items, ordered by kind as [Kinds] lists them.
func (s Set) Items() []Item {
	var all []Item
	for _, k := range Kinds() {
		all = append(all, s.items[k]...)
	}
	return all
}

// Len gives the number of items.
func (s Set) Len() int {
	n := 0
	for _, items := range s.items {
		n += len(items)
	}
	return n
}

// Certificates gives the certificates, parsed.
func (s Set) Certificates() []*x509.Certificate { return slices.Clone(s.certificates) }

// CRLs gives the revocation lists, parsed.
func (s Set) CRLs() []*x509.RevocationList { return slices.Clone(s.crls) }

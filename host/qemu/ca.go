package qemu

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// CA is this host's own authority for software TPMs: whoever holds its directory can forge
// such a TPM, so it proves how a machine started to whoever trusts this host, and nothing
// more. Agreements pin its root. Use [OpenCA] or [NewCA].
type CA struct {
	dir string
	// chain is the issuer's certificate and the root's, DER.
	chain [][]byte
	root  wire.Hash
}

// maxCertificate bounds a certificate's file: a TPM's memory holds 2,048 bytes in an index.
const maxCertificate = 8 << 10

// OpenCA opens the CA in a directory. The error is fs.ErrNotExist where there is none.
func OpenCA(dir string) (*CA, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	c := &CA{dir: dir}
	for _, name := range []string{signKey, issuerCert, rootCert} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			if errors.Is(err, fs.ErrNotExist) && name == signKey {
				return nil, fs.ErrNotExist
			}
			return nil, badCA(dir, err.Error())
		}
	}
	var certificates []*x509.Certificate
	for _, name := range []string{issuerCert, rootCert} {
		cert, err := readCertificate(filepath.Join(dir, name))
		if err != nil {
			return nil, badCA(dir, name+": "+err.Error())
		}
		certificates = append(certificates, cert)
		c.chain = append(c.chain, cert.Raw)
	}
	if err := certificates[0].CheckSignatureFrom(certificates[1]); err != nil {
		return nil, badCA(dir, "an issuer that its root did not sign: "+err.Error())
	}
	c.root = sha256.Sum256(certificates[1].RawSubjectPublicKeyInfo)
	return c, nil
}

// Root gives the fingerprint of the root, as agreements pin it: the SHA-256 of its
// SubjectPublicKeyInfo (spec/tpm.md, section 2).
func (c *CA) Root() wire.Hash { return c.root }

// Certificates gives the issuer's certificate and the root's, DER.
func (c *CA) Certificates() [][]byte { return c.chain }

func readCertificate(path string) (*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || len(data) > maxCertificate {
		return nil, errors.New("it is no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

func badCA(dir, got string) error {
	return verdict.Misuse("vm.tpm_ca", "the authority for software TPMs in "+dir, verdict.Short(got), "move that directory away and let strongroom host root --platform tpm make a new one: agreements then pin its new root")
}

package ear

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
)

// Transport is a token encrypted to a key in an attester's TPM, as Microsoft Azure Attestation
// hands it to guests: an AES-256 key of its own under RSAES-PKCS1-v1_5, and the token under
// AES-GCM with that.
type Transport struct {
	Token     []byte          `json:"Jwt"`
	Key       []byte          `json:"EncryptedInnerKey"`
	Params    TransportParams `json:"EncryptionParams"`
	Authentic []byte          `json:"AuthenticationData"`
}

// TransportParams hold the nonce of AES-GCM, 12 bytes.
type TransportParams struct {
	IV []byte `json:"Iv"`
}

// transportData is what is authenticated besides.
const transportData = "Transport Key"

// NewTransport encrypts a token and gives the JSON document. The caller has checked that only the
// attester's TPM can decrypt with the key.
func NewTransport(token string, to *rsa.PublicKey) ([]byte, error) {
	if n := to.N.BitLen(); n < leastRSA || n > maxRSA {
		return nil, unbound(fmt.Sprintf("an RSA key of %d bits", n))
	}
	key := make([]byte, 32)
	t := Transport{Params: TransportParams{make([]byte, 12)}}
	rand.Read(key) // never fails: crypto/rand ends the program rather than return weak bytes
	rand.Read(t.Params.IV)
	aead, err := transportCipher(key)
	if err != nil {
		return nil, err
	}
	sealed := aead.Seal(nil, t.Params.IV, []byte(token), []byte(transportData))
	at := len(sealed) - aead.Overhead()
	t.Token, t.Authentic = sealed[:at], sealed[at:]
	// Guests' TPMs decrypt nothing else (TPM_ALG_RSAES); it is encryption only, nobody answers errors.
	//lint:ignore SA1019 the protocol is fixed
	if t.Key, err = rsa.EncryptPKCS1v15(rand.Reader, to, key); err != nil {
		return nil, err
	}
	return json.Marshal(t)
}

func transportCipher(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Open gives the token, with the key that the attester's TPM decrypted.
func (t Transport) Open(key []byte) (string, error) {
	aead, err := transportCipher(key)
	if err != nil || len(t.Params.IV) != aead.NonceSize() {
		return "", fmt.Errorf("ear: no key or nonce of the right length")
	}
	token, err := aead.Open(nil, t.Params.IV, append(append([]byte{}, t.Token...), t.Authentic...), []byte(transportData))
	return string(token), err
}

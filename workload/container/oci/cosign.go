package oci

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Cosign's words (cosign, specs/SIGNATURE_SPEC.md).
const (
	typeSimpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureOf       = "dev.cosignproject.cosign/signature"
	certificateOf     = "dev.sigstore.cosign/certificate" // of signatures without a key
	simpleSigning     = "cosign container image signature"
	maxSignatures     = 64
	maxPayload        = 64 << 10
)

// verifyCosign looks for a signature by the key over the image: over what its name stands
// for, which may be an index, or over the platform's own manifest. Signatures by certificates
// (keyless) are not looked at.
func verifyCosign(ctx context.Context, s store, key []byte, digests ...wire.Hash) error {
	verify, err := cosignKey(key)
	if err != nil {
		return err
	}
	found, keyless := 0, 0
	for _, digest := range slices.Compact(digests) {
		signatures, err := s.tagged(ctx, strings.ReplaceAll(digest.String(), ":", "-")+".sig")
		if err != nil {
			if check := verdict.As(err).Check; check != "image.parts" && check != "image.name" {
				return err
			}
			continue // none under this digest; the last line says so
		}
		var m manifest
		if err := json.Unmarshal(signatures, &m); err != nil || len(m.Layers) > maxSignatures {
			return notSigned("a list of signatures that can't be read", "sign the image again with a current cosign")
		}
		for _, d := range m.Layers {
			found++
			if good(ctx, s, d, digest, verify) {
				return nil
			}
			if d.Annotations[certificateOf] != "" {
				keyless++
			}
		}
	}
	got := fmt.Sprintf("%d signatures, none of them by the key over this image", found)
	switch {
	case found == 0:
		got = "none under the tag sha256-HEX.sig"
	case found == keyless:
		return notSigned("keyless signatures only, by certificates", "ask who makes the image to sign it with a key too: cosign sign --key")
	}
	return notSigned(got, "ask who makes the image for its key; cosign 3 needs --new-bundle-format=false, so that the signature lies under its tag")
}

func notSigned(got, fix string) error {
	return verdict.NotGenuine("image.signature", "a cosign signature by the key that was given", got, fix)
}

// good tells whether a signature is by the key and over the image.
func good(ctx context.Context, s store, d descriptor, image wire.Hash, verify func(message, signature []byte) bool) bool {
	signature, err := base64.StdEncoding.DecodeString(d.Annotations[signatureOf])
	if err != nil || d.MediaType != typeSimpleSigning {
		return false
	}
	payload, err := (&Image{store: s}).checked(ctx, d, maxPayload)
	if err != nil || !verify(payload, signature) {
		return false
	}
	var p struct {
		Critical struct {
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
			Type string `json:"type"`
		} `json:"critical"`
	}
	return json.Unmarshal(payload, &p) == nil && p.Critical.Type == simpleSigning && p.Critical.Image.Digest == image.String()
}

// cosignKey gives what checks signatures by a public key (PEM) of P-256 or Ed25519.
func cosignKey(text []byte) (func(message, signature []byte) bool, error) {
	block, rest := pem.Decode(text)
	if block != nil && block.Type == "PUBLIC KEY" && len(strings.TrimSpace(string(rest))) == 0 {
		if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			if verify := verifier(key); verify != nil {
				return verify, nil
			}
		}
	}
	return nil, verdict.Misuse("--cosign-key", "one public key (PEM, P-256 or Ed25519), as cosign generate-key-pair writes it", "another file", "name cosign.pub")
}

// verifier gives what checks signatures by a key; nil: by none of its kind.
func verifier(key any) func(message, signature []byte) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return func(message, signature []byte) bool {
				sum := sha256.Sum256(message)
				return ecdsa.VerifyASN1(k, sum[:], signature)
			}
		}
	case ed25519.PublicKey:
		return func(message, signature []byte) bool { return ed25519.Verify(k, message, signature) }
	}
	return nil
}

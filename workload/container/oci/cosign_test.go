package oci_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"

	"strongroom.dev/verdict"
	"strongroom.dev/workload/container/oci"
)

const simpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"

// signature is one of cosign's, as `cosign sign --key` writes it (specs/SIGNATURE_SPEC.md).
type signature struct {
	key         crypto.Signer
	digest      string
	kind        string // of what the payload says that it is
	mediaType   string
	certificate string
	alter       bool // the payload, after it was signed
}

// sign puts signatures beside an image.
func (h *hub) sign(name, image string, list ...signature) {
	h.Helper()
	var layers []any
	for _, s := range list {
		payload, err := json.Marshal(map[string]any{"critical": map[string]any{
			"identity": map[string]any{"docker-reference": h.host + "/" + name},
			"image":    map[string]any{"docker-manifest-digest": s.digest}, "type": s.kind}, "optional": nil})
		if err != nil {
			h.Fatal(err)
		}
		signed := payload
		var opts crypto.SignerOpts = crypto.Hash(0)
		if _, ok := s.key.(*ecdsa.PrivateKey); ok {
			sum := sha256.Sum256(payload)
			signed, opts = sum[:], crypto.SHA256
		}
		sig, err := s.key.Sign(rand.Reader, signed, opts)
		if err != nil {
			h.Fatal(err)
		}
		if s.alter {
			payload = []byte(strings.Replace(string(payload), "null", "true", 1))
		}
		annotations := map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig)}
		if s.certificate != "" {
			annotations["dev.sigstore.cosign/certificate"] = s.certificate
		}
		layers = append(layers, map[string]any{"mediaType": s.mediaType, "digest": h.blob(name, payload), "size": len(payload), "annotations": annotations})
	}
	config := []byte(`{"architecture":"","os":"","config":{},"rootfs":{"type":"layers","diff_ids":[]}}`)
	data, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": manifestType, "layers": layers,
		"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": h.blob(name, config), "size": len(config)}})
	if err != nil {
		h.Fatal(err)
	}
	h.put(http.MethodPut, "/v2/"+name+"/manifests/"+strings.Replace(image, ":", "-", 1)+".sig", manifestType, data)
}

func publicPEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestCosign: a signature counts by its key and over the image's digest, and by nothing else.
func TestCosign(t *testing.T) {
	key, other := newKey(t), newKey(t)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const kind = "cosign container image signature"
	layout := shop(t).write(t)
	zero := "sha256:" + strings.Repeat("0", 64)
	for name, test := range map[string]struct {
		list  func(digest string) []signature
		key   []byte // key's, if nil
		check string
		says  string
	}{
		"good": {list: func(d string) []signature { return []signature{{key, d, kind, simpleSigning, "", false}} }},
		"good, after another's": {list: func(d string) []signature {
			return []signature{{other, d, kind, simpleSigning, "", false}, {key, d, kind, simpleSigning, "", false}}
		}},
		"good, by Ed25519": {list: func(d string) []signature { return []signature{{edwards, d, kind, simpleSigning, "", false}} }, key: publicPEM(t, edwards)},
		"by another key": {list: func(d string) []signature { return []signature{{other, d, kind, simpleSigning, "", false}} },
			check: "image.signature", says: "1 signatures, none of them by the key"},
		"over another image": {list: func(string) []signature { return []signature{{key, zero, kind, simpleSigning, "", false}} },
			check: "image.signature", says: "none of them"},
		"of another kind": {list: func(d string) []signature { return []signature{{key, d, "atomic", simpleSigning, "", false}} },
			check: "image.signature", says: "none of them"},
		"of another media type": {list: func(d string) []signature { return []signature{{key, d, kind, "text/plain", "", false}} },
			check: "image.signature", says: "none of them"},
		"altered": {list: func(d string) []signature { return []signature{{key, d, kind, simpleSigning, "", true}} },
			check: "image.signature", says: "none of them"},
		"keyless": {list: func(d string) []signature { return []signature{{other, d, kind, simpleSigning, "-----BEGIN", false}} },
			check: "image.signature", says: "cosign sign --key"},
		"none at all":              {check: "image.signature", says: "none under the tag"},
		"no public key":            {list: func(d string) []signature { return nil }, key: []byte("x"), check: "--cosign-key"},
		"a point beside the curve": {key: beside(t, key), check: "--cosign-key"},
		"a P-384 key":              {list: func(d string) []signature { return nil }, key: p384(t), check: "--cosign-key"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			digest := h.push("shop/web", "1.4", layout)
			if test.list != nil {
				h.sign("shop/web", digest, test.list(digest)...)
			}
			src := h.source("shop/web:1.4", t.TempDir())
			if src.CosignKey = test.key; src.CosignKey == nil {
				src.CosignKey = publicPEM(t, key)
			}
			img, err := oci.Open(t.Context(), src)
			if test.check == "" {
				if err != nil || !img.Signed {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil || verdict.As(err).Check != test.check || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, expected %s with %q", err, test.check, test.says)
			}
		})
	}
}

func p384(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return publicPEM(t, key)
}

// TestCosignUnreachable: signatures that can't be looked at are no missing signatures.
func TestCosignUnreachable(t *testing.T) {
	h := newHub(t)
	digest := h.push("shop/web", "1.4", shop(t).write(t))
	h.change = func(ask string, resp *http.Response) {
		if strings.Contains(ask, strings.TrimPrefix(digest, "sha256:")+".sig") {
			resp.StatusCode = http.StatusForbidden
		}
	}
	src := h.source("shop/web:1.4", t.TempDir())
	src.CosignKey = publicPEM(t, newKey(t))
	if _, err := oci.Open(t.Context(), src); err == nil || verdict.As(err).Check != "registry" {
		t.Errorf("got %v", err)
	}
}

// beside gives a key whose point is on no curve.
func beside(t *testing.T, key crypto.Signer) []byte {
	block, _ := pem.Decode(publicPEM(t, key))
	block.Bytes[len(block.Bytes)-1] ^= 1
	return pem.EncodeToMemory(block)
}

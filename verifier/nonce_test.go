package verifier_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"strongroom.dev/attest"
	"strongroom.dev/ear"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// nonceVector is one case of spec/vectors/attestation: what evidence binds for a relying party's
// own nonce.
type nonceVector struct {
	What  string              `json:"what"`
	Nonce wire.Bytes          `json:"nonce"`
	Key   json.RawMessage     `json:"key,omitempty"`
	HPKE  *keys.HPKEPublicKey `json:"hpke,omitempty"`
	// Bound is N, and the others the report data where there is room for 64 bytes, and for 32.
	Bound wire.Bytes `json:"bound"`
	Long  wire.Bytes `json:"report_data"`
	Short wire.Bytes `json:"short_report_data"`
	// Expect is what comes of evidence with the 64 bytes: pass, or the check that refuses it.
	Expect string `json:"expect"`
}

const nonceVectors = "../spec/vectors/attestation"

var update = flag.Bool("update", false, "write the vectors anew, with a new HPKE key")

// TestNonceVectors makes what is bound out of spec/attestation.md, section 3, and has the service
// judge evidence that binds it.
func TestNonceVectors(t *testing.T) {
	if *update {
		writeNonceVectors(t)
	}
	files, err := filepath.Glob(nonceVectors + "/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no vectors", err)
	}
	w := newWorld(t, nil)
	w.inForce(rooms)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var v nonceVector
			if err := json.Unmarshal(must(os.ReadFile(file)), &v); err != nil {
				t.Fatal(err)
			}
			if v.Expect == "pass" {
				checkBound(t, v)
			}
			for _, data := range [][]byte{v.Long, v.Short} {
				e := tale{Told: "snp", ReportData: data, InitData: bytes.Repeat([]byte{7}, 32)}
				r := verifier.Request{Evidence: e.bytes(), Nonce: v.Nonce, Key: v.Key, HPKE: v.HPKE, Policy: "rooms"}
				answer, err := w.Attest(context.Background(), r)
				if err == nil {
					err = answer.Result.Err()
				}
				if (v.Expect == "pass") != (err == nil) || err != nil && verdict.As(err).Check != v.Expect {
					t.Errorf("%d bytes: %v, expected %s", len(data), err, v.Expect)
				}
			}
		})
	}
}

// checkBound works the formulas out with nothing but tuples and hashes.
func checkBound(t *testing.T, v nonceVector) {
	t.Helper()
	n := sha256.Sum256(wire.Tuple("strongroom/nonce/v1", v.Nonce))
	long, short := append(n[:], make([]byte, 32)...), n
	if v.Key != nil {
		hpke := ""
		if v.HPKE != nil {
			hpke = v.HPKE.String()
		}
		print := must(ear.ConfirmJWK(v.Key)).Thumbprint()
		all := sha512.Sum512(wire.Tuple("strongroom/token-report-data/v1", n[:], print[:], []byte(hpke)))
		long, short = all[:], sha256.Sum256(wire.Tuple("strongroom/short-report-data/v1", all[:]))
	}
	if !bytes.Equal(n[:], v.Bound) || !bytes.Equal(long, v.Long) || !bytes.Equal(short[:], v.Short) {
		t.Errorf("bound %x, report data %x, short %x", n, long, short)
	}
}

// writeNonceVectors writes them anew.
func writeNonceVectors(t *testing.T) {
	t.Helper()
	nonce := make([]byte, 32)
	for i := range nonce {
		nonce[i] = byte(i)
	}
	n := attest.NonceOf(nonce)
	padded := append(n[:], make([]byte, 32)...)
	for name, v := range map[string]nonceVector{
		"nonce-alone":     {What: "the nonce alone", Long: padded, Short: n[:], Expect: "pass"},
		"nonce-itself":    {What: "the nonce's own bytes, not hashed", Long: append(bytes.Clone(nonce), make([]byte, 32)...), Short: nonce, Expect: "freshness"},
		"nonce-key":       boundTo(nonce, nil),
		"nonce-key-hpke":  boundTo(nonce, must(keys.GenerateHPKEKey())),
		"nonce-key-alone": {What: "the nonce alone, where a key is named", Key: json.RawMessage(theirJWK), Long: padded, Short: n[:], Expect: "freshness"},
	} {
		v.Nonce, v.Bound = nonce, n[:]
		data := must(json.MarshalIndent(v, "", "  "))
		if err := os.WriteFile(filepath.Join(nonceVectors, name+".json"), append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func boundTo(nonce []byte, hpke *keys.HPKEPrivateKey) nonceVector {
	v := nonceVector{What: "the nonce and a key", Key: json.RawMessage(theirJWK), Expect: "pass"}
	b := ear.Binding{Nonce: attest.NonceOf(nonce), Key: must(ear.ConfirmJWK(v.Key))}
	if hpke != nil {
		b.HPKE = hpke.Public()
		v.What, v.HPKE = "the nonce, a key, and what bearer tokens are sealed to", &b.HPKE
	}
	long, short := must(b.ReportData()), must(b.ShortReportData())
	v.Long, v.Short = long[:], short[:]
	return v
}

package tpm_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	peer "github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"

	"strongroom.dev/attest/tpm"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
)

// emulator is a running software TPM with an endorsement key certified by an authority of
// the test's own.
type emulator struct {
	transport.TPM
	root []byte // the authority's certificate, DER
	ek   []byte // the endorsement key's certificate as it is in the TPM
}

func startEmulator(t *testing.T) emulator {
	t.Helper()
	for _, tool := range []string{"swtpm", "swtpm_setup", "swtpm_localca", "swtpm_cert"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("no software TPM, which scripts/setup test installs: %v", err)
			}
			t.Skipf("a software TPM is needed (apt-get install swtpm swtpm-tools): %v", err)
		}
	}
	dir := t.TempDir()
	root := authority(t, "Test software TPM root", nil, rsaSigner(0))
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := x509.MarshalPKCS8PrivateKey(root.key)
	if err != nil {
		t.Fatal(err)
	}
	keyPath := write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	certPath := write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.cert.Raw}))
	ca := write("ca.conf", fmt.Appendf(nil, "statedir = %s\nsigningkey = %s\nissuercert = %s\ncertserial = %s\n", dir, keyPath, certPath, filepath.Join(dir, "serial")))
	options := write("options", nil)
	setup := write("setup.conf", fmt.Appendf(nil, "create_certs_tool = swtpm_localca\ncreate_certs_tool_config = %s\ncreate_certs_tool_options = %s\n", ca, options))
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	localca, err := exec.LookPath("swtpm_localca")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(setup, bytes.ReplaceAll(mustRead(t, setup), []byte("= swtpm_localca"), []byte("= "+localca)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("swtpm_setup", "--tpm2", "--tpmstate", state, "--create-ek-cert", "--pcr-banks", "sha1,sha256,sha384", "--config", setup).CombinedOutput(); err != nil {
		t.Fatalf("swtpm_setup: %v\n%s", err, out)
	}
	socket := filepath.Join(dir, "s")
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+state, "--server", "type=unixio,path="+socket, "--flags", "not-need-init,startup-clear")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	e := emulator{root: root.cert.Raw}
	for range 100 {
		dev, err := linuxudstpm.Open(socket)
		if err == nil {
			t.Cleanup(func() { _ = dev.Close() })
			e.TPM = dev
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if e.TPM == nil {
		t.Fatal("swtpm does not answer")
	}
	e.ek = e.nv(t, 0x01c00002) // the EK certificate for RSA of 2,048 bits (TCG EK credential profile 2.5, section 2.2.1.4)
	return e
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (e emulator) nv(t *testing.T, index peer.TPMHandle) []byte {
	t.Helper()
	public, err := peer.NVReadPublic{NVIndex: index}.Execute(e)
	if err != nil {
		t.Fatal(err)
	}
	contents, err := public.NVPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}
	var data []byte
	for len(data) < int(contents.DataSize) {
		r, err := peer.NVRead{AuthHandle: peer.AuthHandle{Handle: peer.TPMRHOwner, Auth: peer.PasswordAuth(nil)}, NVIndex: peer.NamedHandle{Handle: index, Name: public.NVName},
			Size: uint16(min(int(contents.DataSize)-len(data), 512)), Offset: uint16(len(data))}.Execute(e)
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, r.Data.Buffer...)
	}
	return data
}

// create makes a primary key in the endorsement hierarchy. The emulator has room for three.
func (e emulator) create(t *testing.T, template peer.TPMTPublic) *peer.CreatePrimaryResponse {
	t.Helper()
	r, err := peer.CreatePrimary{PrimaryHandle: peer.TPMRHEndorsement, InPublic: peer.New2B(template)}.Execute(e)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (e emulator) flush(t *testing.T, key *peer.CreatePrimaryResponse) {
	t.Helper()
	if _, err := (peer.FlushContext{FlushHandle: key.ObjectHandle}).Execute(e); err != nil {
		t.Fatal(err)
	}
}

// activate answers a challenge with an endorsement key and an attestation key.
func (e emulator) activate(ek, ak *peer.CreatePrimaryResponse, c *tpm.Challenge) ([]byte, error) {
	return e.activateWith(ek, ak, c, peer.Policy(peer.TPMAlgSHA256, 16, func(tpm transport.TPM, handle peer.TPMISHPolicy, nonce peer.TPM2BNonce) error {
		_, err := peer.PolicySecret{AuthHandle: peer.AuthHandle{Handle: peer.TPMRHEndorsement, Auth: peer.PasswordAuth(nil)}, PolicySession: handle, NonceTPM: nonce}.Execute(tpm)
		return err
	}))
}

func (e emulator) activateWith(ek, ak *peer.CreatePrimaryResponse, c *tpm.Challenge, session peer.Session) ([]byte, error) {
	blob, err := peer.Unmarshal[peer.TPM2BIDObject](c.Credential)
	if err != nil {
		return nil, err
	}
	secret, err := peer.Unmarshal[peer.TPM2BEncryptedSecret](c.Secret)
	if err != nil {
		return nil, err
	}
	r, err := peer.ActivateCredential{
		ActivateHandle: peer.AuthHandle{Handle: ak.ObjectHandle, Name: ak.Name, Auth: peer.PasswordAuth(nil)},
		KeyHandle:      peer.AuthHandle{Handle: ek.ObjectHandle, Name: ek.Name, Auth: session},
		CredentialBlob: *blob, Secret: *secret,
	}.Execute(e)
	if err != nil {
		return nil, err
	}
	return r.CertInfo.Buffer, nil
}

// quote quotes all PCRs of a bank.
func (e emulator) quote(t *testing.T, ak *peer.CreatePrimaryResponse, alg measure.Algorithm, nonce []byte) tpm2.Quote {
	t.Helper()
	all := peer.TPMLPCRSelection{PCRSelections: []peer.TPMSPCRSelection{{Hash: peer.TPMAlgID(alg), PCRSelect: []byte{255, 255, 255}}}}
	r, err := peer.Quote{SignHandle: peer.AuthHandle{Handle: ak.ObjectHandle, Name: ak.Name, Auth: peer.PasswordAuth(nil)}, QualifyingData: peer.TPM2BData{Buffer: nonce},
		InScheme: peer.TPMTSigScheme{Scheme: peer.TPMAlgNull}, PCRSelect: all}.Execute(e)
	if err != nil {
		t.Fatal(err)
	}
	q := tpm2.Quote{Message: r.Quoted.Bytes(), Signature: peer.Marshal(r.Signature), Banks: []tpm2.Bank{{Bank: alg, Values: map[int][]byte{}}}}
	for i := range measure.NumPCRs {
		one := [3]byte{}
		one[i/8] = 1 << (i % 8)
		v, err := peer.PCRRead{PCRSelectionIn: peer.TPMLPCRSelection{PCRSelections: []peer.TPMSPCRSelection{{Hash: peer.TPMAlgID(alg), PCRSelect: one[:]}}}}.Execute(e)
		if err != nil {
			t.Fatal(err)
		}
		q.Banks[0].Values[i] = v.PCRValues.Digests[0].Buffer
	}
	return q
}

func (e emulator) extend(t *testing.T, pcr int, alg measure.Algorithm, digest []byte) {
	t.Helper()
	_, err := peer.PCRExtend{PCRHandle: peer.AuthHandle{Handle: peer.TPMHandle(pcr), Auth: peer.PasswordAuth(nil)}, Digests: peer.TPMLDigestValues{Digests: []peer.TPMTHA{{HashAlg: peer.TPMAlgID(alg), Digest: digest}}}}.Execute(e)
	if err != nil {
		t.Fatal(err)
	}
}

// akTemplates are attestation keys of both kinds.
func akTemplates() map[string]peer.TPMTPublic {
	attributes := peer.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, Restricted: true, SignEncrypt: true}
	rsa := func(scheme peer.TPMAlgID, details peer.TPMUAsymScheme) peer.TPMTPublic {
		return peer.TPMTPublic{Type: peer.TPMAlgRSA, NameAlg: peer.TPMAlgSHA256, ObjectAttributes: attributes, Parameters: peer.NewTPMUPublicParms(peer.TPMAlgRSA, &peer.TPMSRSAParms{
			Scheme: peer.TPMTRSAScheme{Scheme: scheme, Details: details}, KeyBits: 2048})}
	}
	return map[string]peer.TPMTPublic{
		"RSASSA": rsa(peer.TPMAlgRSASSA, peer.NewTPMUAsymScheme(peer.TPMAlgRSASSA, &peer.TPMSSigSchemeRSASSA{HashAlg: peer.TPMAlgSHA256})),
		"RSAPSS": rsa(peer.TPMAlgRSAPSS, peer.NewTPMUAsymScheme(peer.TPMAlgRSAPSS, &peer.TPMSSigSchemeRSAPSS{HashAlg: peer.TPMAlgSHA256})),
		"ECDSA": {Type: peer.TPMAlgECC, NameAlg: peer.TPMAlgSHA256, ObjectAttributes: attributes, Parameters: peer.NewTPMUPublicParms(peer.TPMAlgECC, &peer.TPMSECCParms{
			Scheme: peer.TPMTECCScheme{Scheme: peer.TPMAlgECDSA, Details: peer.NewTPMUAsymScheme(peer.TPMAlgECDSA, &peer.TPMSSigSchemeECDSA{HashAlg: peer.TPMAlgSHA256})}, CurveID: peer.TPMECCNistP256})},
	}
}

// TestSoftwareTPM takes a software TPM through all of it: its endorsement key's certificate,
// activation of attestation keys, quotes. It verifies, and is named as what it is.
func TestSoftwareTPM(t *testing.T) {
	e := startEmulator(t)
	ek := e.create(t, peer.RSAEKTemplate)
	activator := signer(t, 1)
	now := time.Now() // swtpm_localca issues for the present
	initData := measure.SHA256.Sum([]byte("agreement"))
	e.extend(t, tpm2.InitDataPCR, measure.SHA256, initData)
	v := tpm.NewWithActivators(endorsements(t, e.root), activator.Public())
	nonce := bytes.Repeat([]byte{7}, 32)
	var record []byte
	for name, template := range akTemplates() {
		ak := e.create(t, template)
		public, err := tpm2.ParsePublic(ak.OutPublic.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		c, err := tpm.NewChallenge(e.ek, nil, public, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := e.activate(ek, ak, c)
		if err != nil {
			t.Fatalf("%s: the TPM can't answer: %v", name, err)
		}
		if record, err = c.Answered(answer, activator, now, now.Add(24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		evidence, err := tpm.Evidence{AKPublic: ak.OutPublic.Bytes(), Activation: record, InitData: initData, Quotes: []tpm2.Document{
			e.quote(t, ak, measure.SHA256, nonce).Document(), e.quote(t, ak, measure.SHA1, nonce).Document()}}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		f, err := v.Examine(evidence, now.Add(time.Hour))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if evidencetest.Failed(f) != "" || f.Facts.Class != "software" || f.Claims["software_tpm"] != "swtpm" || len(f.Warnings) == 0 || !bytes.Equal(f.Facts.ReportData, nonce) || !bytes.Equal(f.Facts.InitData, initData) ||
			f.Facts.Measurements["pcr8"] != "" || f.Facts.Machine == "" || f.Facts.Excludes != nil {
			t.Errorf("%s: failed %q, %+v", name, evidencetest.Failed(f), f.Facts)
		}
		for _, check := range f.Checks {
			t.Logf("%s: %v %s: %s", name, check.OK, check.ID, check.Got)
		}
		if f, err := tpm.NewWithActivators(endorsements(t), activator.Public()).Examine(evidence, now); err != nil || evidencetest.Failed(f) != "tpm.collateral" || f.Facts.Class != "software" {
			t.Errorf("%s without its root: %v %s", name, err, evidencetest.Failed(f))
		}
		e.flush(t, ak)
		if f.Claims["tpm_model"] != "swtpm" {
			t.Errorf("%s: model %v", name, f.Claims["tpm_model"])
		}
	}
}

// endorsementTemplates are storage keys of every size that the TCG has templates of for
// endorsement keys, usable with a password to spare the test their policies.
func endorsementTemplates() map[string]peer.TPMTPublic {
	attributes := peer.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, Restricted: true, Decrypt: true}
	aes := func(bits peer.TPMKeyBits) peer.TPMTSymDefObject {
		return peer.TPMTSymDefObject{Algorithm: peer.TPMAlgAES, KeyBits: peer.NewTPMUSymKeyBits(peer.TPMAlgAES, bits), Mode: peer.NewTPMUSymMode(peer.TPMAlgAES, peer.TPMAlgCFB)}
	}
	ec := func(alg peer.TPMAlgID, bits peer.TPMKeyBits, curve peer.TPMECCCurve) peer.TPMTPublic {
		return peer.TPMTPublic{Type: peer.TPMAlgECC, NameAlg: alg, ObjectAttributes: attributes, Parameters: peer.NewTPMUPublicParms(peer.TPMAlgECC, &peer.TPMSECCParms{Symmetric: aes(bits), CurveID: curve})}
	}
	rsa := func(alg peer.TPMAlgID, bits, keyBits peer.TPMKeyBits) peer.TPMTPublic {
		return peer.TPMTPublic{Type: peer.TPMAlgRSA, NameAlg: alg, ObjectAttributes: attributes, Parameters: peer.NewTPMUPublicParms(peer.TPMAlgRSA, &peer.TPMSRSAParms{Symmetric: aes(bits), KeyBits: keyBits})}
	}
	return map[string]peer.TPMTPublic{
		"P-256": ec(peer.TPMAlgSHA256, 128, peer.TPMECCNistP256), "P-384": ec(peer.TPMAlgSHA384, 256, peer.TPMECCNistP384), "P-521": ec(peer.TPMAlgSHA512, 256, peer.TPMECCNistP521),
		"RSA-2048": rsa(peer.TPMAlgSHA256, 128, 2048), "RSA-3072": rsa(peer.TPMAlgSHA384, 256, 3072),
	}
}

// TestActivationOfEveryKind has the emulator answer challenges to endorsement keys of every
// kind, as far as it has them.
func TestActivationOfEveryKind(t *testing.T) {
	e := startEmulator(t)
	ca := authority(t, "root", nil, rsaSigner(1))
	answered := 0
	for name, template := range endorsementTemplates() {
		ek, err := peer.CreatePrimary{PrimaryHandle: peer.TPMRHEndorsement, InPublic: peer.New2B(template)}.Execute(e)
		if err != nil {
			t.Logf("%s: the emulator has no such keys: %v", name, err)
			continue
		}
		ak := e.create(t, akTemplates()["ECDSA"])
		certificate := issueFor(t, ca, public(t, ek.OutPublic.Bytes()).Key)
		c, err := tpm.NewChallenge(certificate, nil, public(t, ak.OutPublic.Bytes()), rand.Reader)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		answer, err := e.activateWith(ek, ak, c, peer.PasswordAuth(nil))
		if err != nil {
			t.Fatalf("%s: the TPM can't answer: %v", name, err)
		}
		if _, err := c.Answered(answer, signer(t, 1), noon, noon.Add(time.Hour)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		answered++
		e.flush(t, ek)
		e.flush(t, ak)
	}
	if answered < 3 {
		t.Errorf("%d kinds of keys answered", answered)
	}
}

// TestChallengeRefused challenges no TPM to vouch for a key that is no attestation key.
func TestChallengeRefused(t *testing.T) {
	ek := leaf(t, authority(t, "root", nil, rsaSigner(1)), rsaSigner(5), purposeEK).cert.Raw
	good := public(t, publicArea(rsaSigner(3)))
	free := public(t, publicArea(rsaSigner(3), func(a *peer.TPMAObject) { a.Restricted = false }))
	for name, try := range map[string]func() (*tpm.Challenge, error){
		"a key that signs anything": func() (*tpm.Challenge, error) { return tpm.NewChallenge(ek, nil, free, rand.Reader) },
		"no certificate":            func() (*tpm.Challenge, error) { return tpm.NewChallenge(nil, nil, good, rand.Reader) },
		"a broken certificate":      func() (*tpm.Challenge, error) { return tpm.NewChallenge(ek, [][]byte{{0x30}}, good, rand.Reader) },
		"no randomness":             func() (*tpm.Challenge, error) { return tpm.NewChallenge(ek, nil, good, bytes.NewReader(nil)) },
	} {
		if _, err := try(); err == nil {
			t.Errorf("%s: challenged", name)
		}
	}
	source := &recorder{}
	c, err := tpm.NewChallenge(ek, nil, good, source)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Answered(source.first, signer(t, 1), noon, noon.Add(2*tpm.MaxActivationLife)); err == nil {
		t.Error("a record for too long")
	}
	if _, err := c.Answered(source.first, signer(t, 1), noon, noon); err == nil {
		t.Error("a record for no time")
	}
}

// TestActivationOfAnotherKey lets no TPM answer for a key that does not live in it.
func TestActivationOfAnotherKey(t *testing.T) {
	e := startEmulator(t)
	ek := e.create(t, peer.RSAEKTemplate)
	mine, theirs := e.create(t, akTemplates()["RSASSA"]), e.create(t, akTemplates()["ECDSA"])
	public, err := tpm2.ParsePublic(theirs.OutPublic.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	c, err := tpm.NewChallenge(e.ek, nil, public, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := e.activate(ek, mine, c); err == nil {
		t.Errorf("answered %x for another key", answer)
	}
	wrong := make([]byte, 32)
	if _, err := c.Answered(wrong, signer(t, 1), time.Now(), time.Now().Add(time.Hour)); err == nil {
		t.Error("a wrong answer makes a record")
	}
}

package chip_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest/tpm"
	"strongroom.dev/internal/swtpm"
	"strongroom.dev/keys"
	"strongroom.dev/machine/chip"
	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
)

// lacking is a TPM that denies having what stands at some handles.
type lacking struct {
	dev     io.ReadWriter
	handles []uint32
	denied  bool
}

func (l *lacking) Write(command []byte) (int, error) {
	l.denied = false
	for _, h := range l.handles {
		l.denied = l.denied || len(command) >= 14 && binary.BigEndian.Uint32(command[10:]) == h
	}
	if l.denied {
		return len(command), nil
	}
	return l.dev.Write(command)
}

func (l *lacking) Read(answer []byte) (int, error) {
	if l.denied {
		return copy(answer, []byte{0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x8b}), nil
	}
	return l.dev.Read(answer)
}

// The handles of a software TPM's endorsement keys and certificates.
const (
	keyP384, certificateP384 = 0x81010016, 0x01c00016
	keyRSA, certificateRSA   = 0x81010001, 0x01c00002
)

// TestActivation has a TPM answer challenges with each endorsement key that it has, as it was
// left in the TPM and made again from its template.
func TestActivation(t *testing.T) {
	dev := swtpm.Start(t, "sha256")
	activator, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	for name, handles := range map[string][]uint32{
		"P-384":      nil,
		"P-384 anew": {keyP384},
		"RSA":        {certificateP384},
		"RSA anew":   {certificateP384, keyRSA},
	} {
		device := chip.New(&lacking{dev: dev, handles: handles})
		ek, err := device.Endorsement()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var ak [2]chip.Key
		for i := range ak {
			if ak[i], err = device.NewAttestationKey([32]byte{byte(i)}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if bytes.Equal(ak[0].Public, ak[1].Public) {
			t.Errorf("%s: two salts gave one key", name)
		}
		public, err := tpm2.ParsePublic(ak[0].Public)
		if err != nil || public.Lacks() != "" {
			t.Fatalf("%s: %v %s", name, err, public.Lacks())
		}
		c, err := tpm.NewChallenge(ek.Certificate, nil, public, rand.Reader)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := device.Activate(ek, ak[1], c.Credential, c.Secret); err == nil {
			t.Errorf("%s: answered for another key", name)
		}
		answer, err := device.Activate(ek, ak[0], c.Credential, c.Secret)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		now := time.Now()
		if _, err := c.Answered(answer, activator, now, now.Add(time.Hour)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := errors.Join(device.Forget(ak[0]), device.Forget(ak[1]), device.Release(ek)); err != nil {
			t.Errorf("%s: %v", name, err) // without it the TPM would be full by now
		}
	}
	if _, err := chip.New(&lacking{dev: dev, handles: []uint32{certificateP384, certificateRSA}}).Endorsement(); !errors.Is(err, chip.ErrNoEndorsement) {
		t.Errorf("no certificate: %v", err)
	}
}

// TestQuote extends PCRs in every bank and quotes them.
func TestQuote(t *testing.T) {
	device := chip.New(swtpm.Start(t, "sha1,sha256,sha384,sha512"))
	m := chip.Measure([]byte("measured"))
	for _, pcr := range []int{8, 14, 8} {
		if err := device.Extend(pcr, m); err != nil {
			t.Fatal(err)
		}
	}
	ak, err := device.NewAttestationKey([32]byte{})
	if err != nil {
		t.Fatal(err)
	}
	nonce := sha256.Sum256([]byte("nonce"))
	q, err := device.Quote(ak, nonce[:])
	if err != nil {
		t.Fatal(err)
	}
	once := sha256.Sum256(append(make([]byte, 32), m.SHA256[:]...))
	twice := sha256.Sum256(append(once[:], m.SHA256[:]...))
	if !bytes.Equal(q.PCRs[14], once[:]) || !bytes.Equal(q.PCRs[8], twice[:]) || !bytes.Equal(q.PCRs[0], make([]byte, 32)) {
		t.Errorf("PCRs %x", q.PCRs)
	}
	bank := tpm2.Bank{Bank: measure.SHA256, Values: map[int][]byte{}}
	for i, v := range q.PCRs {
		bank.Values[i] = v
	}
	public, err := tpm2.ParsePublic(ak.Public)
	if err != nil {
		t.Fatal(err)
	}
	a, err := tpm2.Quote{Message: q.Message, Signature: q.Signature, Banks: []tpm2.Bank{bank}}.Verify(public.Key)
	if err != nil || !bytes.Equal(a.Extra, nonce[:]) {
		t.Errorf("%v, %v", a, err)
	}
	if err := device.Forget(ak); err != nil {
		t.Fatal(err)
	}
	if _, err := device.Quote(ak, nonce[:]); err == nil {
		t.Error("a quote by a key that is forgotten")
	}
}

// TestNoSHA256 refuses a TPM whose PCRs nobody could quote.
func TestNoSHA256(t *testing.T) {
	device := chip.New(swtpm.Start(t, "sha1"))
	if err := device.Extend(8, chip.Measurement{}); err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("%v", err)
	}
}

// busy is a TPM that wants to be asked twice.
type busy struct {
	io.ReadWriter
	asked int
}

func (b *busy) Read(answer []byte) (int, error) {
	n, err := b.ReadWriter.Read(answer)
	if b.asked++; b.asked%2 == 1 {
		return copy(answer, []byte{0x80, 1, 0, 0, 0, 10, 0, 0, 9, 0x22}), nil
	}
	return n, err
}

// TestRetry asks again as it is told, and does not wait forever.
func TestRetry(t *testing.T) {
	if _, err := chip.New(&busy{ReadWriter: swtpm.Start(t, "sha256")}).PCRs(); err != nil {
		t.Error(err)
	}
	began := time.Now()
	if _, err := chip.New(says{0x80, 1, 0, 0, 0, 10, 0, 0, 9, 0x22}).PCRs(); err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// says is a TPM with one answer to everything.
type says []byte

func (says) Write(b []byte) (int, error)  { return len(b), nil }
func (s says) Read(b []byte) (int, error) { return copy(b, s), nil }

// gone is a TPM that is gone.
type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (gone) Read([]byte) (int, error)  { return 0, io.EOF }

// everything asks a TPM for everything.
func everything(d *chip.TPM) map[string]error {
	errs := map[string]error{}
	_, errs["key"] = d.NewAttestationKey([32]byte{})
	_, errs["endorsement"] = d.Endorsement()
	_, errs["quote"] = d.Quote(chip.Key{}, nil)
	_, errs["PCRs"] = d.PCRs()
	errs["extend"] = d.Extend(8, chip.Measurement{})
	_, errs["read"] = d.Read(1)
	_, errs["activate"] = d.Activate(chip.Endorsement{}, chip.Key{}, nil, nil)
	return errs
}

func TestBadAnswers(t *testing.T) {
	for name, dev := range map[string]io.ReadWriter{
		"gone":           gone{},
		"empty":          says{},
		"cut":            says{0x80, 1, 0, 0, 0, 10, 0, 0, 0},
		"another length": says{0x80, 1, 0, 0, 0, 11, 0, 0, 0, 0},
		"no sessions":    says{0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0},
		"sessions":       says{0x80, 2, 0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0, 0},
		"too long":       says{0x80, 2, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},
		"failure":        says{0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1},
	} {
		for what, err := range everything(chip.New(dev)) {
			if err == nil && (name != "sessions" || what != "extend") {
				t.Errorf("%s: %s worked", name, what)
			}
		}
	}
	var e *chip.Error
	if _, err := chip.New(says{0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1}).PCRs(); !errors.As(err, &e) || e.Code != 0x101 || e.Command != "PCR_Read" {
		t.Errorf("%v", err)
	}
}

// TestWholeAnswers: an answer says how long it is.
func TestWholeAnswers(t *testing.T) {
	empty := says{0x80, 1, 0, 0, 0, 26, 0, 0, 0, 0, 0, 14, 0, 0, 0, 1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0} // an index of no bytes
	if data, err := chip.New(empty).Read(1); err != nil || len(data) != 0 {
		t.Fatalf("%x, %v", data, err)
	}
	for _, spoilt := range []says{append(bytes.Clone(empty), 0), append(says{0x80, 1, 0, 0, 0, 27}, empty[6:]...), empty[:25]} {
		if _, err := chip.New(spoilt).Read(1); err == nil {
			t.Errorf("%x was read", []byte(spoilt))
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte{0x80, 2, 0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, answer []byte) { everything(chip.New(says(answer))) })
}

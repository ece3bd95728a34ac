package demo

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/host"
	"strongroom.dev/host/qemu"
	"strongroom.dev/image"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// attacks tries what the host of a virtual machine can do; none may succeed. Two attacks boot
// a machine, the others use what the honest one left.
func (v *vm) attacks(ctx context.Context) error {
	v.chapter("Now the host cheats. Two attacks boot another machine; the others use the honest one's evidence, log and disks")
	e := &enemy{study: v.study}
	var err error
	if e.programs, err = e.loadPrograms("strongroom-agent"); err != nil {
		return err
	}
	defer e.programs.Close()
	if e.study1, err = e.readAgreement("study.json"); err != nil {
		return err
	}
	other, err := v.otherAgreement(ctx, e)
	if err != nil {
		return err
	}
	binding := []string{"evidence.binding"}
	all := []attempt{
		{"quote replayed for a new challenge", v.shows(e, alpha, nil), binding},
		{"quote for one broker shown to the other", v.shows(e, beta, v.activatedBy(beta)), binding},
		{"event log edited", v.shows(e, alpha, editLog), []string{"tpm.event_log"}},
		{"PCR values edited", v.shows(e, alpha, editPCR), []string{"tpm.quote"}},
		{"quote by another TPM, with this one's activation", v.shows(e, alpha, otherTPM), []string{"tpm.activation"}},
		{"activation signed by the host", v.shows(e, alpha, ownActivation), []string{"tpm.activation"}},
		{"room keys swapped beside genuine evidence", v.swaps, binding},
		{"all that a room sent sent again, for other keys", v.replays(e), []string{"challenge.fresh"}},
		{"evidence presented under another agreement", v.shows(e, alpha, nil, func(x *intruder) { x.agreement = other }), binding},
		{"one bit flipped in the engine's disk", v.flipDisk, []string{"image.files"}},
		e.inRoom("one bit flipped in a sealed input", []string{"input.file"}, func(job *host.Job, _ *host.Config) error {
			return e.spoil(&job.Inputs[0], func(data []byte) []byte { data[len(data)/2] ^= 1; return data })
		}),
		{"another command line booted: debug", v.boots(e, v.debugKernel), []string{"evidence.image"}},
		{"another initrd booted: an altered agent", v.boots(e, v.otherInitrd), []string{"evidence.image"}},
	}
	if err := v.attack(ctx, v.report, all); err != nil {
		return err
	}
	return v.report.Err()
}

// otherAgreement is the study under another id, agreed and activated like the first.
func (v *vm) otherAgreement(ctx context.Context, e *enemy) (*agreement.SignedAgreement, error) {
	if err := v.writeAgreement("other.yaml", e.study1.Valid.Until.Time(), v.withMachines(), edit{"id: tumour-study", "id: other-study"}); err != nil {
		return nil, err
	}
	file, err := v.agree(ctx, v.quiet, "other.yaml")
	if err != nil {
		return nil, err
	}
	return e.readAgreement(file)
}

// shown gives the evidence that the booted room showed a hospital's broker.
func (v *vm) evidenceFor(folder string) (attest.Evidence, []byte) {
	for _, r := range v.proof.Releases {
		if r.Broker == v.party(folder).Name {
			return r.Evidence, r.Challenge
		}
	}
	return attest.Evidence{}, nil // proveVM counted them
}

// shows asks a hospital's broker with the evidence that was made for Alpha's, changed.
func (v *vm) shows(e *enemy, folder string, change func(map[string]any) error, more ...func(*intruder)) func(context.Context) (string, error, error) {
	return func(ctx context.Context) (string, error, error) {
		evidence, _ := v.evidenceFor(alpha)
		if change != nil {
			var err error
			if evidence, err = altered(evidence, change); err != nil {
				return "", nil, err
			}
		}
		return v.intrude(ctx, e, folder, append(more, func(x *intruder) { x.evidence = &evidence })...)
	}
}

// replays asks Alpha's broker with everything the booted room sent it but the room's keys.
func (v *vm) replays(e *enemy) func(context.Context) (string, error, error) {
	return func(ctx context.Context) (string, error, error) {
		evidence, token := v.evidenceFor(alpha)
		return v.intrude(ctx, e, alpha, func(x *intruder) { x.evidence, x.token = &evidence, token })
	}
}

// intrude asks a broker with a program of the host that is no room.
func (v *vm) intrude(ctx context.Context, e *enemy, folder string, change ...func(*intruder)) (string, error, error) {
	x, err := newIntruder(e.root, e.measured, e.study1, e.parties, nil)
	if err != nil {
		return "", nil, err
	}
	for _, c := range change {
		c(x)
	}
	if x.run, err = e.request(x.agreement, questions[1], nil); err != nil {
		return "", nil, err
	}
	input, err := e.currentInput(folder)
	if err != nil {
		return "", nil, err
	}
	return e.ask(ctx, x, folder, input)
}

// activatedBy puts in the record by which a hospital's broker vouches for the TPM's key, so that the
// broker is left with nothing to refuse but whom the quote is for.
func (v *vm) activatedBy(folder string) func(map[string]any) error {
	return func(body map[string]any) error {
		own, _ := v.evidenceFor(folder)
		var theirs map[string]any
		if err := json.Unmarshal(own.Evidence, &theirs); err != nil {
			return err
		}
		record, err := member(theirs, "activation")
		if err == nil {
			setMember(body, "activation", record)
		}
		return err
	}
}

// altered changes evidence of a TPM, which is a JSON object (spec/tpm.md, section 2).
func altered(e attest.Evidence, change func(map[string]any) error) (attest.Evidence, error) {
	var body map[string]any
	if err := json.Unmarshal(e.Evidence, &body); err != nil {
		return e, err
	}
	if err := change(body); err != nil {
		return e, err
	}
	data, err := wire.Marshal(body)
	return attest.Evidence{Platform: e.Platform, Evidence: data}, err
}

// member reads bytes of evidence.
func member(body map[string]any, name string) ([]byte, error) {
	text, _ := body[name].(string)
	data, err := base64.StdEncoding.DecodeString(text)
	if err == nil && len(data) == 0 {
		err = fmt.Errorf("evidence without %s", name)
	}
	return data, err
}

func setMember(body map[string]any, name string, data []byte) {
	body[name] = base64.StdEncoding.EncodeToString(data)
}

// editLog has the log say that another kernel was started: it flips a bit of the digest
// beside the name of the kernel's section.
func editLog(body map[string]any) error {
	log, err := member(body, "event_log")
	if err != nil {
		return err
	}
	at := bytes.Index(log, []byte("l\x00i\x00n\x00u\x00x\x00"))
	if at < 44 {
		at = len(log) / 2
	}
	log[at-20] ^= 1
	setMember(body, "event_log", log)
	return nil
}

// editPCR claims another value of PCR 11 than was quoted.
func editPCR(body map[string]any) error {
	quotes, _ := body["quotes"].([]any)
	if len(quotes) == 0 {
		return fmt.Errorf("evidence without quotes")
	}
	q, _ := quotes[0].(map[string]any)
	banks, _ := q["banks"].(map[string]any)
	bank, _ := banks["sha256"].(map[string]any)
	value, err := member(bank, "11")
	if err != nil {
		return err
	}
	value[0] ^= 1
	setMember(bank, "11", value)
	return nil
}

// otherTPM signs the quote with a key that lives in no TPM that a broker has asked.
func otherTPM(body map[string]any) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	public, err := member(body, "ak_public")
	if err != nil {
		return err
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return err
	}
	// TPMT_PUBLIC of a P-256 key ends with both coordinates, each behind its length.
	if n := len(public); n < 68 || public[n-68] != 0 || public[n-67] != 32 {
		return fmt.Errorf("an attestation key that is not on P-256")
	}
	copy(public[len(public)-66:], point[1:33])
	copy(public[len(public)-32:], point[33:])
	setMember(body, "ak_public", public)
	quotes, _ := body["quotes"].([]any)
	if len(quotes) == 0 {
		return fmt.Errorf("evidence without quotes")
	}
	q, _ := quotes[0].(map[string]any)
	message, err := member(q, "message")
	if err != nil {
		return err
	}
	digest := sha256.Sum256(message)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return err
	}
	const ecdsaScheme, sha256Hash = 0x0018, 0x000b // TPM_ALG_ECDSA, TPM_ALG_SHA256
	signature := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, ecdsaScheme), sha256Hash)
	for _, half := range [][]byte{r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))} {
		signature = append(binary.BigEndian.AppendUint16(signature, uint16(len(half))), half...)
	}
	setMember(q, "signature", signature)
	return nil
}

// ownActivation replaces the broker's word for the key by one that the host signs.
func ownActivation(body map[string]any) error {
	record, err := member(body, "activation")
	if err != nil {
		return err
	}
	var a tpm.Activation
	if _, err := keys.ParseDocument(record, tpm.ActivationType, &a); err != nil {
		return err
	}
	doc, err := keys.NewDocument(tpm.ActivationType, a)
	if err != nil {
		return err
	}
	own, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		return err
	}
	if err := doc.Sign(own); err != nil {
		return err
	}
	data, err := doc.Encode()
	setMember(body, "activation", data)
	return err
}

// flipDisk flips a bit of the engine's disk, which the root in the initrd then disowns.
func (v *vm) flipDisk(ctx context.Context) (string, error, error) {
	dir, err := v.copyImage("flipped")
	if err != nil {
		return "", nil, err
	}
	err = v.change(dir, "strongroom-sql.disk", func(data []byte) error { data[1<<20] ^= 1; return nil })
	if err != nil {
		return "", nil, err
	}
	return v.byCommand(ctx, "strongroom image show", "image", "show", dir)
}

func (v *vm) copyImage(name string) (string, error) {
	dir := v.path(name)
	return dir, copyTree(v.image, dir)
}

// change changes a file of an image, and has the image's own list agree: a host's copy is
// the host's to write.
func (v *vm) change(dir, name string, edit func([]byte) error) error {
	file, list := filepath.Join(dir, name), filepath.Join(dir, "image.json")
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before := sha256.Sum256(data)
	if err := edit(data); err != nil {
		return err
	}
	after := sha256.Sum256(data)
	manifest, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	changed := bytes.ReplaceAll(manifest, fmt.Appendf(nil, "%x", before), fmt.Appendf(nil, "%x", after))
	if bytes.Equal(changed, manifest) {
		return fmt.Errorf("%s does not list %s by its digest", list, name)
	}
	if err := os.WriteFile(list, changed, 0o600); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

// boots runs the question in a machine that a host starts from an image of its own making.
// `run` would look at its image first; this host doesn't.
func (v *vm) boots(e *enemy, make func(ctx context.Context) (dir string, err error)) func(context.Context) (string, error, error) {
	return func(ctx context.Context) (string, error, error) {
		dir, err := make(ctx)
		if err != nil {
			return "", nil, err
		}
		c := e.config()
		c.Programs, c.Root = nil, nil
		if c.VM, err = v.machine(dir); err != nil {
			return "", nil, err
		}
		job, _, err := e.honestJob()
		if err != nil {
			return "", nil, err
		}
		refusal := e.room(ctx, job, c)
		return byRoom(refusal), refusal, nil
	}
}

// machine is what the researcher's home would start rooms of an image with.
func (v *vm) machine(dir string) (*host.VM, error) {
	h, err := home.Open(v.path(researcher))
	if err != nil {
		return nil, err
	}
	ca, err := qemu.OpenCA(h.Path("tpm"))
	if err != nil {
		return nil, err
	}
	machine := qemu.Config{Platform: qemu.TPM, Accel: qemu.TCG, CPUs: 2, Memory: 768, Kernel: filepath.Join(dir, image.FileUKI),
		Firmware: filepath.Join(dir, image.FileCode), Variables: filepath.Join(dir, image.FileVars)}
	return &host.VM{Launch: qemu.Launch{Programs: qemu.FindPrograms(), CA: ca, Machine: machine},
		Engines: []host.Engine{{Name: sqlEngine, Path: filepath.Join(dir, image.EngineFile(sqlEngine))}}}, nil
}

const sqlEngine wire.ID = "strongroom-sql"

// debugKernel changes the command line inside the kernel image from quiet to debug.
func (v *vm) debugKernel(context.Context) (string, error) {
	dir, err := v.copyImage("debug")
	if err != nil {
		return "", err
	}
	line, err := os.ReadFile(filepath.Join(dir, image.FileCmdline))
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, image.FileUKI)
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	at, word := bytes.Index(data, append(bytes.Clone(line), 0)), bytes.Index(line, []byte("quiet"))
	if at < 0 || word < 0 {
		return "", fmt.Errorf("no such command line in the kernel image: %q", line)
	}
	copy(data[at+word:], "debug")
	return dir, os.WriteFile(file, data, 0o600)
}

// otherInitrd builds the image with an agent of which one byte differs.
func (v *vm) otherInitrd(ctx context.Context) (string, error) {
	agent, err := v.alteredAgent()
	if err != nil {
		return "", err
	}
	dir := v.path("altered")
	_, err = v.quiet(ctx, "image", "build", "-o", dir, "--agent", agent)
	return dir, err
}

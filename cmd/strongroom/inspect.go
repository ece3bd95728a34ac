package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/seal"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// inspection is what there is to say about a file.
type inspection struct {
	File string `json:"file"`
	Kind string `json:"kind"`
	// Digest names the object, where it is one that is named by digest.
	Digest string `json:"digest,omitempty"`
	// Facts are single findings in the order they are shown.
	Facts []fact `json:"facts"`
	// Signatures, each with what this home knows of its key.
	Signatures []signatureFact `json:"signatures,omitempty"`
	Body       json.RawMessage `json:"body,omitempty"`
	// Boot tells what booted, of evidence with an event log.
	Boot *bootStory `json:"boot,omitempty"`
	// Verified and NotVerified say in words what was checked and what was not.
	Verified    []string `json:"verified"`
	NotVerified []string `json:"not_verified"`

	image *bootImage // to compare a boot with, nil for none
}

type fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// signatureFact is one signature. State is "genuine", "NOT GENUINE", or "unknown key".
type signatureFact struct {
	Key       keys.KeyID     `json:"key"`
	Algorithm keys.Algorithm `json:"algorithm"`
	By        string         `json:"by,omitempty"`
	State     string         `json:"state"`
}

func (i *inspection) fact(name, format string, args ...any) {
	i.Facts = append(i.Facts, fact{name, verdict.Printable(fmt.Sprintf(format, args...))})
}

func (i *inspection) verified(format string, args ...any) {
	i.Verified = append(i.Verified, fmt.Sprintf(format, args...))
}

func (i *inspection) notVerified(format string, args ...any) {
	i.NotVerified = append(i.NotVerified, fmt.Sprintf(format, args...))
}

func (a *app) inspectCommand() *cobra.Command {
	var root bool
	var image imageFlags
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Say what a file of ours is, and what about it is not verified",
		Long: `Shows any file of ours: party, agreement (signed or YAML), dataset statement, run request,
evidence, proof, bundle of endorsements, appraisal policy, reference values (signed or a draft),
receipt, checkpoint, sealed file, key file, public key, or the directory of a log or a party. It never shows a secret.

Of evidence with an event log it tells what booted, line by line; --image DIR has each line compared
with the files of an image directory.

It is for looking: it exits 0 for any file of ours, genuine or not, and 2 for one that is not
ours. What must be relied on is verified by "agreement check", "receipt verify",
"ledger fsck" and "open".`,
		Example: `  strongroom inspect study.json
  strongroom inspect patients-v1.age --root`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			i, err := a.inspect(args[0], root, image)
			if err != nil {
				return err
			}
			return a.print(i, i.text)
		},
	}
	image.add(cmd)
	cmd.Flags().BoolVar(&root, "root", false, "of a sealed file: compute its Merkle root too, which reads all of it")
	return cmd
}

func (i *inspection) text(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n", i.File, i.Kind)
	if i.Digest != "" {
		fmt.Fprintf(w, "  digest        %s\n", i.Digest)
	}
	for _, f := range i.Facts {
		fmt.Fprintf(w, "  %-13s %s\n", f.Name, f.Value)
	}
	for _, s := range i.Signatures {
		by := s.By
		if by == "" {
			by = "nobody you know"
		}
		fmt.Fprintf(w, "  signature     key %s (%s) of %s: %s\n", s.Key.Short(), s.Algorithm, by, s.State)
	}
	for _, v := range i.Verified {
		fmt.Fprintf(w, "  verified      %s\n", v)
	}
	for _, v := range i.NotVerified {
		fmt.Fprintf(w, "  NOT verified  %s\n", v)
	}
	i.Boot.text(w)
	if len(i.Body) > 0 {
		fmt.Fprintln(w)
		indented(w, i.Body)
	}
}

func (a *app) inspect(path string, root bool, named imageFlags) (*inspection, error) {
	i := &inspection{File: path, Facts: []fact{}, Verified: []string{}, NotVerified: []string{}}
	var err error
	if i.image, err = a.readBootImage(named); err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if root {
			return nil, verdict.Misuse("--root", "a sealed file with it", "a directory", "leave it out")
		}
		return i, a.inspectDir(i, path)
	}
	if path != "-" {
		f, err := a.openFile(path, "a file")
		if err != nil {
			return nil, err
		}
		defer f.Close()
		start := make([]byte, 32)
		n, _ := io.ReadFull(f, start)
		if bytes.HasPrefix(start[:n], []byte("age-encryption.org/v1\n")) {
			return i, a.inspectSealed(i, f, root)
		}
	}
	if root {
		return nil, verdict.Misuse("--root", "a sealed file with it", "another file", "leave it out")
	}
	data, err := a.readDocument(path, "a file of strongroom's")
	if err != nil {
		return nil, err
	}
	defer clear(data)
	return i, inFile(path, a.inspectData(i, data))
}

// inspectData recognises everything but sealed files and directories.
func (a *app) inspectData(i *inspection, data []byte) error {
	text := string(data)
	switch {
	case bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")):
		return a.inspectJSON(i, data)
	case strings.Contains(text, identityMark):
		return inspectIdentity(i, text)
	case strings.Contains(text, signingMark):
		return inspectSigningKey(i, text)
	case strings.Contains(text, "PRIVATE+KEY+"):
		return inspectLogKey(i, text)
	case strings.Contains(text, "\n\n\u2014 "):
		return a.inspectCheckpoint(i, text)
	case strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN AGE"):
		return verdict.Misuse("inspect", "a binary age file", "text armor", "remove the armor with the age command")
	case strings.HasPrefix(strings.TrimSpace(text), "age1"):
		return inspectRecipient(i, strings.TrimSpace(text))
	}
	switch k, err := publicKeyIn(text); {
	case err == nil:
		inspectPublicKey(i, k)
		return nil
	case topLevel(text, "platforms") && !topLevel(text, "parties"): // agreements have both
		return inspectPolicy(i, data)
	case topLevel(text, "product") && topLevel(text, "groups"):
		return inspectReferenceDraft(i, data)
	}
	body, err := draft.Parse(i.File, data)
	if err != nil {
		if ext := filepath.Ext(i.File); ext == ".yaml" || ext == ".yml" {
			return err
		}
		return verdict.Misuse("inspect", "a file of strongroom's", "something else", "strongroom inspect --help lists what it knows")
	}
	ag, err := agreement.NewAgreement(body)
	if err != nil {
		return err
	}
	a.inspectAgreement(i, ag, "a draft of an agreement, in YAML")
	return nil
}

// inspectDir shows a log or a home.
func (a *app) inspectDir(i *inspection, path string) error {
	if below := filepath.Join(path, "log"); !tilelog.Exists(path) && tilelog.Exists(below) {
		path = below // of a ledger, or of a broker
	}
	if tilelog.Exists(path) {
		note, err := os.ReadFile(filepath.Join(path, "checkpoint"))
		if err != nil {
			return fileError(path, "a log's checkpoint", err)
		}
		if err := a.inspectCheckpoint(i, string(note)); err != nil {
			return inFile(path, err)
		}
		i.Kind = "the directory of a log"
		i.notVerified("that the entries are those under the checkpoint: strongroom ledger fsck does it")
		return nil
	}
	// Looking needs no home that is fit to be used: its own descriptor is enough.
	data, err := os.ReadFile(filepath.Join(path, "party.json"))
	if errors.Is(err, fs.ErrNotExist) && isImage(path) {
		return misfile(path, "a file, or the directory of a log or party", "the directory of a room image", imageCommands(path))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return misfile(path, "a file, or the directory of a log or party", "another directory", "name the file")
	}
	if err != nil {
		return fileError(path, "the directory of a party", err)
	}
	p, err := agreement.ParseParty(data)
	if err != nil {
		return inFile(filepath.Join(path, "party.json"), err)
	}
	i.Kind = "the directory of a party"
	i.Digest = p.Digest().String()
	i.fact("party", "%s, version %d", p.Name, p.Version)
	i.notVerified("what lies in it, beyond the form of party.json")
	return nil
}

func (a *app) inspectSealed(i *inspection, f *os.File, root bool) error {
	i.Kind = "a sealed file (age)"
	info, err := f.Stat()
	if err != nil {
		return fileError(i.File, "a file", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fileError(i.File, "a file, not a pipe", err)
	}
	header, err := seal.ReadHeader(f)
	if err != nil {
		return inFile(i.File, err)
	}
	types, err := seal.CheckHeader(header)
	if err != nil {
		return inFile(i.File, err)
	}
	i.fact("size", "%d bytes", info.Size())
	i.fact("header", "%s", wire.HashOf(header))
	i.fact("recipients", "%d: %s", len(types), strings.Join(types, ", "))
	if root {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return fileError(i.File, "a file, not a pipe", err)
		}
		bar := a.newProgress("hashing", info.Size())
		hash, _, err := seal.Root(f, seal.Options{Progress: func(done int64) error { bar.set(done); return nil }})
		bar.end()
		if err != nil {
			return inFile(i.File, err)
		}
		i.fact("root", "%s", hash)
	}
	i.notVerified("who made it, and that it opens: a sealed file says nothing about its maker")
	a.compareStatement(i, wire.HashOf(header), info.Size(), len(types))
	return nil
}

// compareStatement says whether the statement beside a sealed file is about it.
func (a *app) compareStatement(i *inspection, header wire.Hash, size int64, recipients int) {
	file := strings.TrimSuffix(i.File, ".age") + ".statement.json"
	data, err := os.ReadFile(file)
	if err != nil {
		return
	}
	d, err := agreement.ParseDataset(data)
	switch {
	case err != nil:
		i.notVerified("%s, which is not a dataset statement", file)
	case d.Header != header || d.Size != size || d.Recipients != int64(recipients):
		i.fact("statement", "%s beside it is about ANOTHER file", file)
	default:
		i.verified("header, size and recipients are those of %s", file)
		i.notVerified("the file's root: --root computes it; and the statement's signature: inspect the statement")
	}
}

func inspectIdentity(i *inspection, text string) error {
	id, err := seal.ParseIdentityFile(text)
	if err != nil {
		return err
	}
	i.Kind = "a PRIVATE identity (opens sealed files)"
	i.fact("purpose", "%s", id.Purpose())
	i.fact("post-quantum", "%t", id.PostQuantum())
	i.fact("fingerprint", "%s", id.Recipient().Fingerprint())
	i.fact("recipient", "%s", id.Recipient())
	return nil
}

func inspectSigningKey(i *inspection, text string) error {
	key, err := keys.ParseSigningKey(text)
	if err != nil {
		return verdict.Misuse("inspect", "a signing key file", err.Error(), "take the file as it was written")
	}
	i.Kind = "a PRIVATE signing key"
	i.fact("id", "%s", key.Public().ID())
	i.fact("public key", "%s", key.Public())
	return nil
}

func inspectLogKey(i *inspection, text string) error {
	signer, err := ledger.ParseSigner(text)
	if err != nil {
		return err
	}
	i.Kind = "a PRIVATE key of a log"
	i.fact("origin", "%s", signer.Origin())
	i.fact("verifier", "%s", signer.Verifier())
	return nil
}

func inspectRecipient(i *inspection, text string) error {
	r, err := seal.ParseRecipient(text)
	if err != nil {
		return err
	}
	i.Kind = "an age recipient (public)"
	i.fact("post-quantum", "%t", r.PostQuantum())
	i.fact("fingerprint", "%s", r.Fingerprint())
	i.notVerified("whose it is")
	return nil
}

func (a *app) inspectCheckpoint(i *inspection, note string) error {
	c, err := ledger.ReadCheckpoint(note)
	if err != nil {
		return err
	}
	i.Kind = "a log's checkpoint"
	i.fact("origin", "%s", c.Origin)
	i.fact("entries", "%d", c.Size)
	i.fact("root", "%s", c.Root)
	for _, key := range a.logKeys() {
		if origin, err := ledger.OriginOf(key.verifier); err != nil || origin != c.Origin {
			continue
		}
		if _, err := ledger.OpenCheckpoint(note, key.verifier); err != nil {
			i.fact("signature", "NOT GENUINE: not by the log of %s", key.owner)
			return nil
		}
		i.verified("it is signed by the log of %s", key.owner)
		i.notVerified("that it is the latest, and witnesses' cosignatures")
		return nil
	}
	i.notVerified("the log's signature: nobody you know has a log of that name")
	return nil
}

// logKey is the key of a known party's own log.
type logKey struct{ owner, verifier string }

func (a *app) logKeys() []logKey {
	var out []logKey
	for _, p := range a.acquaintances() {
		if b := p.party.Broker; b != nil {
			out = append(out, logKey{p.label, b.LogKey})
		}
	}
	return out
}

// acquaintance is a party this home knows, and by what label.
type acquaintance struct {
	party *agreement.SignedParty
	label string
}

// acquaintances gives the home's own versions and its address book; none without a home.
func (a *app) acquaintances() []acquaintance {
	h, err := a.openHome()
	if err != nil {
		return nil
	}
	var out []acquaintance
	own, err := h.Versions()
	if err == nil {
		for _, p := range own {
			out = append(out, acquaintance{p, "you (" + string(p.Name) + ")"})
		}
	}
	book, err := h.Book()
	if err == nil {
		for _, e := range book {
			label := e.Label
			if e.Revoked != nil {
				label += " (REVOKED)"
			}
			out = append(out, acquaintance{e.Party, label})
		}
	}
	return out
}

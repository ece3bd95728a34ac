package main

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/corim"
	"strongroom.dev/reference/draft"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// importFlags say what a CoRIM's makers sign with, and what its elements are in evidence.
type importFlags struct {
	draft                      draftFlags
	keys, roots                []string
	registers, claims          []string
	platform, digest, together string
}

func (a *app) referenceImport() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Make a draft of a signed CoRIM, or of a build's JSON",
		Long: `Makes a draft, which must be signed by release keys like any other. FILE is

  a CoRIM, signed (COSE_Sign1, ES256 to PS512) by a key or under a root that you pin with
      --signer-key or --signer-root; unsigned ones are refused. Reference triples are read:
      digests, raw values, integrity registers, security versions. What else narrows them is
      refused; what is no reference value is named and left out.
  JSON, {"groups":[{"name","platform","measurements":{"register":"hex"}}]}, as a build writes it

--register and --claim say where evidence of the platform has an element: by its key, its
name, or the model of its class. A CoRIM does not say whether its triples are alternatives or
parts of one machine; --together does.`,
		Example: `  strongroom reference import build.json --product room --version 8 -o room.yaml
  strongroom reference import firmware.corim --signer-root maker.pem --platform snp \
      --register 641=measurement --product firmware -o firmware.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.importReference(f, args[0]) },
	}
	f.draft.add(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&f.keys, "signer-key", nil, "`FILE` of the CoRIM signer's public key, PEM or DER (repeatable)")
	flags.StringArrayVar(&f.roots, "signer-root", nil, "`FILE` of a root certificate that the signer's chain leads to, PEM or DER (repeatable)")
	flags.StringVar(&f.platform, "platform", "", "platform whose evidence a CoRIM's values are compared with")
	flags.StringArrayVar(&f.registers, "register", nil, "register that an element is in evidence: `ELEMENT=REGISTER` (repeatable)")
	flags.StringArrayVar(&f.claims, "claim", nil, "claim that holds an element's security version: `ELEMENT=PATH` (repeatable)")
	flags.StringVar(&f.digest, "digest", "", "which one, where an element has several: sha-256, sha-384 or sha-512")
	flags.StringVar(&f.together, "together", "", "triples that make up one group: triple, tag or file")
	return cmd
}

func (a *app) importReference(f importFlags, file string) error {
	data, err := a.readLarge(file, "a CoRIM, or JSON", corim.MaxFile)
	if err != nil {
		return err
	}
	var d draft.Draft
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		if len(f.keys)+len(f.roots)+len(f.registers)+len(f.claims) > 0 || f.platform+f.digest+f.together != "" {
			return misfile(file, "a CoRIM, for which these flags are", "JSON", "leave out all but the draft's own flags")
		}
		if d.Groups, err = draft.ParseGroups(bytes.TrimSpace(data)); err != nil {
			return inFile(file, err)
		}
	} else if d, err = a.fromCoRIM(f, file, data); err != nil {
		return err
	}
	return a.saveDraft(f.draft, d)
}

func (a *app) fromCoRIM(f importFlags, file string, data []byte) (d draft.Draft, err error) {
	var trust corim.Trust
	if trust, err = a.corimTrust(f); err != nil {
		return d, err
	}
	mapping := draft.Mapping{Platform: wire.ID(f.platform), Algorithm: f.digest, Together: draft.Together(f.together)}
	if mapping.Registers, err = assignments("--register", f.registers); err != nil {
		return d, err
	}
	if mapping.Claims, err = assignments("--claim", f.claims); err != nil {
		return d, err
	}
	m, err := corim.Open(data, trust, a.now())
	if err != nil {
		return d, inFile(file, err)
	}
	if d.Groups, err = mapping.Groups(m); err != nil {
		e := *verdict.As(err)
		if flag := map[string]string{"platform": "--platform", "registers": "--register", "claims": "--claim", "algorithm": "--digest", "together": "--together"}[e.Where]; flag != "" {
			e.Check, e.Where = flag, ""
		}
		return d, inFile(file, &e)
	}
	if !m.Until.IsZero() {
		until := wire.At(m.Until)
		d.Until = &until
	}
	a.say("CoRIM %s, signed by what you pinned; it calls its signer %s", m.ID, m.Signer)
	for _, t := range m.Triples {
		a.say("  %s: no part of a group, evidence of the platform says what it is", verdict.Printable(t.Class))
	}
	for _, what := range m.LeftOut {
		a.say("  left out: %s", what)
	}
	return d, nil
}

func (a *app) corimTrust(f importFlags) (t corim.Trust, err error) {
	if len(f.keys)+len(f.roots) == 0 {
		return t, verdict.Misuse("--signer-key", "the key or root of whoever signs the CoRIM", "none", "give --signer-key or --signer-root: a CoRIM is nothing without its signature")
	}
	for _, file := range f.keys {
		der, err := a.readDER(file, "a public key")
		if err != nil {
			return t, err
		}
		k, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			return t, misfile(file, "a public key, PEM or DER", verdict.Short(err.Error()), "give the signer's key; certificates go to --signer-root")
		}
		t.Keys = append(t.Keys, crypto.PublicKey(k))
	}
	for _, file := range f.roots {
		der, err := a.readDER(file, "a root certificate")
		if err != nil {
			return t, err
		}
		c, err := x509.ParseCertificate(der)
		if err != nil || !c.IsCA {
			return t, misfile(file, "a root's certificate, PEM or DER", "none, or one of no CA", "give the certificate at the top of the signer's chain")
		}
		t.Roots = append(t.Roots, c)
	}
	return t, nil
}

// readDER reads a file with one object, in PEM or DER.
func (a *app) readDER(path, what string) ([]byte, error) {
	data, err := a.readDocument(path, what)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(data)
	if block == nil {
		return data, nil
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, misfile(path, what, "more than one object", "put each in a file of its own")
	}
	return block.Bytes, nil
}

// assignments reads NAME=VALUE, each name once.
func assignments(flag string, given []string) (map[string]string, error) {
	m := make(map[string]string, len(given))
	for _, text := range given {
		name, value, found := strings.Cut(text, "=")
		if _, twice := m[name]; !found || value == "" || twice {
			return nil, verdict.Misuse(flag, "ELEMENT=NAME, each element once", fmt.Sprintf("%q", verdict.Short(text)), "correct it")
		}
		m[name] = value
	}
	return m, nil
}

package main

import (
	"os"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// tpmTrust reads whose word about TPMs' keys the relying party takes, and the roots of software
// TPMs that it relies on. Nothing of it comes from evidence; without the flags it is nobody.
func (a *app) tpmTrust(activators, roots []string) (attest.Trust, error) {
	var t attest.Trust
	for _, given := range activators {
		k, err := a.activator(given)
		if err != nil {
			return t, err
		}
		t.Activators = append(t.Activators, k)
	}
	for _, text := range roots {
		root, err := wire.ParseHash(text)
		if err != nil {
			return t, verdict.Misuse("--root", "sha256: and 64 hex digits", verdict.Short(err.Error()), "strongroom host root --platform tpm prints a host's")
		}
		t.Platforms = append(t.Platforms, agreement.Platform{Kind: tpm.Name, Root: &root})
	}
	return t, nil
}

// activator reads the key by which a broker gives its word: the key itself, a file of it, or the
// descriptor of the party whose broker it is.
func (a *app) activator(given string) (keys.PublicKey, error) {
	if info, err := os.Stat(given); err == nil && !info.IsDir() {
		data, err := a.readDocument(given, "a public key or a party descriptor")
		if err != nil {
			return keys.PublicKey{}, err
		}
		if p, err := agreement.ParseParty(data); err == nil {
			if p.Broker == nil {
				return keys.PublicKey{}, misfile(given, "a party with a broker", "one without", "name the descriptor of a party that releases keys")
			}
			return p.Broker.ReleaseKey, nil
		}
	}
	return a.publicKey("--activator", given)
}

// trusting has evidence of TPMs examined with that trust.
func trusting(table []attest.Examiner, set endorse.Set, t attest.Trust) []attest.Examiner {
	for i := range table {
		if table[i].Name == tpm.Name {
			table[i].Examine = tpm.New(set).Under(t).Examine
		}
	}
	return table
}

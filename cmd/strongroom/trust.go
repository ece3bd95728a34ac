package main

import (
	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/internal/home"
	"strongroom.dev/ledger"
	"strongroom.dev/proof"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// trustFlags are what a verifier names on the command line besides what its home holds.
type trustFlags struct {
	parties []string // files of descriptors compared with their parties
	roots   []string // fingerprints of software roots
	ledgers []string // verifier keys of shared ledgers
	// endorsements are what hardware's evidence is judged by, as of when its broker did.
	endorsements endorsementFlags
	// references are sets of reference values, where agreements name release lines.
	references referenceFlags
}

func (f *trustFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.parties, "party", nil, "a party descriptor `FILE` you have compared with the party itself (repeat)")
	flags.StringArrayVar(&f.roots, "root", nil, "`FINGERPRINT` of a software root you rely on, INSECURE (repeat)")
	flags.StringArrayVar(&f.ledgers, "ledger", nil, "verifier `KEY` of a shared ledger you rely on (repeat)")
	f.endorsements.add(cmd)
	f.references.addRooms(cmd)
}

// trust is what this verifier relies on: the pinned parties and signed agreements of its
// home, where there is one, and what the flags name. Nothing of it comes from a proof.
func (a *app) trust(f *trustFlags, h *home.Home) (proof.Trust, error) {
	endorsed, err := a.endorsedThen(f.endorsements)
	if err != nil {
		return proof.Trust{}, err
	}
	t := proof.Trust{Parties: map[wire.Digest]string{}, Platforms: endorsed.platforms()}
	if t.References, err = a.setsFor(f.references, h); err != nil {
		return proof.Trust{}, err
	}
	if h != nil {
		if err := trustHome(&t, h); err != nil {
			return proof.Trust{}, err
		}
	}
	for _, file := range f.parties {
		data, err := a.readDocument(file, "a party descriptor")
		if err != nil {
			return proof.Trust{}, err
		}
		p, err := agreement.ParseParty(data)
		if err != nil {
			return proof.Trust{}, inFile(file, notKind(file, data, "a party descriptor", err))
		}
		t.Parties[p.Digest()] = string(p.Name)
	}
	for _, text := range f.roots {
		root, err := wire.ParseHash(text)
		if err != nil {
			return proof.Trust{}, verdict.Misuse("--root", "sha256: and 64 hex digits", err.Error(), "strongroom host root prints a host's")
		}
		t.Roots = append(t.Roots, root)
	}
	for _, key := range f.ledgers {
		t.Ledgers = append(t.Ledgers, ledger.Witness{Key: key})
	}
	return t, nil
}

// trustHome takes over the address book and the agreements that the home's own party signed.
func trustHome(t *proof.Trust, h *home.Home) error {
	book, err := h.Book()
	if err != nil {
		return err
	}
	for _, e := range book {
		if e.Revoked == nil {
			t.Parties[e.Party.Digest()] = e.Label
		}
	}
	own, err := h.Versions()
	if err != nil {
		return err
	}
	for _, p := range own {
		t.Parties[p.Digest()] = "you"
	}
	agreements, err := h.Agreements()
	if err != nil {
		return err
	}
	for _, a := range agreements {
		t.Agreements = append(t.Agreements, a.Digest())
	}
	return nil
}

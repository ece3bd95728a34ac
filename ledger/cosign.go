package ledger

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Witness is a shared ledger that cosigns other logs' checkpoints, as agreements name it:
// Key is a note verifier key of a log or of a witness.
type Witness struct {
	Name wire.ID `json:"name"`
	Key  string  `json:"key"`
}

// Cosignature is one witness's signature on a checkpoint and when it was given, by the
// witness's clock, to the second.
type Cosignature struct {
	Witness Witness   `json:"witness"`
	Time    time.Time `json:"time"`
}

// Cosign makes the witness's signature line over a checkpoint. The caller answers for having
// checked the log's signature and the consistency with everything cosigned before, and for
// having made c durable as the latest.
func (s *Signer) Cosign(c Checkpoint, now time.Time) (line string, err error) {
	if _, _, err := splitNote(c.Note); err != nil || !strings.HasPrefix(c.Note, c.text()+"\n") {
		return "", fmt.Errorf("cosigning %s: the checkpoint is not what its note says", c.Origin)
	}
	return s.cosign(c.text(), now)
}

// AddSignatures adds signature lines to a signed note; a line by a key that has signed
// already replaces the older one. The result is checked for form only.
func AddSignatures(signed, lines string) (string, error) {
	text, sigs, err := splitNote(signed)
	if err != nil {
		return "", err
	}
	added, err := parseSignatures(lines)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString(text + "\n")
	for _, s := range sigs {
		if !slices.ContainsFunc(added, func(a signature) bool { return a.name == s.name && a.id == s.id }) {
			out.WriteString(signatureLine(s.name, s.id, s.sig))
		}
	}
	for _, s := range added {
		out.WriteString(signatureLine(s.name, s.id, s.sig))
	}
	if _, _, err := splitNote(out.String()); err != nil {
		return "", err
	}
	return out.String(), nil
}

// parseWitnesses gives the verifiers of distinct witnesses.
func parseWitnesses(witnesses []Witness) ([]note.Verifier, error) {
	var out []note.Verifier
	seen := make(map[string]bool, len(witnesses))
	for _, w := range witnesses {
		key, err := parseVerifier(w.Key)
		if err != nil {
			return nil, badKey(fmt.Errorf("witness %s: %w", w.Name, err))
		}
		// One key under two names would count twice.
		if seen[string(key.public)] {
			return nil, badKey(fmt.Errorf("witness %s has the key of another one", w.Name))
		}
		seen[string(key.public)] = true
		out = append(out, key.witness())
	}
	return out, nil
}

// Cosignatures gives the cosignatures by the given witnesses on a checkpoint that the caller
// has opened. A false one is an error of kind Invalid, whoever else signed.
func Cosignatures(c Checkpoint, witnesses []Witness) ([]Cosignature, error) {
	verifiers, err := parseWitnesses(witnesses)
	if err != nil {
		return nil, err
	}
	text, by, err := verified(c.Note, verifiers...)
	if err != nil {
		return nil, badCheckpoint(c.Origin, err)
	}
	if text != c.text() {
		return nil, badCheckpoint(c.Origin, fmt.Errorf("a note that says something else"))
	}
	return matchCosignatures(by, witnesses, verifiers), nil
}

func matchCosignatures(by []signature, witnesses []Witness, verifiers []note.Verifier) []Cosignature {
	var out []Cosignature
	for i, v := range verifiers {
		for _, s := range by {
			if s.name == v.Name() && s.id == v.KeyHash() {
				seconds, _ := cosignedAt(s.sig) // verified, so well formed
				out = append(out, Cosignature{witnesses[i], time.Unix(int64(seconds), 0).UTC()})
			}
		}
	}
	return out
}

// checkQuorum demands cosignatures by at least quorum of the witnesses.
func checkQuorum(origin string, have []Cosignature, witnesses []Witness, quorum int) error {
	if quorum < 0 || quorum > len(witnesses) {
		return verdict.Misuse("ledger.witnesses", fmt.Sprintf("a quorum of 0 to %d", len(witnesses)), fmt.Sprintf("%d", quorum), "name as many witnesses as must sign")
	}
	if len(have) < quorum {
		return verdict.NotGenuine("ledger.witnesses", fmt.Sprintf("%s cosigned by %d of %d witnesses", origin, quorum, len(witnesses)), fmt.Sprintf("%d", len(have)),
			"have the log's checkpoint cosigned by the agreement's shared ledgers")
	}
	return nil
}

// KeepSignature gives a signed note with the signature by one verifier key alone: what
// others added to it is left out. Its signatures are not checked.
func KeepSignature(signed, verifier string) (string, error) {
	key, err := parseVerifier(verifier)
	if err != nil {
		return "", badKey(err)
	}
	text, sigs, err := splitNote(signed)
	if err != nil {
		return "", badCheckpoint(key.name, err)
	}
	for _, s := range sigs {
		if s.name == key.name && s.id == keyID(key.name, key.algorithm, key.public) {
			return text + "\n" + signatureLine(s.name, s.id, s.sig), nil
		}
	}
	return "", badCheckpoint(key.name, fmt.Errorf("no signature by its key"))
}

// CheckCosignature checks that lines is exactly one line, the witness's cosignature on c.
func CheckCosignature(c Checkpoint, lines string, witness Witness) (Cosignature, error) {
	c.Note = c.text() + "\n" + lines
	sigs, err := parseSignatures(lines)
	if err == nil && len(sigs) != 1 {
		err = fmt.Errorf("%d signature lines, expected one", len(sigs))
	}
	if err != nil {
		return Cosignature{}, badCheckpoint(c.Origin, err)
	}
	have, err := Cosignatures(c, []Witness{witness})
	if err != nil {
		return Cosignature{}, err
	}
	if err := checkQuorum(c.Origin, have, []Witness{witness}, 1); err != nil {
		return Cosignature{}, err
	}
	return have[0], nil
}

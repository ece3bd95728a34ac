package release

import (
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// RunSecret gives a broker's secret for one run (R14): always the same for the same run, so
// that a run has one answer, and telling nothing about another run's.
func RunSecret(broker *keys.Secret, agreement, run wire.Digest) [32]byte {
	return broker.Derive("strongroom/run-secret/v1", agreement[:], run[:])
}

// Contribution is one owner's part in a run's seed.
type Contribution struct {
	Owner  wire.ID // party id in the agreement
	Secret [32]byte
}

// RunSeed mixes what every owner's broker contributed, in the agreement's order of owners,
// into the secret that the run's noise and commitments derive from. No coalition that lacks
// one owner can tell it. Each owner stands once.
func RunSeed(run wire.Digest, parts []Contribution) (*keys.Secret, error) {
	if len(parts) == 0 || run.IsZero() {
		return nil, verdict.Misuse("run.seed", "a run and its owners' secrets", "none", "ask every owner's broker first")
	}
	fields := [][]byte{run[:]}
	seen := make(map[wire.ID]bool, len(parts))
	for i := range parts {
		p := &parts[i]
		if seen[p.Owner] || !p.Owner.Valid() || p.Secret == [32]byte{} {
			return nil, verdict.Misuse("run.seed", "one secret of each owner", "another list at "+verdict.Short(string(p.Owner)), "ask every owner's broker once")
		}
		seen[p.Owner] = true
		fields = append(fields, []byte(p.Owner), p.Secret[:])
	}
	mixed := wire.SHA256("strongroom/run-seed/v1", fields...)
	return keys.NewSecret(mixed[:])
}

// Commitment commits a run to the plaintext of its output (R14): the same for the same run
// and plaintext. It hides the plaintext from everyone who lacks one owner's secret, since
// results are often small enough to be guessed.
func Commitment(seed *keys.Secret, run wire.Digest, output wire.ID, plaintext []byte) wire.Digest {
	return CommitTo(CommitmentSalt(seed, run), run, output, wire.DigestOf(plaintext))
}

// CommitmentSalt gives the salt of a run's commitments. It travels inside the sealed result,
// so that whoever may read the result can check the commitment, and nobody else can guess.
func CommitmentSalt(seed *keys.Secret, run wire.Digest) [32]byte {
	return seed.Derive("strongroom/commitment-salt/v1", run[:])
}

// IdentifierSalt gives the key under which a run's identifiers are hashed before the SQL engine
// sees them: nobody outside the room can tell by trying whose hash one is.
func IdentifierSalt(seed *keys.Secret, run wire.Digest) [32]byte {
	return seed.Derive("strongroom/identifier-salt/v1", run[:])
}

// NoiseSeed gives what a run's noise derives from: the same run adds the same, and nobody knows
// it who does not know every owner's contribution.
func NoiseSeed(seed *keys.Secret, run wire.Digest) [32]byte {
	return seed.Derive("strongroom/noise-seed/v1", run[:])
}

// CommitTo is [Commitment] for those who have the salt and the plaintext's SHA-384.
func CommitTo(salt [32]byte, run wire.Digest, output wire.ID, digest wire.Digest) wire.Digest {
	return wire.SHA384("strongroom/commitment/v1", salt[:], run[:], []byte(output), digest[:])
}

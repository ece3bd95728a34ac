package proof

import (
	"fmt"
	"slices"

	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
)

// witnesses gives the agreement's shared ledgers.
func (v *verifier) witnesses() []ledger.Witness {
	out := make([]ledger.Witness, 0, len(v.out.Agreement.Ledgers.Witnesses))
	for _, w := range v.out.Agreement.Ledgers.Witnesses {
		out = append(out, ledger.Witness{Name: w.Name, Key: w.Key})
	}
	return out
}

func (v *verifier) quorum() int { return int(v.out.Agreement.Ledgers.Quorum) }

// checkRecords demands the run's record in as many of the agreement's shared ledgers as its
// quorum says, counting only those the verifier relies on.
func (v *verifier) checkRecords() error {
	if v.quorum() == 0 {
		return nil
	}
	found := map[string]bool{}
	for _, receipt := range v.bundle.Records {
		for _, w := range v.witnesses() {
			if !v.relies(w) {
				continue
			}
			if entry, _, err := receipt.Verify(w.Key, nil, 0); err == nil {
				if found[w.Key] {
					return invalid("proof.record", "one record from each ledger", fmt.Errorf("two from %s", w.Name))
				}
				if err := v.checkRecord(entry); err != nil {
					return err
				}
				found[w.Key] = true
				v.out.Checkpoints = append(v.out.Checkpoints, Checkpoint{w.Key, receipt.Checkpoint})
			}
		}
	}
	if len(found) < v.quorum() {
		return verdict.Refuse("proof.record", fmt.Sprintf("the run's record in %d shared ledgers you rely on", v.quorum()), fmt.Sprintf("%d", len(found)),
			"name the ledger's key with --ledger if you rely on it, else ask for a complete proof")
	}
	v.pass("proof.record", fmt.Sprintf("the run's record in %d shared ledgers", v.quorum()), fmt.Sprintf("%d", len(found)))
	return nil
}

func (v *verifier) relies(w ledger.Witness) bool {
	if v.own {
		return true
	}
	for _, own := range v.trust.Ledgers {
		if own.Key == w.Key {
			return true
		}
	}
	return false
}

func (v *verifier) checkRecord(entry ledger.Entry) error {
	var record Record
	doc, err := keys.ParseDocument(entry.Public, RecordType, &record)
	if err != nil || entry.Kind != "run" {
		return invalid("proof.record", "the record of a run", fmt.Errorf("a %s entry", entry.Kind))
	}
	if err := signedBy(doc, v.bundle.Room.Signing); err != nil {
		return invalid("proof.record", "a record signed by the room's key", err)
	}
	r := v.out.Result
	if record.Run != r.Run || record.RunID != r.RunID || record.Agreement != r.Agreement || record.Commitment != r.Commitment {
		return invalid("proof.record", "the record of this run", fmt.Errorf("the record of run %s", record.RunID))
	}
	statement, err := keys.ParseDocument(v.bundle.Result, ResultType, nil)
	if err != nil {
		return err
	}
	if !slices.Contains(record.Results, statement.Digest()) {
		return invalid("proof.record", "a record that names this result", fmt.Errorf("%d other results", len(record.Results)))
	}
	return nil
}

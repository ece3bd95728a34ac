package dcap

import (
	"fmt"
	"math/big"

	"strongroom.dev/endorse"
	"strongroom.dev/lineage"
)

// What each document is a version of: what it is about, and whose. Its evaluation number rises
// with every TCB recovery; of the same one, Intel issues it anew every few weeks.

func (t *TCBInfo) version(response []byte) lineage.Version {
	name := fmt.Sprintf("the TCB information for %s, FMSPC %X", t.ID, t.FMSPC)
	return endorse.NewVersion(endorse.IntelTCBInfo, name, t.dates(), response, []byte(t.ID), t.FMSPC[:], t.PCEID[:])
}

func (id *Identity) version(response []byte) lineage.Version {
	return endorse.NewVersion(endorse.IntelQEIdentity, "the identity of Intel's enclave "+id.ID, id.dates(), response, []byte(id.ID))
}

func (e *Evaluations) version(response []byte) lineage.Version {
	return endorse.NewVersion(endorse.IntelTCBEvaluation, "Intel's evaluation numbers for "+e.ID, endorse.Dates{Issued: e.Issued}, response, []byte(e.ID))
}

func (d dated) dates() endorse.Dates {
	return endorse.Dates{Issued: d.Issued, Until: d.NextUpdate, Number: big.NewInt(int64(d.Evaluation))}
}

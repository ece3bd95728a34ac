package endorse

import (
	"crypto/x509"
	"encoding/json"
	"math/big"
	"time"

	"golang.org/x/crypto/ocsp"
	"strongroom.dev/lineage"
)

// Dates say when an endorsement was made and until when its vendor means it to be used.
type Dates struct {
	// Issued and Until are zero for kinds that carry no date of their own: RIMs, statements,
	// policies, public keys.
	Issued, Until time.Time
	// Number rises with every newer version: a CRL's number, Intel's tcbEvaluationDataNumber; nil
	// if there is none.
	Number *big.Int
}

// Dates reads the endorsement's dates. It verifies nothing. What does not parse has none.
func (it Item) Dates() Dates {
	switch it.Kind {
	case X509Certificate:
		if c, err := x509.ParseCertificate(it.Data); err == nil {
			return Dates{Issued: c.NotBefore, Until: c.NotAfter}
		}
	case X509CRL:
		if l, err := x509.ParseRevocationList(it.Data); err == nil {
			return Dates{Issued: l.ThisUpdate, Until: l.NextUpdate, Number: l.Number}
		}
	case OCSPResponse:
		if r, err := ocsp.ParseResponse(it.Data, nil); err == nil {
			return Dates{Issued: r.ThisUpdate, Until: r.NextUpdate}
		}
	case IntelTCBInfo, IntelQEIdentity, IntelTCBEvaluation:
		return intelDates(it.Data)
	}
	return Dates{}
}

// intelDates reads the one signed member of Intel's documents (Intel PCS API version 4).
func intelDates(data []byte) Dates {
	type signed struct {
		Issued time.Time `json:"issueDate"`
		Until  time.Time `json:"nextUpdate"`
		Number *int64    `json:"tcbEvaluationDataNumber"`
	}
	var doc struct {
		TCBInfo     *signed `json:"tcbInfo"`
		Identity    *signed `json:"enclaveIdentity"`
		Evaluations *signed `json:"tcbEvaluationDataNumbers"`
	}
	if json.Unmarshal(data, &doc) != nil {
		return Dates{}
	}
	for _, s := range []*signed{doc.TCBInfo, doc.Identity, doc.Evaluations} {
		if s == nil {
			continue
		}
		d := Dates{Issued: s.Issued.UTC(), Until: s.Until.UTC()}
		if s.Number != nil {
			d.Number = big.NewInt(*s.Number)
		}
		return d
	}
	return Dates{}
}

// Current reports whether now is within the dates; without dates nothing says that it is not.
func (d Dates) Current(now time.Time) bool {
	return !now.Before(d.Issued) && (d.Until.IsZero() || !now.After(d.Until))
}

// Behind reports whether d is an older version than other: endorsements never go back in
// time. Vendors' numbers decide where both have one, else the time of issue.
func (d Dates) Behind(other Dates) bool {
	return lineage.Behind(d.Issued, d.Number, other.Issued, other.Number)
}

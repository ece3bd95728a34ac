package dcap

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Identity is Intel's description of one of its enclaves, version 2.
type Identity struct {
	dated
	MiscSelect, MiscSelectMask uint32
	Attributes, AttributesMask [16]byte
	MRSIGNER                   [32]byte
	ISVProdID                  uint16
	Levels                     []EnclaveLevel
}

type rawIdentity struct {
	ID             string            `json:"id"`
	Version        int               `json:"version"`
	IssueDate      string            `json:"issueDate"`
	NextUpdate     string            `json:"nextUpdate"`
	Evaluation     int               `json:"tcbEvaluationDataNumber"`
	MiscSelect     string            `json:"miscselect"`
	MiscSelectMask string            `json:"miscselectMask"`
	Attributes     string            `json:"attributes"`
	AttributesMask string            `json:"attributesMask"`
	MRSIGNER       string            `json:"mrsigner"`
	ISVProdID      *uint16           `json:"isvprodid"`
	Levels         []rawEnclaveLevel `json:"tcbLevels"`
}

// ParseIdentity reads Intel's response {"enclaveIdentity":{...},"signature":"..."}; verify
// tells whether the signature is good for the exact bytes served.
func ParseIdentity(response []byte, verify func(signed, signature []byte) bool) (*Identity, error) {
	body, signature, err := signed(response, "enclaveIdentity")
	if err != nil {
		return nil, err
	}
	if !verify(body, signature) {
		return nil, fmt.Errorf("not signed by Intel's TCB signing key")
	}
	if err := version(body, 2); err != nil {
		return nil, err
	}
	var raw rawIdentity
	if err := strict(body, &raw); err != nil {
		return nil, err
	}
	return raw.parse()
}

func (raw *rawIdentity) parse() (*Identity, error) {
	if raw.ISVProdID == nil {
		return nil, fmt.Errorf("no isvprodid")
	}
	id := &Identity{ISVProdID: *raw.ISVProdID}
	var err error
	if id.dated, err = parseDated(raw.ID, raw.IssueDate, raw.NextUpdate, raw.Evaluation); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		what, text string
		into       []byte
	}{
		{"attributes", raw.Attributes, id.Attributes[:]},
		{"attributesMask", raw.AttributesMask, id.AttributesMask[:]},
		{"mrsigner", raw.MRSIGNER, id.MRSIGNER[:]},
	} {
		b, err := hexOf(f.what, f.text, len(f.into))
		if err != nil {
			return nil, err
		}
		copy(f.into, b)
	}
	if id.MiscSelect, err = hex32("miscselect", raw.MiscSelect); err != nil {
		return nil, err
	}
	if id.MiscSelectMask, err = hex32("miscselectMask", raw.MiscSelectMask); err != nil {
		return nil, err
	}
	id.Levels, err = enclaveLevels(raw.Levels)
	if err == nil && len(id.Levels) == 0 {
		err = fmt.Errorf("no TCB levels")
	}
	return id, err
}

// hex32 reads MISCSELECT, which Intel writes as a big-endian number.
func hex32(what, text string) (uint32, error) {
	b, err := hexOf(what, text, 4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}

// mismatch says in what a report differs from the identity; "" if in nothing.
func (id *Identity) mismatch(e *EnclaveReport) string {
	if got := e.MiscSelect & id.MiscSelectMask; got != id.MiscSelect {
		return fmt.Sprintf("MISCSELECT %08x, expected %08x", got, id.MiscSelect)
	}
	masked := e.Attributes
	for i := range masked {
		masked[i] &= id.AttributesMask[i]
	}
	switch {
	case masked != id.Attributes:
		return fmt.Sprintf("ATTRIBUTES %x (masked), expected %x", masked, id.Attributes)
	case e.MRSIGNER != id.MRSIGNER:
		return fmt.Sprintf("MRSIGNER %x, expected %x", e.MRSIGNER, id.MRSIGNER)
	case e.ISVProdID != id.ISVProdID:
		return fmt.Sprintf("ISVPRODID %d, expected %d", e.ISVProdID, id.ISVProdID)
	}
	return ""
}

// match gives the first level that a security version reaches; levels are ordered by Intel,
// highest first.
func match(levels []EnclaveLevel, svn int) (EnclaveLevel, bool) {
	for _, l := range levels {
		if svn >= l.ISVSVN {
			return l, true
		}
	}
	return EnclaveLevel{Status: NotSupported}, false
}

// Evaluations is Intel's list of the tcbEvaluationDataNumbers it still serves, version 1.
type Evaluations struct {
	ID                 string
	Issued, NextUpdate time.Time
	// Numbers are ordered by Intel, newest first.
	Numbers []Evaluation
}

// Evaluation is one TCB recovery.
type Evaluation struct {
	Number         int
	Recovery, Date time.Time
}

type rawEvaluations struct {
	ID         string `json:"id"`
	Version    int    `json:"version"`
	IssueDate  string `json:"issueDate"`
	NextUpdate string `json:"nextUpdate"`
	Numbers    []struct {
		Number   int    `json:"tcbEvaluationDataNumber"`
		Recovery string `json:"tcbRecoveryEventDate"`
		Date     string `json:"tcbDate"`
	} `json:"tcbEvalNumbers"`
}

// ParseEvaluations reads Intel's response {"tcbEvaluationDataNumbers":{...},"signature":"..."};
// verify tells whether the signature is good for the exact bytes served.
func ParseEvaluations(response []byte, verify func(signed, signature []byte) bool) (*Evaluations, error) {
	body, signature, err := signed(response, "tcbEvaluationDataNumbers")
	if err != nil {
		return nil, err
	}
	if !verify(body, signature) {
		return nil, fmt.Errorf("not signed by Intel's TCB signing key")
	}
	if err := version(body, 1); err != nil {
		return nil, err
	}
	var raw rawEvaluations
	if err := strict(body, &raw); err != nil {
		return nil, err
	}
	return raw.parse()
}

func (raw *rawEvaluations) parse() (*Evaluations, error) {
	if len(raw.Numbers) == 0 || len(raw.Numbers) > MaxLevels {
		return nil, fmt.Errorf("%d numbers, expected 1 to %d", len(raw.Numbers), MaxLevels)
	}
	d, err := parseDated(raw.ID, raw.IssueDate, raw.NextUpdate, 1)
	if err != nil {
		return nil, err
	}
	list := &Evaluations{ID: raw.ID, Issued: d.Issued, NextUpdate: d.NextUpdate}
	for _, n := range raw.Numbers {
		e := Evaluation{Number: n.Number}
		if n.Number < 1 {
			return nil, fmt.Errorf("tcbEvaluationDataNumber %d, expected 1 or more", n.Number)
		}
		if e.Recovery, err = instant("tcbRecoveryEventDate", n.Recovery); err != nil {
			return nil, err
		}
		if e.Date, err = instant("tcbDate", n.Date); err != nil {
			return nil, err
		}
		list.Numbers = append(list.Numbers, e)
	}
	return list, nil
}

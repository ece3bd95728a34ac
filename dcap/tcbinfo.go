package dcap

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Component is one of the 16 numbers that a TCB level demands.
type Component struct {
	SVN            byte
	Category, Type string
}

// Level is one TCB level: what a platform must have at least, and what Intel says of it.
type Level struct {
	SGX, TDX   [16]Component
	PCESVN     uint16
	Date       time.Time
	Status     Status
	Advisories []string
}

// EnclaveLevel is one TCB level of a TDX module or a quoting enclave.
type EnclaveLevel struct {
	ISVSVN     int
	Date       time.Time
	Status     Status
	Advisories []string
}

// Module is an identity of Intel's TDX module.
type Module struct {
	ID         string // "TDX_03"; "" for the one without versions
	MRSIGNER   [48]byte
	Attributes [8]byte
	Levels     []EnclaveLevel
}

// TCBInfo is Intel's TCB information, version 3 (Intel PCS API version 4).
type TCBInfo struct {
	dated
	FMSPC [6]byte
	PCEID [2]byte
	// Module and Modules are there for TDX only.
	Module  Module
	Modules []Module
	// Levels are ordered by Intel, highest first.
	Levels []Level
}

type rawTCBInfo struct {
	ID         string      `json:"id"`
	Version    int         `json:"version"`
	IssueDate  string      `json:"issueDate"`
	NextUpdate string      `json:"nextUpdate"`
	FMSPC      string      `json:"fmspc"`
	PCEID      string      `json:"pceId"`
	TCBType    *int        `json:"tcbType"`
	Evaluation int         `json:"tcbEvaluationDataNumber"`
	Module     *rawModule  `json:"tdxModule"`
	Modules    []rawModule `json:"tdxModuleIdentities"`
	Levels     []rawLevel  `json:"tcbLevels"`
}

type rawModule struct {
	ID         string            `json:"id"`
	MRSIGNER   string            `json:"mrsigner"`
	Attributes string            `json:"attributes"`
	Mask       string            `json:"attributesMask"`
	Levels     []rawEnclaveLevel `json:"tcbLevels"`
}

type rawLevel struct {
	TCB struct {
		SGX    []rawComponent `json:"sgxtcbcomponents"`
		PCESVN *uint16        `json:"pcesvn"`
		TDX    []rawComponent `json:"tdxtcbcomponents"`
	} `json:"tcb"`
	Date       string   `json:"tcbDate"`
	Status     string   `json:"tcbStatus"`
	Advisories []string `json:"advisoryIDs"`
}

type rawComponent struct {
	SVN      *uint8 `json:"svn"`
	Category string `json:"category"`
	Type     string `json:"type"`
}

type rawEnclaveLevel struct {
	TCB struct {
		ISVSVN *uint16 `json:"isvsvn"`
	} `json:"tcb"`
	Date       string   `json:"tcbDate"`
	Status     string   `json:"tcbStatus"`
	Advisories []string `json:"advisoryIDs"`
}

// ParseTCBInfo reads Intel's response {"tcbInfo":{...},"signature":"..."}; verify tells
// whether the signature is good for the exact bytes served.
func ParseTCBInfo(response []byte, verify func(signed, signature []byte) bool) (*TCBInfo, error) {
	body, signature, err := signed(response, "tcbInfo")
	if err != nil {
		return nil, err
	}
	if !verify(body, signature) {
		return nil, fmt.Errorf("not signed by Intel's TCB signing key")
	}
	if err := version(body, 3); err != nil {
		return nil, err
	}
	var raw rawTCBInfo
	if err := strict(body, &raw); err != nil {
		return nil, err
	}
	return raw.parse()
}

func (raw *rawTCBInfo) parse() (*TCBInfo, error) {
	if raw.ID != "SGX" && raw.ID != "TDX" {
		return nil, fmt.Errorf("TCB information for %.40q, known are SGX and TDX", raw.ID)
	}
	if raw.TCBType == nil || *raw.TCBType != 0 {
		return nil, fmt.Errorf("unknown tcbType: levels are compared by type 0 only")
	}
	info := &TCBInfo{}
	var err error
	if info.dated, err = parseDated(raw.ID, raw.IssueDate, raw.NextUpdate, raw.Evaluation); err != nil {
		return nil, err
	}
	fmspc, err := hexOf("fmspc", raw.FMSPC, 6)
	if err != nil {
		return nil, err
	}
	pceid, err := hexOf("pceId", raw.PCEID, 2)
	if err != nil {
		return nil, err
	}
	info.FMSPC, info.PCEID = [6]byte(fmspc), [2]byte(pceid)
	if err := info.modules(raw); err != nil {
		return nil, err
	}
	if len(raw.Levels) == 0 || len(raw.Levels) > MaxLevels {
		return nil, fmt.Errorf("%d TCB levels, expected 1 to %d", len(raw.Levels), MaxLevels)
	}
	for i, l := range raw.Levels {
		level, err := l.parse(raw.ID == "TDX")
		if err != nil {
			return nil, fmt.Errorf("TCB level %d: %w", i+1, err)
		}
		info.Levels = append(info.Levels, level)
	}
	return info, nil
}

func parseDated(id, issued, next string, evaluation int) (d dated, err error) {
	d.ID, d.Evaluation = id, evaluation
	if evaluation < 1 {
		return d, fmt.Errorf("tcbEvaluationDataNumber %d, expected 1 or more", evaluation)
	}
	if d.Issued, err = instant("issueDate", issued); err != nil {
		return d, err
	}
	if d.NextUpdate, err = instant("nextUpdate", next); err != nil {
		return d, err
	}
	if d.NextUpdate.Before(d.Issued) {
		return d, fmt.Errorf("nextUpdate %s is before issueDate %s", next, issued)
	}
	return d, nil
}

func (info *TCBInfo) modules(raw *rawTCBInfo) error {
	if (raw.ID == "TDX") != (raw.Module != nil) || raw.ID != "TDX" && len(raw.Modules) > 0 || len(raw.Modules) > MaxModules {
		return fmt.Errorf("TCB information for %s with tdxModule: %t and %d module identities", raw.ID, raw.Module != nil, len(raw.Modules))
	}
	if raw.Module == nil {
		return nil
	}
	var err error
	if raw.Module.ID != "" || raw.Module.Levels != nil {
		return fmt.Errorf("tdxModule with an id or levels")
	}
	if info.Module, err = raw.Module.parse(); err != nil {
		return fmt.Errorf("tdxModule: %w", err)
	}
	seen := map[string]bool{}
	for _, m := range raw.Modules {
		module, err := m.parse()
		switch {
		case err != nil:
			return fmt.Errorf("TDX module identity %.40q: %w", m.ID, err)
		case module.ID == "" || seen[module.ID]:
			return fmt.Errorf("TDX module identity %.40q: no id, or twice", m.ID)
		case len(module.Levels) == 0:
			return fmt.Errorf("TDX module identity %.40q has no TCB levels", m.ID)
		}
		seen[module.ID] = true
		info.Modules = append(info.Modules, module)
	}
	return nil
}

func (raw *rawModule) parse() (m Module, err error) {
	m.ID = strings.ToUpper(raw.ID)
	signer, err := hexOf("mrsigner", raw.MRSIGNER, 48)
	if err != nil {
		return m, err
	}
	attributes, err := hexOf("attributes", raw.Attributes, 8)
	if err != nil {
		return m, err
	}
	// Intel's library compares the attributes whole, whatever the mask says; so do we.
	if _, err := hexOf("attributesMask", raw.Mask, 8); err != nil {
		return m, err
	}
	m.MRSIGNER, m.Attributes = [48]byte(signer), [8]byte(attributes)
	m.Levels, err = enclaveLevels(raw.Levels)
	return m, err
}

func (raw *rawLevel) parse(tdx bool) (l Level, err error) {
	if raw.TCB.PCESVN == nil {
		return l, fmt.Errorf("no pcesvn")
	}
	l.PCESVN = *raw.TCB.PCESVN
	if l.SGX, err = components("sgxtcbcomponents", raw.TCB.SGX); err != nil {
		return l, err
	}
	if tdx {
		if l.TDX, err = components("tdxtcbcomponents", raw.TCB.TDX); err != nil {
			return l, err
		}
	} else if raw.TCB.TDX != nil {
		return l, fmt.Errorf("tdxtcbcomponents in TCB information for SGX")
	}
	if l.Date, err = instant("tcbDate", raw.Date); err != nil {
		return l, err
	}
	if l.Status, err = platformStatus(raw.Status); err != nil {
		return l, err
	}
	l.Advisories, err = advisories(raw.Advisories)
	return l, err
}

func components(what string, raw []rawComponent) (c [16]Component, err error) {
	if len(raw) != len(c) {
		return c, fmt.Errorf("%d %s, expected %d", len(raw), what, len(c))
	}
	for i, r := range raw {
		if r.SVN == nil {
			return c, fmt.Errorf("%s %d has no svn", what, i+1)
		}
		c[i] = Component{*r.SVN, r.Category, r.Type}
	}
	return c, nil
}

func enclaveLevels(raw []rawEnclaveLevel) ([]EnclaveLevel, error) {
	if len(raw) > MaxLevels {
		return nil, fmt.Errorf("%d TCB levels, at most %d", len(raw), MaxLevels)
	}
	var levels []EnclaveLevel
	for i, r := range raw {
		l, err := r.parse()
		if err != nil {
			return nil, fmt.Errorf("TCB level %d: %w", i+1, err)
		}
		levels = append(levels, l)
	}
	return levels, nil
}

func (raw *rawEnclaveLevel) parse() (l EnclaveLevel, err error) {
	if raw.TCB.ISVSVN == nil {
		return l, fmt.Errorf("no isvsvn")
	}
	l.ISVSVN = int(*raw.TCB.ISVSVN)
	if l.Date, err = instant("tcbDate", raw.Date); err != nil {
		return l, err
	}
	if l.Status, err = enclaveStatus(raw.Status); err != nil {
		return l, err
	}
	l.Advisories, err = advisories(raw.Advisories)
	return l, err
}

func advisories(raw []string) ([]string, error) {
	if len(raw) > MaxAdvisories {
		return nil, fmt.Errorf("%d advisories, at most %d", len(raw), MaxAdvisories)
	}
	return raw, nil
}

// module gives the identity that judges a module of this major version.
func (info *TCBInfo) module(version byte) (Module, bool) {
	if version == 0 {
		return info.Module, true
	}
	id := "TDX_" + strings.ToUpper(hex.EncodeToString([]byte{version}))
	for _, m := range info.Modules {
		if m.ID == id {
			return m, true
		}
	}
	return Module{ID: id}, false
}

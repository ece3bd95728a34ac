package dcap

import (
	"fmt"
	"strings"
)

// tcb is what is known of a platform's TCB once it is compared with Intel's lists.
type tcb struct {
	info *TCBInfo
	// sgx is the first level that CPUSVN and PCESVN reach; level is the first that the TDX
	// components reach too (for SGX the same). nil if none does.
	sgx, level *Level
	// module is the TDX module's level, nil if it is judged with the platform or none matches.
	module       *EnclaveLevel
	moduleStatus Status
	identity     Module
}

// compare finds the levels of a platform, by Intel's algorithm (PCS API, "Get TCB info"):
// the first level of the list of which every number is reached.
func compare(info *TCBInfo, p PCK, td *TDReport) tcb {
	t := tcb{info: info}
	for i := range info.Levels {
		l := &info.Levels[i]
		if !l.sgxReached(p) {
			continue
		}
		if t.sgx == nil {
			t.sgx = l
		}
		if td == nil || l.tdxReached(td.TEETCBSVN) {
			t.level = l
			break
		}
	}
	if td != nil {
		t.compareModule(td)
	}
	return t
}

func (l *Level) sgxReached(p PCK) bool {
	for i, c := range l.SGX {
		if p.Components[i] < c.SVN {
			return false
		}
	}
	return p.PCESVN >= l.PCESVN
}

// tdxReached compares TEE_TCB_SVN. From major version 1 on, numbers 0 and 1 are the module's
// own, judged by its identity.
func (l *Level) tdxReached(svn [16]byte) bool {
	for i := firstOf(svn); i < len(svn); i++ {
		if svn[i] < l.TDX[i].SVN {
			return false
		}
	}
	return true
}

func firstOf(svn [16]byte) int {
	if svn[1] > 0 {
		return 2
	}
	return 0
}

func (t *tcb) compareModule(td *TDReport) {
	version := td.TEETCBSVN[1]
	found := false
	if t.identity, found = t.info.module(version); !found {
		t.moduleStatus = NotSupported
		return
	}
	if version == 0 {
		return
	}
	level, _ := match(t.identity.Levels, int(td.TEETCBSVN[0]))
	t.moduleStatus = level.Status
	if level.Status != NotSupported {
		t.module = &level
	}
}

// platform gives the status of the platform's own level.
func (t *tcb) platform() Status {
	if t.level == nil {
		return NotSupported
	}
	return t.level.Status
}

// converged puts platform, module and quoting enclave together, as Intel's quote
// verification library does (checkTcbLevel, checkForRelaunch).
func (t *tcb) converged(td *TDReport, qe Status) Status {
	s := converge(t.platform(), t.moduleStatus)
	if td != nil && td.Newer && t.relaunch(td, s, qe) {
		s = RelaunchAdvised
		if t.sgx.Status.configuration() || t.level.Status.configuration() {
			s = RelaunchAdvisedConfigurationNeeded
		}
	}
	return converge(s, qe)
}

// relaunch reports whether all that is out of date is the module that the TD was launched
// under, while the one now loaded (TEE_TCB_SVN2) is the latest.
func (t *tcb) relaunch(td *TDReport, s, qe Status) bool {
	outOfDate := s == OutOfDate || s == OutOfDateConfigurationNeeded
	good := t.sgx != nil && (t.sgx.Status.Good() || t.sgx.Status.Tolerable())
	if !outOfDate || !good || t.moduleStatus != OutOfDate || qe != UpToDate {
		return false
	}
	latest, now := t.info.Levels[0], td.TEETCBSVN2
	if now[2] < latest.TDX[2].SVN {
		return false
	}
	if now[1] == 0 {
		return now[0] >= latest.TDX[0].SVN
	}
	loaded, found := t.info.module(now[1])
	return found && int(now[0]) >= loaded.Levels[0].ISVSVN
}

// target is the level that the platform should reach: the newest that is good, else the
// newest that is tolerable.
func (t *tcb) target() *Level {
	var tolerable *Level
	for i := range t.info.Levels {
		switch l := &t.info.Levels[i]; {
		case l.Status.Good():
			return l
		case l.Status.Tolerable() && tolerable == nil:
			tolerable = l
		}
	}
	return tolerable
}

// shortfall lists what the platform lacks of a level, number by number.
func (l *Level) shortfall(p PCK, td *TDReport) []string {
	var lacks []string
	for i, c := range l.SGX {
		if p.Components[i] < c.SVN {
			lacks = append(lacks, fmt.Sprintf("SGX component %d%s %d, needs %d", i+1, c.words(), p.Components[i], c.SVN))
		}
	}
	if p.PCESVN < l.PCESVN {
		lacks = append(lacks, fmt.Sprintf("PCESVN %d, needs %d", p.PCESVN, l.PCESVN))
	}
	if td == nil {
		return lacks
	}
	for i := firstOf(td.TEETCBSVN); i < len(l.TDX); i++ {
		if c := l.TDX[i]; td.TEETCBSVN[i] < c.SVN {
			lacks = append(lacks, fmt.Sprintf("TDX component %d%s %d, needs %d", i+1, c.words(), td.TEETCBSVN[i], c.SVN))
		}
	}
	return lacks
}

// words names a component as Intel does, if it has a name.
func (c Component) words() string {
	if text := strings.Trim(c.Category+", "+c.Type, ", "); text != "" {
		return " (" + text + ")"
	}
	return ""
}

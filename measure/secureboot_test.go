package measure_test

import (
	"bytes"
	"strings"
	"testing"

	"strongroom.dev/measure"
)

// logged is an event as it was measured, and as the log has it.
type logged struct {
	t              measure.Type
	measured, said []byte
}

func honest(t measure.Type, data []byte) logged { return logged{t, data, data} }

// relabelled is an event whose type and data the log lies about; the digest is left.
func relabelled(e logged) logged { return logged{measure.EventTag, e.measured, []byte("x")} }

func logOf(t testing.TB, register uint32, events ...logged) *measure.Log {
	t.Helper()
	data := header(sha256Only)
	for _, e := range events {
		data = append(data, agile(register, e.t, of(e.measured, measure.SHA256), e.said)...)
	}
	l, err := measure.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var (
	saysOn    = honest(measure.EFIVariableDriverConfig, variable("SecureBoot", []byte{1}))
	saysOff   = honest(measure.EFIVariableDriverConfig, variable("SecureBoot", []byte{0}))
	saysNone  = honest(measure.EFIVariableDriverConfig, variable("SecureBoot", nil))
	otherKey  = honest(measure.EFIVariableDriverConfig, variable("PK", []byte{1}))
	zeros     = honest(measure.Separator, make([]byte, 4))
	ones      = honest(measure.Separator, []byte{0xff, 0xff, 0xff, 0xff})
	failure   = honest(measure.Separator, []byte{1, 0, 0, 0})
	handOff   = logged{measure.EFIHandoffTables2, []byte("blocks"), []byte("x")}
	debugMode = honest(measure.EFIAction, []byte("UEFI Debug Mode"))
)

// TestSecureBootRelabelled forges Secure Boot: what booted extends the register with events
// like the firmware's, and the log gives the firmware's own other types and data.
func TestSecureBootRelabelled(t *testing.T) {
	const on, off, unknown = measure.SecureBootOn, measure.SecureBootOff, measure.SecureBootUnknown
	list := func(events ...logged) []logged { return events }
	for name, c := range map[string]struct {
		events      []logged
		pcrs, rtmrs measure.SecureBoot
	}{
		"the firmware's events hidden":              {list(relabelled(saysOff), relabelled(zeros), saysOn, zeros), unknown, unknown},
		"with a separator of ones":                  {list(relabelled(saysOff), relabelled(ones), saysOn, ones), unknown, unknown},
		"with a separator that reports an error":    {list(relabelled(saysOff), relabelled(failure), saysOn, zeros), unknown, unknown},
		"other firmware's separator, in RTMR 0":     {list(handOff, relabelled(zeros), saysOn, zeros), unknown, unknown},
		"no separator of the firmware's":            {list(relabelled(saysOff), saysOn, zeros), unknown, unknown},
		"no value, and no separator":                {list(relabelled(saysNone), saysOn, zeros), unknown, unknown},
		"off hidden behind on":                      {list(saysOn, relabelled(saysOff), zeros), unknown, unknown},
		"the separator alone hidden":                {list(saysOff, relabelled(zeros), saysOn, zeros), unknown, unknown},
		"something else called a separator":         {list(saysOn, logged{measure.Separator, []byte("x"), make([]byte, 4)}, zeros), unknown, unknown},
		"the error called a separator":              {list(saysOn, logged{measure.Separator, []byte{1, 0, 0, 0}, make([]byte, 4)}, zeros), unknown, unknown},
		"an error of the firmware's":                {list(saysOn, failure), unknown, unknown},
		"on, in debug mode":                         {list(debugMode, saysOn, zeros), unknown, on},
		"on, behind what comes first in RTMR 0":     {list(handOff, saysOn, otherKey, zeros), unknown, on},
		"on, behind another variable":               {list(otherKey, saysOn, zeros), unknown, on},
		"on":                                        {list(saysOn, otherKey, zeros, zeros), on, on},
		"on, with a separator of ones":              {list(saysOn, otherKey, ones), on, on},
		"on, the separator hidden without any need": {list(saysOn, otherKey, relabelled(zeros)), on, on},
		"off": {list(saysOff, otherKey, zeros), off, off},
	} {
		if got := logOf(t, 7, c.events...).SecureBoot(measure.PCRs, measure.SHA256); got != c.pcrs {
			t.Errorf("%s: PCR 7 %s, expected %s", name, got, c.pcrs)
		}
		if got := logOf(t, 1, c.events...).SecureBoot(measure.RTMRs, measure.SHA256); got != c.rtmrs {
			t.Errorf("%s: RTMR 0 %s, expected %s", name, got, c.rtmrs)
		}
	}
	told, lie := logOf(t, 7, saysOff, zeros, saysOn, zeros), logOf(t, 7, relabelled(saysOff), relabelled(zeros), saysOn, zeros)
	a, _ := told.Replay(measure.PCRs, measure.SHA256)
	b, err := lie.Replay(measure.PCRs, measure.SHA256)
	if err != nil || !bytes.Equal(a[7], b[7]) {
		t.Errorf("a log with other types replays differently: %x %x %v", a[7], b[7], err)
	}
}

// TestExplainRelabelled points out what looks like the firmware's own word and isn't.
func TestExplainRelabelled(t *testing.T) {
	all := logOf(t, 7, relabelled(saysOff), relabelled(zeros), saysOn, zeros).Explain(measure.PCRs, measure.SHA256)
	if !strings.Contains(all[1].Text, "separator") || all[1].Cover != measure.Mismatch {
		t.Errorf("separator under another name: %+v", all[1])
	}
	if !strings.HasPrefix(all[2].Text, "not the firmware's own word") {
		t.Errorf("a variable behind the separator: %+v", all[2])
	}
	all = logOf(t, 7, saysOn, otherKey, zeros, zeros).Explain(measure.PCRs, measure.SHA256)
	for i, x := range all {
		if x.Cover != measure.Whole || strings.Contains(x.Text, "own word") {
			t.Errorf("event %d of an honest log: %+v", i+1, x)
		}
	}
	denied := measure.Event{Type: measure.Separator, Digests: of([]byte{1, 0, 0, 0}, measure.SHA256), Data: make([]byte, 4)}
	if c := denied.Cover(measure.SHA256); c != measure.Mismatch {
		t.Errorf("an error that the log denies: %s", c)
	}
}

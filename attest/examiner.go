package attest

import (
	"fmt"
	"strings"
	"time"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Examiner says everything there is to say about one kind of evidence, for people and for
// appraisal. Relying parties that release something use a [Platform].
type Examiner struct {
	Name wire.ID
	// Detect reports whether data looks like this kind of evidence, in any form.
	Detect func(data []byte) bool
	// Examine gives an error of kind Invalid for what is not genuine evidence of this kind.
	Examine func(evidence []byte, now time.Time) (Finding, error)
}

// Recognise finds the one examiner for evidence of unknown kind: the one it names, if it is
// [Evidence] in JSON, else the first that detects its form. It gives the platform's own bytes.
func Recognise(examiners []Examiner, data []byte) (Examiner, []byte, error) {
	var names []string
	for _, x := range examiners {
		names = append(names, string(x.Name))
	}
	const fix = "name the file that holds the evidence itself; --help lists the forms"
	expected := "evidence of one of these platforms: " + strings.Join(names, ", ")
	if len(data) == 0 || len(data) > MaxEvidence {
		return Examiner{}, nil, verdict.NotGenuine("evidence.form", expected, fmt.Sprintf("%d bytes", len(data)), fix)
	}
	if e, ok := enveloped(data); ok {
		for _, x := range examiners {
			if x.Name == e.Platform {
				return x, e.Evidence, nil
			}
		}
		return Examiner{}, nil, verdict.NotGenuine("evidence.platform", expected, verdict.Short(string(e.Platform)), fix)
	}
	for _, x := range examiners {
		if x.Detect != nil && x.Detect(data) {
			return x, data, nil
		}
	}
	return Examiner{}, nil, verdict.NotGenuine("evidence.form", expected, "a form that none of them knows", fix)
}

// enveloped reads our own form of evidence, exactly two members.
func enveloped(data []byte) (Evidence, bool) {
	var e Evidence
	canonical, err := wire.Canonical(data)
	if err == nil {
		err = wire.Unmarshal(canonical, &e)
	}
	return e, err == nil && e.Platform.Valid() && len(e.Evidence) > 0
}

package appraise

import (
	"fmt"
	"slices"
	"strings"

	"strongroom.dev/attest"
	"strongroom.dev/verdict"
)

// Letter says what a result means in plain sentences, the way an expert would write it to
// somebody who must decide. It is made from the result's own checks and nothing else.
func (r Result) Letter() string {
	var l letter
	l.line("%s", opening(r))
	if r.Class != "" && r.verified() {
		l.line("This is evidence of platform %s, of class %s.%s", r.Platform, r.Class, whom(r))
	}
	if r.Machine != "" || r.Generation != "" {
		l.line("%s", strings.TrimSpace("The machine"+unless(r.Generation, " is of generation ")+unless(r.Machine, join(r.Generation, " and names itself ", " names itself "))+"."))
	}
	if failed := r.Failed(); len(failed) > 0 {
		l.line("")
		l.line("What forbids trust:")
		for _, c := range failed {
			l.line("  - %s: I expected %s; I found %s. %s", c.ID, c.Expected, c.Got, mend(c.Fix))
		}
	}
	if warned := r.warned(); len(warned) > 0 {
		l.line("")
		l.line("What you should weigh:")
		for _, c := range warned {
			l.line("  - %s: I looked for %s; I found %s.", c.ID, c.Expected, c.Got)
		}
	}
	if passed := r.passed(); len(passed) > 0 {
		l.line("")
		l.line("What I checked and found in order:")
		for _, c := range passed {
			l.line("  - %s: %s: %s.", c.ID, c.Expected, c.Got)
		}
	}
	l.line("")
	l.line("%s", closing(r))
	return l.String()
}

type letter struct{ strings.Builder }

// line adds a line. What evidence or policies say in it can't make lines of its own.
func (l *letter) line(text string, args ...any) {
	l.WriteString(verdict.Printable(fmt.Sprintf(text, args...)) + "\n")
}

func opening(r Result) string {
	switch r.Verdict {
	case attest.Affirming:
		return "You may trust this evidence for what it says, as of " + r.At.String() + "."
	case attest.Warning:
		return "This evidence is genuine, and nothing forbids trusting it as of " + r.At.String() + "; read the warnings before you do."
	}
	switch {
	case r.Class == "":
		return "Do not trust this: it is not genuine evidence."
	case !r.verified():
		return "Do not trust this as of " + r.At.String() + ": I can't tell whether it is genuine, since what is needed to verify it is missing."
	}
	return "Do not trust this evidence as of " + r.At.String() + ". What is signed in it verifies, but the following forbids relying on it."
}

// verified reports whether signatures in the evidence were verified at all.
func (r Result) verified() bool { return len(r.Claims)+len(r.Measurements) > 0 }

func whom(r Result) string {
	var b strings.Builder
	if len(r.Excludes) > 0 {
		b.WriteString(" It keeps out: " + strings.Join(r.Excludes, "; ") + ".")
	} else {
		b.WriteString(" It keeps nobody out.")
	}
	if len(r.Trusts) > 0 {
		b.WriteString(" It makes you trust: " + strings.Join(r.Trusts, "; ") + ".")
	}
	return b.String()
}

func closing(r Result) string {
	if r.Policy == nil {
		return "No appraisal policy was given: I judged by the platform's own rules alone, not by which code is measured."
	}
	return fmt.Sprintf("Judged by policy %s, version %d (%s).", r.Policy.ID, r.Policy.Version, r.Policy.Digest.Short())
}

func mend(fix string) string {
	if fix == "" {
		return ""
	}
	return "To mend it: " + fix + "."
}

func unless(value, before string) string {
	if value == "" {
		return ""
	}
	return before + value
}

func join(other, with, without string) string {
	if other == "" {
		return without
	}
	return with
}

func (r Result) warned() []verdict.Check {
	return r.those(func(c verdict.Check) bool { return c.OK && slices.Contains(r.Warnings, c.ID) })
}

func (r Result) passed() []verdict.Check {
	return r.those(func(c verdict.Check) bool { return c.OK && !slices.Contains(r.Warnings, c.ID) })
}

func (r Result) those(which func(verdict.Check) bool) []verdict.Check {
	var some []verdict.Check
	for _, c := range r.Checks {
		if which(c) {
			some = append(some, c)
		}
	}
	return some
}

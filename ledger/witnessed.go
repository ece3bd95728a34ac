package ledger

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Witnessed is what a witness says it knows of a log: the latest checkpoint it cosigned, or
// that it never saw one. It answers one question, named by a nonce, so that an old answer
// can't be shown to a log that was set back (R15).
type Witnessed struct {
	Origin string
	// Known is false if the witness never cosigned a checkpoint of the log; then Size and
	// Root are zero.
	Known bool
	Size  int64
	Root  wire.Hash
	// Time is the witness's, to the second.
	Time time.Time
}

const witnessedFormat = statementPrefix + "witnessed/v1"

// witnessedLines are the lines of a statement, the last newline aside.
const witnessedLines = 6

// text gives the note text of the statement (spec/ledger.md, section 7).
func (w Witnessed) text(nonce wire.Hash) string {
	size, root := "none", "none"
	if w.Known {
		size, root = strconv.FormatInt(w.Size, 10), base64.StdEncoding.EncodeToString(w.Root[:])
	}
	return fmt.Sprintf("%s\n%s\n%d\n%s\n%s\n%s\n", witnessedFormat, base64.StdEncoding.EncodeToString(nonce[:]), w.Time.Unix(), w.Origin, size, root)
}

// SignWitnessed answers the question named by nonce. latest is nil if the witness never
// cosigned a checkpoint of the log.
func (s *Signer) SignWitnessed(nonce wire.Hash, origin string, latest *Checkpoint, now time.Time) (string, error) {
	if err := checkOrigin(origin); err != nil {
		return "", err
	}
	w := Witnessed{Origin: origin, Time: now}
	if latest != nil {
		w.Known, w.Size, w.Root = true, latest.Size, latest.Root
	}
	text := w.text(nonce)
	return text + "\n" + s.sign(text), nil
}

// OpenWitnessed checks a witness's answer to the question that nonce names, with the
// witness's verifier key. The error is a [verdict.Error] of kind Invalid.
func OpenWitnessed(signed, witness string, nonce wire.Hash, origin string) (Witnessed, error) {
	key, err := parseVerifier(witness)
	if err != nil {
		return Witnessed{}, badKey(err)
	}
	key.algorithm = algEd25519 // statements are signed like a log's own notes
	verifier, err := key.log()
	if err != nil {
		return Witnessed{}, badKey(err)
	}
	text, by, err := verified(signed, verifier)
	if err == nil && len(by) != 1 {
		err = fmt.Errorf("no signature by its key")
	}
	var w Witnessed
	if err == nil {
		w, err = parseWitnessed(text)
	}
	if err == nil && (w.Origin != origin || text != w.text(nonce)) {
		err = fmt.Errorf("the answer to another question")
	}
	if err != nil {
		return Witnessed{}, &verdict.Error{Kind: verdict.Invalid, Check: "ledger.witnessed", Expected: "the answer of " + key.name + " about " + origin,
			Got: verdict.Short(err.Error()), Fix: "something on the way to the shared ledger changes answers; ask again", Err: err}
	}
	return w, nil
}

func parseWitnessed(text string) (w Witnessed, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != witnessedLines+1 || lines[0] != witnessedFormat {
		return w, fmt.Errorf("not a statement %s", witnessedFormat)
	}
	seconds, err := strconv.ParseInt(lines[2], 10, 64)
	if err != nil || seconds < 1 || seconds > maxSeconds {
		return w, fmt.Errorf("time %.30q", lines[2])
	}
	w.Time = time.Unix(seconds, 0).UTC()
	if w.Origin = lines[3]; lines[4] == "none" && lines[5] == "none" {
		return w, checkOrigin(w.Origin)
	}
	c, err := parseText(strings.Join(lines[3:], "\n"))
	w.Known, w.Size, w.Root = true, c.Size, c.Root
	return w, err
}

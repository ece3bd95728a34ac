package proof

import (
	"fmt"
	"slices"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// LogsType is the type of the room's statement about a piece of a container's logs.
const LogsType = "strongroom/logs/v1"

// Logs is the room's statement about one sealed piece of what its container printed, a
// document of type LogsType signed by the room's signing key. Anybody can seal a file to a
// receiver: this says that the room did, which piece it is, and whether it is the last.
type Logs struct {
	Agreement wire.Digest `json:"agreement"`
	Run       wire.Digest `json:"run"`
	RunID     string      `json:"run_id"`
	Receiver  wire.ID     `json:"receiver"` // party id in the agreement
	Number    int64       `json:"number"`   // of the piece, from 1 without holes
	// Last: the run printed no more. A run whose room died has no last piece.
	Last bool `json:"last"`
	// Dropped is how many bytes were beyond the agreement's bound, so far, rounded up to a power
	// of two.
	Dropped int64     `json:"dropped"`
	File    wire.Hash `json:"file"`    // SHA-256 of the sealed file
	Size    int64     `json:"size"`    // of the sealed file, bytes
	TimeMS  int64     `json:"time_ms"` // the room's time
}

// IsLogs reports whether the bundle is about logs: its statement says so. Which of [Verify] and
// [VerifyLogs] accepts it follows from that.
func (b *Bundle) IsLogs() bool {
	_, err := keys.ParseDocument(b.Result, LogsType, nil)
	return err == nil
}

// VerifyLogs checks a bundle about a piece of logs with the verifier's own trust, as [Verify]
// does one about a result, but for what only results have: the owners' brokers are not asked
// about logs, and no ledger has a record of them. The agreement lets them out.
func VerifyLogs(b *Bundle, trust Trust, now time.Time) (*Proven, error) {
	v := &verifier{trust: trust, bundle: b, now: now}
	return v.verify(v.readAgreement, v.readLogs, v.checkAgreement, v.checkTrust, v.checkRun, v.checkStatements, v.checkReleases, v.checkLogs)
}

// readLogs reads the room's statement; the room is believed only once its evidence is checked.
func (v *verifier) readLogs() error {
	logs := new(Logs)
	doc, err := keys.ParseDocument(v.bundle.Result, LogsType, logs)
	if err != nil {
		return invalid("proof.logs", "a well-formed statement about logs", err)
	}
	if err := signedBy(doc, v.bundle.Room.Signing); err != nil {
		return invalid("proof.logs", "a statement signed by the room's key", err)
	}
	if n := len(v.bundle.Lives) + len(v.bundle.Consistency) + len(v.bundle.Records); n > 0 {
		return invalid("proof.logs", "nothing but what logs have", fmt.Errorf("%d members that only results have", n))
	}
	v.at = time.UnixMilli(logs.TimeMS).UTC()
	if v.at.After(v.now.Add(maxSkew)) {
		return invalid("proof.time", "a piece of logs from the past", fmt.Errorf("%s", v.at.Format(time.RFC3339)))
	}
	v.out.Time, v.out.Logs = v.at, logs
	return nil
}

func (v *verifier) checkLogs() error {
	l := v.out.Logs
	work, _ := v.out.Agreement.WorkByName(v.out.Run.Work)
	if l.Agreement != v.out.Agreement.Digest() || l.Run != v.out.Run.Digest() || l.RunID != v.out.Run.RunID {
		return invalid("proof.logs", "a statement about this agreement and run", fmt.Errorf("run %s", l.RunID))
	}
	if !letsOut(work, l.Receiver) || l.Number < 1 {
		return invalid("proof.logs", "a receiver of the logs of "+string(work.Name), fmt.Errorf("piece %d for %s", l.Number, l.Receiver))
	}
	v.pass("proof.logs", "the room's own statement about this file", l.File)
	return nil
}

func letsOut(w agreement.Work, receiver wire.ID) bool {
	return w.Container != nil && slices.Contains(w.Container.Logs.Receivers, receiver)
}

// fileOf gives hash and size of the file that was proven.
func (p *Proven) fileOf() (wire.Hash, int64, error) {
	switch {
	case p.Agreement == nil || p.Logs == nil && p.Result.File.IsZero():
		return wire.Hash{}, 0, verdict.NotGenuine("result.proof", "a proven result", "none", "verify the proof first")
	case p.Logs != nil:
		return p.Logs.File, p.Logs.Size, nil
	}
	return p.Result.File, p.Result.Size, nil
}

package ledger

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Paths of a shared ledger's HTTP interface (spec/ledger.md, section 8). Besides these it
// serves C2SP tlog-tiles (/checkpoint and /tile/...) and C2SP tlog-witness (/add-checkpoint).
const (
	PathEntries       = "/v1/entries"        // POST an entry's bytes: Receipt
	PathReceipt       = "/v1/receipt"        // GET, ?index=N: Receipt
	PathRecord        = "/v1/record"         // GET, ?room=ID of a room's signing key: Receipt of its record
	PathConsistency   = "/v1/consistency"    // GET, ?from=N&to=M: Consistency
	PathCheckpoint    = "/v1/checkpoint"     // GET: the signed note
	PathAddCheckpoint = "/v1/add-checkpoint" // POST AddCheckpoint: Cosigned; 409: Conflict
	PathWitnessed     = "/v1/witnessed"      // POST WitnessedRequest: WitnessedAnswer; GET, ?origin=NAME: the cosigned note
	PathLedgerStatus  = "/v1/status"         // GET: Status
)

const (
	// MaxRequest is the most bytes of a request but for entries: a checkpoint, escaped as
	// JSON, and a proof.
	MaxRequest = 2*MaxNote + 128*MaxProof
	// MaxAnswer is the most bytes of an answer: a receipt with the largest entry in base64.
	MaxAnswer = 2*MaxEntry + MaxRequest
)

// AddCheckpoint asks a witness to cosign a log's checkpoint.
type AddCheckpoint struct {
	// Key is the log's verifier key. A witness that was told the log's key ignores it; one
	// that takes anybody's log pins it for good.
	Key string `json:"key"`
	// Old is the size of the checkpoint that the witness cosigned last, 0 if none.
	Old int64 `json:"old"`
	// Proof shows that the checkpoint extends the tree of size Old.
	Proof      []wire.Hash `json:"proof"`
	Checkpoint string      `json:"checkpoint"`
}

// Cosigned is the answer to [AddCheckpoint]: the witness's signature line.
type Cosigned struct {
	Cosignature string `json:"cosignature"`
}

// WitnessedRequest asks what a witness cosigned last of a log.
type WitnessedRequest struct {
	Origin string `json:"origin"`
	// Nonce is fresh; the signed answer names it.
	Nonce wire.Hash `json:"nonce"`
}

// WitnessedAnswer is the checkpoint that the witness cosigned last, with the log's signature
// and the witness's, or "" if there is none, and its signed statement; see [OpenWitnessed].
type WitnessedAnswer struct {
	Checkpoint string `json:"checkpoint"`
	Statement  string `json:"statement"`
}

// Consistency is a consistency proof.
type Consistency struct {
	Proof []wire.Hash `json:"proof"`
}

// Status is what a shared ledger tells anyone about itself. Nothing of it is signed.
type Status struct {
	Key       string `json:"key"`
	Size      int64  `json:"size"`
	Witnessed int64  `json:"witnessed"` // logs it has cosigned checkpoints of
	// AnyLog is set if it takes logs that its operator did not name, pinning the key that
	// comes first.
	AnyLog bool `json:"any_log"`
}

// ParseAddCheckpoint reads the body of C2SP tlog-witness's add-checkpoint: a line "old N",
// the proof's hashes, one a line, an empty line, and the checkpoint. The error is a
// [verdict.Error] of kind Usage.
func ParseAddCheckpoint(body string) (a AddCheckpoint, err error) {
	head, note, found := strings.Cut(body, "\n\n")
	lines := strings.Split(head, "\n")
	digits, old := strings.CutPrefix(lines[0], "old ")
	if !found || !old || len(body) > MaxRequest || len(lines) > 1+MaxProof {
		return a, malformedRequest(fmt.Errorf("%.60q", lines[0]))
	}
	if a.Old, err = strconv.ParseInt(digits, 10, 64); err != nil || a.Old < 0 || strconv.FormatInt(a.Old, 10) != digits {
		return a, malformedRequest(fmt.Errorf("old size %.30q", digits))
	}
	a.Proof = []wire.Hash{}
	for _, line := range lines[1:] {
		raw, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(raw) != len(wire.Hash{}) {
			return a, malformedRequest(fmt.Errorf("proof line %.60q", line))
		}
		a.Proof = append(a.Proof, wire.Hash(raw))
	}
	a.Checkpoint = note
	return a, nil
}

// Text gives the request as C2SP tlog-witness wants it.
func (a AddCheckpoint) Text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "old %d\n", a.Old)
	for _, h := range a.Proof {
		out.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	out.WriteString("\n" + a.Checkpoint)
	return out.String()
}

func malformedRequest(err error) error {
	return &verdict.Error{Kind: verdict.Usage, Check: "ledger.request", Expected: "old N, proof lines, an empty line, a checkpoint", Got: verdict.Short(err.Error()),
		Fix: "see C2SP tlog-witness", Err: err}
}

package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Ledger speaks to a shared ledger: what it records, and what it witnesses of other logs.
// Every answer is checked with the ledger's key. It keeps nothing: that a log only grows is
// for its caller to check against what was seen before; see [Seen].
type Ledger struct {
	URL string // such as http://host:7500
	Key string // the ledger's verifier key
	// LogKey is the verifier key of the log that is to be cosigned. It is needed where the
	// ledger takes anybody's log and has not seen this one yet; optional elsewhere. Where it is
	// set, a checkpoint that this key did not sign is refused.
	LogKey string
	// HTTP makes the exchanges; nil makes a client for each.
	HTTP *http.Client
}

// NewLedger gives a client of the ledger at a URL with its verifier key; h nil makes one
// HTTP client for each exchange.
func NewLedger(url, key string, h *http.Client) *Ledger { return &Ledger{URL: url, Key: key, HTTP: h} }

func (l *Ledger) endpoint() endpoint { return endpoint{l.URL, l.HTTP} }

// Submit records an entry and gives its receipt, verified.
func (l *Ledger) Submit(ctx context.Context, entry []byte) (r ledger.Receipt, err error) {
	data, err := l.endpoint().do(ctx, http.MethodPost, ledger.PathEntries, "application/json", entry, ledger.MaxAnswer)
	if err != nil {
		return r, err
	}
	if err := l.endpoint().decode(ledger.PathEntries, data, &r); err != nil {
		return r, err
	}
	if _, _, err := r.Verify(l.Key, nil, 0); err != nil {
		return ledger.Receipt{}, err
	}
	if !bytes.Equal(r.Entry, entry) {
		return ledger.Receipt{}, verdict.NotGenuine("ledger.receipt", "a receipt of the entry that was sent", "one of another", "do not rely on this ledger")
	}
	return r, nil
}

// Receipt gives the receipt of the entry at an index, verified.
func (l *Ledger) Receipt(ctx context.Context, index int64) (r ledger.Receipt, err error) {
	if err := l.endpoint().get(ctx, fmt.Sprintf("%s?index=%d", ledger.PathReceipt, index), &r, ledger.MaxAnswer); err != nil {
		return r, err
	}
	if _, _, err := r.Verify(l.Key, nil, 0); err != nil {
		return ledger.Receipt{}, err
	}
	if r.Index != index {
		return ledger.Receipt{}, verdict.NotGenuine("ledger.receipt", fmt.Sprintf("a receipt of entry %d", index), fmt.Sprintf("one of entry %d", r.Index), "do not rely on this ledger")
	}
	return r, nil
}

// Record gives the receipt of the record that a room entered, by its signing key. Receipt and
// entry are verified to be in the ledger; whose record it is, is for the caller to check.
func (l *Ledger) Record(ctx context.Context, room keys.KeyID) (r ledger.Receipt, err error) {
	if err := l.endpoint().get(ctx, ledger.PathRecord+"?room="+url.QueryEscape(room.String()), &r, ledger.MaxAnswer); err != nil {
		return r, err
	}
	_, _, err = r.Verify(l.Key, nil, 0)
	return r, err
}

// Checkpoint gives the ledger's own checkpoint, its signature verified. It may be an old one:
// see [Seen].
func (l *Ledger) Checkpoint(ctx context.Context) (ledger.Checkpoint, error) {
	data, err := l.endpoint().do(ctx, http.MethodGet, ledger.PathCheckpoint, "", nil, ledger.MaxNote)
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	return ledger.OpenCheckpoint(string(data), l.Key)
}

// Consistency gives the ledger's proof about its own log, unchecked: see
// [ledger.CheckConsistency].
func (l *Ledger) Consistency(ctx context.Context, from, to int64) ([]wire.Hash, error) {
	var c ledger.Consistency
	err := l.endpoint().get(ctx, fmt.Sprintf("%s?from=%d&to=%d", ledger.PathConsistency, from, to), &c, ledger.MaxAnswer)
	return c.Proof, err
}

// Status gives what the ledger tells anyone. Nothing of it is signed.
func (l *Ledger) Status(ctx context.Context) (s ledger.Status, err error) {
	err = l.endpoint().get(ctx, ledger.PathLedgerStatus, &s, ledger.MaxAnswer)
	return s, err
}

// Conflict is what a witness gives that has cosigned something else last.
type Conflict struct {
	// Latest is the checkpoint it cosigned last, with the log's signature, unchecked; "" if
	// there is none.
	Latest string
	Err    error
}

func (c *Conflict) Error() string { return c.Err.Error() }

// Unwrap gives the witness's error.
func (c *Conflict) Unwrap() error { return c.Err }

// AddCheckpoint has the ledger cosign a log's checkpoint, with the proof that it extends the
// tree of size old, which the ledger cosigned last. It gives the signature line, verified.
// The error is a *[Conflict] if the ledger cosigned something else last.
func (l *Ledger) AddCheckpoint(ctx context.Context, old int64, proof []wire.Hash, checkpoint string) (line string, err error) {
	ask := ledger.AddCheckpoint{Key: l.LogKey, Old: old, Proof: proof, Checkpoint: checkpoint}
	c, err := ledger.ReadCheckpoint(ask.Checkpoint)
	if err != nil {
		return "", err
	}
	if ask.Proof == nil {
		ask.Proof = []wire.Hash{}
	}
	var signed ledger.Cosigned
	err = l.endpoint().post(ctx, ledger.PathAddCheckpoint, ask, &signed, ledger.MaxAnswer)
	var status statusError
	if errors.As(err, &status) && status.status == http.StatusConflict {
		var document struct {
			Checkpoint string `json:"checkpoint"`
		}
		if json.Unmarshal(status.body, &document) == nil {
			return "", &Conflict{document.Checkpoint, err}
		}
	}
	if err != nil {
		return "", err
	}
	_, err = ledger.CheckCosignature(c, signed.Cosignature, ledger.Witness{Key: l.Key})
	return signed.Cosignature, err
}

// Cosign is [Ledger.AddCheckpoint] for a checkpoint of the log named origin, and gives the
// checkpoint with the signature added.
func (l *Ledger) Cosign(ctx context.Context, origin string, old int64, proof []wire.Hash, checkpoint string) (cosigned string, err error) {
	c, err := ledger.ReadCheckpoint(checkpoint)
	if err != nil {
		return "", err
	}
	if c.Origin != origin {
		return "", verdict.Misuse("ledger.checkpoint", "a checkpoint of "+origin, "one of "+c.Origin, "name the log whose checkpoint it is")
	}
	line, err := l.AddCheckpoint(ctx, old, proof, checkpoint)
	if err != nil {
		return "", err
	}
	return ledger.AddSignatures(checkpoint, line)
}

// Latest gives the checkpoint that the ledger cosigned last of the log with that name, ""
// if there is none. The ledger's signed answer to a fresh nonce says so, so that nobody on
// the way can show an old one. That the log's own key signed the checkpoint is checked if
// LogKey is set, else for the caller to check.
func (l *Ledger) Latest(ctx context.Context, origin string) (checkpoint string, err error) {
	nonce := wire.Hash(keys.GenerateSecret().MarshalSecret())
	var a ledger.WitnessedAnswer
	if err := l.endpoint().post(ctx, ledger.PathWitnessed, ledger.WitnessedRequest{Origin: origin, Nonce: nonce}, &a, ledger.MaxAnswer); err != nil {
		return "", err
	}
	said, err := ledger.OpenWitnessed(a.Statement, l.Key, nonce, origin)
	if err != nil {
		return "", err
	}
	if !said.Known {
		return "", nil
	}
	c, err := ledger.ReadCheckpoint(a.Checkpoint)
	if err != nil {
		return "", err
	}
	if c.Origin != origin || c.Size != said.Size || c.Root != said.Root {
		return "", verdict.NotGenuine("ledger.witnessed", fmt.Sprintf("the checkpoint of %d entries that the ledger's statement is about", said.Size), fmt.Sprintf("one of %d entries of %s", c.Size, c.Origin), "something on the way to the shared ledger changes answers; ask again")
	}
	if l.LogKey != "" {
		_, err = ledger.OpenCheckpoint(a.Checkpoint, l.LogKey)
	}
	if err != nil {
		return "", err
	}
	return a.Checkpoint, nil
}

// Witnessed gives the checkpoint of a log as the ledger shows it to anyone, verified with
// the log's key; see [Ledger.Latest] for an answer that is sure to be the latest.
func (l *Ledger) Witnessed(ctx context.Context, logKey string) (ledger.Checkpoint, error) {
	origin, err := ledger.OriginOf(logKey)
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	data, err := l.endpoint().do(ctx, http.MethodGet, ledger.PathWitnessed+"?origin="+url.QueryEscape(origin), "", nil, ledger.MaxNote)
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	return ledger.OpenCheckpoint(string(data), logKey)
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"strongroom.dev/broker"
	"strongroom.dev/client"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/proof"
	"strongroom.dev/release"
	"strongroom.dev/room"
	"strongroom.dev/seal"
	"strongroom.dev/server"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
)

// ownersPart is what a room sealed to the owner of this home in the record of a run (R19).
type ownersPart struct {
	RunID  string       `json:"run_id"`
	Ledger string       `json:"ledger,omitempty"`
	Index  int64        `json:"index"`
	Detail *room.Detail `json:"detail,omitempty"`
	// Missing says why there is no detail.
	Missing string `json:"missing,omitempty"`
}

// ownersParts looks up, for every grant among the decisions, the record that its room entered
// into the shared ledgers that the broker was told of, and opens the owner's part of it.
func (a *app) ownersParts(ctx context.Context, h *home.Home, list []broker.Decision) []ownersPart {
	parts := []ownersPart{}
	for _, d := range list {
		if d.Kind != "grant" {
			continue
		}
		part, err := a.ownersPart(ctx, h, d)
		if err != nil {
			part = ownersPart{RunID: d.RunID, Missing: verdict.Printable(err.Error())}
		}
		parts = append(parts, part)
	}
	return parts
}

func (a *app) ownersPart(ctx context.Context, h *home.Home, d broker.Decision) (ownersPart, error) {
	signer, err := grantedRoom(h, d)
	if err != nil {
		return ownersPart{}, err
	}
	others, _, err := readOthers(h)
	if err != nil {
		return ownersPart{}, err
	}
	err = verdict.Misuse("ledger.record", "a shared ledger that this broker was told of", "none", "name it: strongroom broker serve --witness URL=KEY")
	for _, text := range others.Witnesses {
		url, key, _ := strings.Cut(text, "=")
		var receipt ledger.Receipt
		if receipt, err = client.NewLedger(strings.TrimSuffix(url, "/"), key, nil).Record(ctx, signer); err != nil {
			continue
		}
		part := ownersPart{RunID: d.RunID, Index: receipt.Index}
		if part.Ledger, err = ledger.OriginOf(key); err != nil {
			continue
		}
		if part.Detail, err = openRecord(h, d, signer, receipt.Entry); err == nil {
			return part, nil
		}
	}
	return ownersPart{}, err
}

// grantedRoom gives the key of the room that a grant was given to, from the broker's own log.
func grantedRoom(h *home.Home, d broker.Decision) (id keys.KeyID, err error) {
	text, err := h.LogKey()
	if err != nil {
		return id, err
	}
	signer, err := ledger.ParseSigner(text)
	if err != nil {
		return id, err
	}
	log, err := tilelog.ReadDurable(h.BrokerLog(), signer) // what was published may be a second old
	if err != nil {
		return id, err
	}
	data, err := log.Entry(d.Number)
	if err != nil {
		return id, err
	}
	entry, err := ledger.ParseEntry(data)
	if err != nil {
		return id, err
	}
	facts, err := release.ParseGrantFacts(entry.Public)
	if err == nil && entry.RunID != d.RunID {
		err = errors.New("the log's entry is about another run")
	}
	return facts.Room, err
}

// openRecord checks that an entry is the record of this run by this room, and opens the part
// that is sealed to the owner.
func openRecord(h *home.Home, d broker.Decision, signer keys.KeyID, data []byte) (*room.Detail, error) {
	if err := server.CheckRunRecord(data); err != nil {
		return nil, err
	}
	entry, err := ledger.ParseEntry(data)
	if err != nil {
		return nil, err
	}
	var record proof.Record
	if _, err := keys.ParseDocument(entry.Public, proof.RecordType, &record); err != nil {
		return nil, err
	}
	if record.Room.ID() != signer || record.RunID != d.RunID || record.Agreement.String() != d.Agreement {
		return nil, verdict.NotGenuine("ledger.record", "the record of run "+d.RunID+" by the room that was given the keys", "another", "do not rely on this ledger")
	}
	ids, err := h.DataIdentities()
	if err != nil {
		return nil, err
	}
	for _, part := range entry.Sealed {
		var plain bytes.Buffer
		if _, err := seal.Open(&plain, bytes.NewReader(part.Sealed), ids, seal.Options{}); err != nil {
			continue // another owner's
		}
		var detail room.Detail
		if err := json.Unmarshal(plain.Bytes(), &detail); err != nil || detail.Run != record.Run {
			return nil, verdict.NotGenuine("ledger.record", "the owner's part of the record", "something else", "ask who runs the room")
		}
		return &detail, nil
	}
	return nil, verdict.Refuse("ledger.record", "a part sealed to this broker's data keys", "none that they open", "its keys may have been replaced: look for an older keys/data-N.key")
}

// partText shows an owner's part to people.
func partText(w io.Writer, p ownersPart) {
	if p.Detail == nil {
		fmt.Fprintf(w, "What the room sealed to you about run %s: not found (%s)\n", verdict.Printable(p.RunID), p.Missing)
		return
	}
	d := p.Detail
	fmt.Fprintf(w, "What the room sealed to you about run %s (entry %d of %s)\n", verdict.Printable(p.RunID), p.Index, verdict.Printable(p.Ledger))
	fmt.Fprintf(w, "  result    %s %s\n", verdict.Printable(string(d.Status)), verdict.Printable(d.Code))
	for _, v := range d.Volumes {
		fmt.Fprintf(w, "  volume    of %s: %s, generation %d%s\n", v.Input, verdict.Printable(v.Protection), v.Generation, howVolume(v))
	}
	for _, s := range d.Budgets {
		spendingText(w, s)
	}
	fmt.Fprintf(w, "  withheld  %d rows, which showed too few of your people\n", d.Withheld)
	if d.Reason != "" || d.Phase != "" {
		fmt.Fprintf(w, "  reason    %s %s %s\n", verdict.Printable(d.Phase), verdict.Printable(string(d.Input)), verdict.Printable(d.Reason))
	}
	fmt.Fprintf(w, "  took      %d ms to check, %d ms for keys, %d ms to open, %d ms to work\n", d.Timings.VerifyMS, d.Timings.KeysMS, d.Timings.OpenMS, d.Timings.WorkMS)
}

// howVolume says what of a volume an owner should know.
func howVolume(v room.Volume) (text string) {
	if v.Unclean {
		text += ", volume: unclean (only its generation was checked)"
	}
	if !v.Closed {
		text += ", not closed"
	}
	return text
}

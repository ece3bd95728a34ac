package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"strongroom.dev/client"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/proof"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// record makes the entry of a run as a room does.
func record(t testing.TB, change func(*proof.Record, *ledger.Entry)) []byte {
	t.Helper()
	room, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	return recordBy(t, room, change)
}

func recordBy(t testing.TB, room *keys.SigningKey, change func(*proof.Record, *ledger.Entry)) []byte {
	t.Helper()
	d := wire.SHA384("strongroom/test/agreement")
	run := wire.SHA384("strongroom/test/run")
	r := proof.Record{Agreement: d, Run: run, RunID: strings.Repeat("0f", 16), Room: room.Public(), Class: "software", Evidence: []wire.Digest{}, Datasets: nil, Commitment: d, Results: []wire.Digest{}, Sealed: []proof.SealedPart{}}
	if err := json.Unmarshal([]byte(`[]`), &r.Datasets); err != nil {
		t.Fatal(err)
	}
	e := ledger.Entry{Kind: "run", TimeMS: 1795500000000, Agreement: &d, Run: &run, RunID: r.RunID}
	if change != nil {
		change(&r, &e)
	}
	doc, err := keys.NewDocument(proof.RecordType, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Sign(room); err != nil {
		t.Fatal(err)
	}
	if e.Public == nil {
		if e.Public, err = wire.Marshal(doc); err != nil {
			t.Fatal(err)
		}
	}
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEntriesRefused(t *testing.T) {
	s := startShared(t, false)
	good := record(t, nil)
	for name, c := range map[string]struct {
		entry  []byte
		kind   verdict.Kind
		check  string
		status int
	}{
		"nothing":          {nil, verdict.Usage, "ledger.entry", 400},
		"too large":        {make([]byte, ledger.MaxEntry+1), verdict.Usage, "request", 400},
		"not JSON":         {[]byte("x"), verdict.Usage, "ledger.entry", 400},
		"another kind":     {record(t, func(_ *proof.Record, e *ledger.Entry) { e.Kind = "grant" }), verdict.Refused, "ledger.kind", 403},
		"no record":        {record(t, func(_ *proof.Record, e *ledger.Entry) { e.Public = []byte(`{}`) }), verdict.Usage, "ledger.record", 400},
		"another run":      {record(t, func(_ *proof.Record, e *ledger.Entry) { e.RunID = strings.Repeat("1f", 16) }), verdict.Usage, "ledger.record", 400},
		"no run":           {record(t, func(_ *proof.Record, e *ledger.Entry) { e.Run = nil }), verdict.Usage, "ledger.record", 400},
		"signature forged": {bytes.Replace(good, []byte(`"class":"software"`), []byte(`"class":"confidential"`), 1), verdict.Invalid, "ledger.record", 422},
		"another's key": {record(t, func(r *proof.Record, _ *ledger.Entry) {
			room, err := keys.GenerateSigningKey(keys.Ed25519)
			if err != nil {
				t.Fatal(err)
			}
			r.Room = room.Public()
		}), verdict.Invalid, "ledger.record", 422},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.client.Submit(context.Background(), c.entry)
			wantError(t, err, c.kind, c.check, c.status)
		})
	}
	if s.log.Size() != 0 {
		t.Errorf("%d refused entries were recorded", s.log.Size())
	}
}

func TestEntriesRecorded(t *testing.T) {
	s := startShared(t, false)
	ctx := context.Background()
	var last []byte
	for i := range int64(10) {
		last = record(t, func(r *proof.Record, e *ledger.Entry) { e.TimeMS += i })
		r, err := s.client.Submit(ctx, last)
		if err != nil || r.Index != i {
			t.Fatalf("entry %d at %d: %v", i, r.Index, err)
		}
	}
	// The burst is used up; a retry of what is recorded costs nothing, and gives the same place.
	_, err := s.client.Submit(ctx, record(t, nil))
	wantError(t, err, verdict.Refused, "ledger.rate", 429)
	if r, err := s.client.Submit(ctx, last); err != nil || r.Index != 9 {
		t.Fatalf("retry: %d, %v", r.Index, err)
	}
	s.now.Add(1)
	for range 5 {
		if _, err := s.client.Submit(ctx, record(t, nil)); err != nil {
			t.Fatalf("a second later: %v", err)
		}
	}
	_, err = s.client.Submit(ctx, record(t, nil))
	wantError(t, err, verdict.Refused, "ledger.rate", 429)
	if s.log.Size() != 15 {
		t.Errorf("%d entries, expected 15", s.log.Size())
	}
	if r, err := s.client.Receipt(ctx, 9); err != nil || !bytes.Equal(r.Entry, last) {
		t.Errorf("receipt: %v", err)
	}
	_, err = s.client.Receipt(ctx, 15)
	wantError(t, err, verdict.Usage, "ledger.index", 400)
	c, err := s.client.Checkpoint(ctx)
	if err != nil || c.Size != 15 {
		t.Errorf("checkpoint %+v, %v", c, err)
	}
	if _, err := s.client.Consistency(ctx, 3, 15); err != nil {
		t.Error(err)
	}
	_, err = s.client.Consistency(ctx, 3, 16)
	wantError(t, err, verdict.Usage, "ledger.sizes", 400)
	if st, err := s.client.Status(ctx); err != nil || st.Size != 15 || st.Key != s.signer.Verifier() || st.AnyLog {
		t.Errorf("status %+v, %v", st, err)
	}
	// Another key: nothing of this ledger is believed.
	stranger := client.NewLedger(s.http.URL, signer(t, "ledger.example").Verifier(), nil)
	_, err = stranger.Receipt(ctx, 0)
	wantError(t, err, verdict.Invalid, "ledger.checkpoint", 0)
	_, err = stranger.Checkpoint(ctx)
	wantError(t, err, verdict.Invalid, "ledger.checkpoint", 0)
	_, err = stranger.Latest(ctx, "log.example/alpha")
	wantError(t, err, verdict.Invalid, "ledger.witnessed", 0)
}

// The record of a room is found by its key, whatever others enter about the same run, and by a
// server that has just been started.
func TestRecordOfARoom(t *testing.T) {
	s := startShared(t, false)
	mine, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	l := s.client
	if _, err := l.Record(t.Context(), mine.Public().ID()); verdict.As(err).Check != "ledger.record" || verdict.As(err).Kind != verdict.Usage {
		t.Errorf("before it is there: %v", err)
	}
	entry := recordBy(t, mine, nil)
	for _, data := range [][]byte{record(t, nil), entry, record(t, nil)} { // others claim the same run
		if _, err := l.Submit(t.Context(), data); err != nil {
			t.Fatal(err)
		}
	}
	r, err := l.Record(t.Context(), mine.Public().ID())
	if err != nil || !bytes.Equal(r.Entry, entry) {
		t.Errorf("entry %d, %v", r.Index, err)
	}
}

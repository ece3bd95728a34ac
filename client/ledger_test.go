package client_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"strongroom.dev/client"
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// answers serves the same answer to everything.
func answers(t *testing.T, status int, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func document(t *testing.T, v any) string {
	t.Helper()
	data, err := wire.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestWhatLedgersCanLieAbout has a ledger that answers what it likes.
func TestWhatLedgersCanLieAbout(t *testing.T) {
	ctx := context.Background()
	shared, other := newSigner(t, "ledger.example"), newSigner(t, "log.example/alpha")
	l := newLog(t, other, "alpha", 3)
	c, err := ledger.OpenCheckpoint(l.note(t, 3), other.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	smaller, err := ledger.OpenCheckpoint(l.note(t, 2), other.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	line := func(s *ledger.Signer, c ledger.Checkpoint) string {
		out, err := s.Cosign(c, time.Unix(1795500000, 0))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	cosign := func(l *client.Ledger) error {
		_, err := l.Cosign(ctx, c.Origin, 0, nil, c.Note)
		return err
	}
	submit := func(l *client.Ledger) error {
		_, err := l.Submit(ctx, []byte("the entry"))
		return err
	}
	for name, test := range map[string]struct {
		status int
		body   string
		call   func(*client.Ledger) error
		kind   verdict.Kind
		check  string
	}{
		"cosignature by another key":      {200, document(t, ledger.Cosigned{Cosignature: line(other, c)}), cosign, verdict.Invalid, "ledger.witnesses"},
		"cosignature of something else":   {200, document(t, ledger.Cosigned{Cosignature: line(shared, smaller)}), cosign, verdict.Invalid, "ledger.checkpoint"},
		"two cosignatures":                {200, document(t, ledger.Cosigned{Cosignature: line(shared, c) + line(other, c)}), cosign, verdict.Invalid, "ledger.checkpoint"},
		"no cosignature":                  {200, document(t, ledger.Cosigned{}), cosign, verdict.Invalid, "ledger.checkpoint"},
		"a receipt that proves nothing":   {200, document(t, ledger.Receipt{Entry: []byte("the entry"), Proof: []wire.Hash{}, Checkpoint: c.Note}), submit, verdict.Invalid, "ledger.checkpoint"},
		"no document":                     {200, "hello", submit, verdict.Broken, "answer"},
		"an unknown member":               {200, `{"entry":"","index":0,"proof":[],"checkpoint":"","more":1}`, submit, verdict.Broken, "answer"},
		"more than it may":                {200, strings.Repeat("x", ledger.MaxAnswer+1), submit, verdict.Broken, "answer"},
		"a redirect":                      {302, "", submit, verdict.Broken, "response"},
		"another program":                 {404, "404 page not found", submit, verdict.Broken, "response"},
		"a refusal":                       {403, string(verdict.Encode(verdict.Refuse("some.rule", "a", "b", "c"))), submit, verdict.Refused, "some.rule"},
		"a conflict without a checkpoint": {409, string(verdict.Encode(verdict.Refuse("witness.old", "a", "b", "c"))), cosign, verdict.Refused, "witness.old"},
	} {
		t.Run(name, func(t *testing.T) {
			wantCheck(t, test.call(client.NewLedger(answers(t, test.status, test.body), shared.Verifier(), nil)), test.kind, test.check)
		})
	}
	_, err = client.NewLedger(answers(t, 200, ""), shared.Verifier(), nil).Cosign(ctx, "log.example/beta", 0, nil, c.Note)
	wantCheck(t, err, verdict.Usage, "ledger.checkpoint")
	_, err = client.NewLedger("http://127.0.0.1:1", shared.Verifier(), nil).Checkpoint(ctx)
	wantCheck(t, err, verdict.Broken, "reachable")
	_, err = client.NewLedger("::", shared.Verifier(), nil).Checkpoint(ctx)
	wantCheck(t, err, verdict.Usage, "address")
}

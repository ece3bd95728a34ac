package release_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/release"
	"strongroom.dev/wire"
)

func askedRequest() release.AskedRequest {
	return release.AskedRequest{Version: release.Version, Broker: "alpha", Agreement: wire.DigestOf([]byte("a")), Run: wire.DigestOf([]byte("r")), RunID: runID,
		ReleaseID: releaseID, Nonce: wire.HashOf([]byte("n"))}
}

func earlier() release.History {
	return release.History{Questions: []release.AskedQuestion{{Shown: bytes.Repeat([]byte{1}, 16), Question: agreement.Question{Agreement: wire.DigestOf([]byte("a")),
		Query: "SELECT count(*) AS n FROM people", Parameters: []agreement.QuestionValue{{Name: "least", Type: "integer", Value: "3"}},
		Tables: []agreement.QuestionTable{{Name: "people", Inputs: []agreement.QuestionRows{{Statement: wire.DigestOf([]byte("s"))}}}}}}}}
}

func TestAskedRequest(t *testing.T) {
	room := signingKey(t)
	data, err := release.NewAskedRequest(room, askedRequest())
	if err != nil {
		t.Fatal(err)
	}
	r, err := release.ParseAskedRequest(data)
	if err != nil || r.SignedBy(room.Public()) != nil || r.AskedRequest != askedRequest() {
		t.Fatalf("%v, %+v", err, r)
	}
	refusedBy(t, "another room", r.SignedBy(signingKey(t).Public()), "message.signature")
	for name, c := range map[string]struct {
		change func(*release.AskedRequest)
		check  string
	}{
		"version":    {func(r *release.AskedRequest) { r.Version = "strongroom/release/v0" }, "message.version"},
		"broker":     {func(r *release.AskedRequest) { r.Broker = "A b" }, "message.form"},
		"agreement":  {func(r *release.AskedRequest) { r.Agreement = wire.Digest{} }, "message.form"},
		"run":        {func(r *release.AskedRequest) { r.Run = wire.Digest{} }, "message.form"},
		"nonce":      {func(r *release.AskedRequest) { r.Nonce = wire.Hash{} }, "message.form"},
		"run id":     {func(r *release.AskedRequest) { r.RunID = "x" }, "message.form"},
		"release id": {func(r *release.AskedRequest) { r.ReleaseID = "x" }, "message.form"},
	} {
		r := askedRequest()
		c.change(&r)
		_, err := release.ParseAskedRequest(signedAs(t, room, release.AskedRequestType, r))
		refusedBy(t, name, err, c.check)
	}
}

func TestAskedAnswer(t *testing.T) {
	broker, hpke, statement := signingKey(t), hpkeKey(t), wire.DigestOf([]byte("s"))
	sealed, err := release.SealHistory(hpke.Public(), askedRequest(), "people", statement, earlier())
	if err != nil {
		t.Fatal(err)
	}
	answer := release.AskedAnswer{Histories: []release.SealedHistory{sealed}, Key: hpkeKey(t).Public()}
	data, err := release.NewAskedAnswer(broker, askedRequest(), answer)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("SELECT")) {
		t.Error("the host can read what was asked")
	}
	got, err := release.VerifyAskedAnswer(data, broker.Public(), askedRequest(), []wire.ID{"people"})
	if err != nil {
		t.Fatal(err)
	}
	h, err := release.OpenHistory(hpke, askedRequest(), statement, got.Histories[0])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(earlier(), h); diff != "" {
		t.Error(diff)
	}
	other := askedRequest()
	other.Nonce = wire.HashOf([]byte("another"))
	for name, verify := range map[string]func() error{
		"another request": func() error {
			_, err := release.VerifyAskedAnswer(data, broker.Public(), other, []wire.ID{"people"})
			return err
		},
		"another input": func() error {
			_, err := release.VerifyAskedAnswer(data, broker.Public(), askedRequest(), []wire.ID{"others"})
			return err
		},
		"an input more": func() error {
			_, err := release.VerifyAskedAnswer(data, broker.Public(), askedRequest(), []wire.ID{"people", "others"})
			return err
		},
	} {
		refusedBy(t, name, verify(), "asked.answer")
	}
	_, err = release.VerifyAskedAnswer(data, signingKey(t).Public(), askedRequest(), []wire.ID{"people"})
	refusedBy(t, "another broker", err, "message.signature")
	for name, open := range map[string]func() error{
		"another room": func() error { _, err := release.OpenHistory(hpkeKey(t), askedRequest(), statement, sealed); return err },
		"another time": func() error { _, err := release.OpenHistory(hpke, other, statement, sealed); return err },
		"another version": func() error {
			_, err := release.OpenHistory(hpke, askedRequest(), wire.DigestOf([]byte("t")), sealed)
			return err
		},
		"as another input's": func() error {
			_, err := release.OpenHistory(hpke, askedRequest(), statement, release.SealedHistory{Input: "others", Sealed: sealed.Sealed})
			return err
		},
	} {
		refusedBy(t, name, open(), "asked.history")
	}
}

func TestShown(t *testing.T) {
	secret := keys.GenerateSecret()
	key, err := release.ShownKey(secret, releaseID)
	if err != nil {
		t.Fatal(err)
	}
	again, err := release.ShownKey(secret, releaseID)
	if err != nil || again.Public() != key.Public() {
		t.Fatal("the key is another each time")
	}
	asked, commitment := live(), wire.DigestOf([]byte("c"))
	asked.Commitment = &commitment
	padded, err := release.PadShown(bytes.Repeat([]byte{9}, 16), 4)
	if err != nil || len(padded) != 32 || !bytes.Equal(release.TrimShown(padded), bytes.Repeat([]byte{9}, 16)) {
		t.Fatalf("%x %v", padded, err)
	}
	if err := release.SealShown(key.Public(), &asked, padded); err != nil {
		t.Fatal(err)
	}
	if got, err := release.OpenShown(again, asked, 32); err != nil || !bytes.Equal(got, padded) {
		t.Fatalf("%x %v", got, err)
	}
	_, err = release.OpenShown(key, asked, 40)
	refusedBy(t, "another size", err, "live.shown")
	moved, other := asked, wire.DigestOf([]byte("d"))
	moved.Commitment = &other
	_, err = release.OpenShown(key, moved, 32)
	refusedBy(t, "another commitment", err, "live.shown")
	asked.Commitment = nil
	_, err = release.ParseLiveRequest(signedAs(t, signingKey(t), release.LiveRequestType, asked))
	refusedBy(t, "without a commitment", err, "message.form")
	if _, err := release.PadShown(make([]byte, 40), 4); err == nil {
		t.Error("more groups than rows")
	}
	if _, err := release.PadShown(make([]byte, 7), 4); err == nil {
		t.Error("a part of a group")
	}
}

func FuzzParseAskedRequest(f *testing.F) {
	data, err := release.NewAskedRequest(signingKey(f), askedRequest())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := release.ParseAskedRequest(data)
		if err == nil && (r.Version != release.Version || r.Document == nil || r.Nonce.IsZero()) {
			t.Errorf("%+v", r)
		}
	})
}

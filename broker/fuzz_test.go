package broker_test

import (
	"testing"

	"strongroom.dev/release"
	"strongroom.dev/wire"
)

// FuzzMessages sends a broker whatever it is sent. It must neither fall over nor give an
// answer: no seed but the genuine request, which was answered before, gets keys.
func FuzzMessages(f *testing.F) {
	w := newWorld(f)
	b, a := w.newHouse().ready()
	r := w.newRoom(a, w.newRun(a))
	answer := r.granted(b)
	live := must1(release.NewLiveRequest(r.signing, release.LiveRequest{Broker: "alpha-org", Agreement: a.Digest(), Run: r.run.Digest(), RunID: r.run.RunID,
		ReleaseID: r.releaseID, Nonce: wire.HashOf([]byte("n")), Commitment: commitment("x")}))
	f.Add(r.request())
	f.Add(live)
	f.Add([]byte(`{"agreement":"sha384:00","nonce":"","purpose":"release","version":"strongroom/release/v1"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := b.Release(ctx, data); err == nil && string(got) != string(answer) {
			t.Error("keys for a request that is not the room's")
		}
		b.Live(ctx, data)        //nolint:errcheck // a false commitment would show in the room's test
		b.Challenge(ctx, data)   //nolint:errcheck // challenges are anyone's
		b.Why(ctx, string(data)) //nolint:errcheck // most ids are unknown
		b.Seen(string(data))     //nolint:errcheck // so are most logs
	})
}

// FuzzAdmin sends officers' documents.
func FuzzAdmin(f *testing.F) {
	w := newWorld(f)
	h := w.newHouse()
	b := h.open()
	a := w.agree("beta") // not signed by the owner, so nothing here may be activated
	f.Add([]byte(w.activation(a).Agreement), []byte(w.activation(a).Parties[0]), w.header)
	f.Add([]byte(w.publication().Statement), []byte("{}"), []byte("age-encryption.org/v1\n"))
	f.Fuzz(func(t *testing.T, first, second, header []byte) {
		act := w.activation(a)
		act.Agreement, act.Parties[0] = first, second
		if _, err := b.Activate(ctx, act); err == nil {
			t.Error("activated without the owner's signature")
		}
		pub := w.publication()
		pub.Statement, pub.Header = first, header
		if _, err := b.Publish(ctx, pub); err == nil && string(header) != string(w.header) {
			t.Error("published another header")
		}
	})
}

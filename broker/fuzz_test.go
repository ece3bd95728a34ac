package broker_test

import (
	"testing"

	"strongroom.dev/release"
	"strongroom.dev/wire"
)

// FuzzMessages sends a broker whatever. It must neither fall over nor give keys. Seeds are
// small; the documents in a request are fuzzed where they are parsed, in package agreement.
func FuzzMessages(f *testing.F) {
	w := newWorld(f)
	b, a := w.newHouse().ready()
	r := w.newRoom(a, w.newRun(a))
	r.granted(b)
	live := must1(release.NewLiveRequest(r.signing, release.LiveRequest{Broker: "alpha-org", Agreement: a.Digest(), Run: r.run.Digest(), RunID: r.run.RunID,
		ReleaseID: r.releaseID, Counter: 1, AfterMS: w.now().UnixMilli(), Nonce: wire.HashOf([]byte("n")), Commitment: commitment("x")}))
	f.Add(live)
	f.Add([]byte(`{"agreement":"sha384:00","nonce":"","purpose":"release","version":"strongroom/release/v1"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := b.Release(ctx, data); err == nil {
			t.Error("keys for something that is no room's request")
		}
		b.Live(ctx, data)      //nolint:errcheck // a false commitment would show in the room's test
		b.Challenge(ctx, data) //nolint:errcheck // challenges are anyone's
		if _, err := b.Volume(ctx, data); err == nil {
			t.Error("a volume for somebody who is no room")
		}
		if _, err := b.Certify(ctx, data); err == nil {
			t.Error("a certificate for somebody who is no room")
		}
		b.Why(ctx, string(data)) //nolint:errcheck // most ids are unknown
		b.Seen(ctx, data)        //nolint:errcheck // so are most logs
	})
}

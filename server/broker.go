package server

import (
	"context"
	"log/slog"
	"net/http"

	"strongroom.dev/broker"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// brokerAtOnce is how many requests a broker works on at the same time. Each may hold 4 MiB
// and a core for some milliseconds; those beyond it are told to come again.
const brokerAtOnce = 64

// Broker is the interface of a broker to rooms, other brokers and anyone (spec/broker.md,
// section 7). What goes in and out is signed by rooms and by the broker.
func Broker(b *broker.Broker, logger *slog.Logger) http.Handler {
	busy := make(chan struct{}, brokerAtOnce)
	mux := http.NewServeMux()
	signed := func(path string, limit int64, decide func(context.Context, []byte) ([]byte, error)) {
		mux.Handle("POST "+path, limited(busy, answering(logger, func(w http.ResponseWriter, r *http.Request) error {
			data, err := readBody(w, r, limit)
			if err != nil {
				return err
			}
			out, err := decide(r.Context(), data)
			if err != nil {
				return err
			}
			writeBody(w, http.StatusOK, "application/json", out)
			return nil
		})))
	}
	signed(release.PathChallenge, release.MaxSmall, b.Challenge)
	signed(release.PathRelease, release.MaxRequest, b.Release)
	signed(release.PathLive, release.MaxSmall, b.Live)
	signed(release.PathSeen, release.MaxSmall, b.Seen)
	mux.Handle("POST "+release.PathConsistency, limited(busy, answering(logger, func(w http.ResponseWriter, r *http.Request) error {
		var asked release.ConsistencyRequest
		if err := readJSON(w, r, release.MaxSmall, &asked); err != nil {
			return err
		}
		return answerJSON(w)(b.Consistency(r.Context(), asked))
	})))
	mux.HandleFunc("GET "+release.PathCheckpoint, func(w http.ResponseWriter, _ *http.Request) {
		writeBody(w, http.StatusOK, "text/plain; charset=utf-8", []byte(b.Checkpoint()))
	})
	mux.HandleFunc("GET "+release.PathStatus, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, b.Public()) })
	return mux
}

// answerJSON writes what an operation gave, or passes on why it gave nothing.
func answerJSON(w http.ResponseWriter) func(v any, err error) error {
	return func(v any, err error) error {
		if err == nil {
			writeJSON(w, v)
		}
		return err
	}
}

// limited answers 503 while as many requests as busy holds are being worked on.
func limited(busy chan struct{}, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case busy <- struct{}{}:
			defer func() { <-busy }()
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			writeError(w, nil, withStatus{http.StatusServiceUnavailable, verdict.Refuse("broker.busy", "a moment of quiet", "too many requests at once", "ask again in a second, with the same release id")})
		}
	})
}

// BrokerAdmin is the interface of a broker to its own officers. Whoever reaches it commands
// the broker: it belongs on a Unix socket that only they can open.
func BrokerAdmin(b *broker.Broker, logger *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	act := func(path string, do func(w http.ResponseWriter, r *http.Request) (any, error)) {
		mux.Handle("POST "+path, answering(logger, func(w http.ResponseWriter, r *http.Request) error {
			return answerJSON(w)(do(w, r))
		}))
	}
	act(broker.PathActivate, func(w http.ResponseWriter, r *http.Request) (any, error) {
		var a broker.Activation
		if err := readJSON(w, r, wire.MaxDocument, &a); err != nil {
			return nil, err
		}
		return b.Activate(r.Context(), a)
	})
	act(broker.PathPublish, func(w http.ResponseWriter, r *http.Request) (any, error) {
		var p broker.Publication
		if err := readJSON(w, r, wire.MaxDocument, &p); err != nil {
			return nil, err
		}
		return b.Publish(r.Context(), p)
	})
	act(broker.PathRetire, byDigest(b.Retire))
	act(broker.PathRevoke, byDigest(b.Revoke))
	act(broker.PathConfirm, func(w http.ResponseWriter, r *http.Request) (any, error) {
		var of broker.Confirmation
		if err := readJSON(w, r, release.MaxSmall, &of); err != nil {
			return nil, err
		}
		return b.Confirm(r.Context(), of)
	})
	act(broker.PathWhy, func(w http.ResponseWriter, r *http.Request) (any, error) {
		var n broker.Named
		if err := readJSON(w, r, release.MaxSmall, &n); err != nil {
			return nil, err
		}
		list, err := b.Why(r.Context(), n.Name)
		return broker.WhyAnswer{Decisions: list}, err
	})
	mux.Handle("GET "+broker.PathState, answering(logger, func(w http.ResponseWriter, r *http.Request) error {
		return answerJSON(w)(b.Status(r.Context()))
	}))
	return mux
}

func byDigest(do func(context.Context, wire.Digest) (broker.Event, error)) func(http.ResponseWriter, *http.Request) (any, error) {
	return func(w http.ResponseWriter, r *http.Request) (any, error) {
		var n broker.Named
		if err := readJSON(w, r, release.MaxSmall, &n); err != nil {
			return nil, err
		}
		digest, err := wire.ParseDigest(n.Name)
		if err != nil {
			return nil, verdict.Misuse("digest", "sha384: and 96 hex digits", verdict.Short(err.Error()), "copy it as it was printed")
		}
		return do(r.Context(), digest)
	}
}

package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"strongroom.dev/broker"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// brokerAtOnce is how many requests a broker works on at the same time. Each may hold two
// megabytes and a core for some milliseconds; those beyond it are told to come again. Rooms
// that ask whether they may go on have as many places of their own: they must not starve
// while others ask for keys.
const brokerAtOnce = 64

// Broker is the interface of a broker to rooms, other brokers and anyone (spec/broker.md,
// section 7). What goes in and out is signed by rooms and by the broker.
func Broker(b *broker.Broker, logger *slog.Logger) http.Handler {
	busy, living := make(chan struct{}, brokerAtOnce), make(chan struct{}, brokerAtOnce)
	mux := http.NewServeMux()
	mux.Handle("POST "+release.PathChallenge, posted(busy, logger, release.MaxSmall, b.Challenge))
	mux.Handle("POST "+release.PathRelease, posted(busy, logger, release.MaxRequest, b.Release))
	mux.Handle("POST "+release.PathLive, posted(living, logger, release.MaxLive, b.Live))
	mux.Handle("POST "+release.PathAsked, posted(living, logger, release.MaxSmall, b.Asked))
	mux.Handle("POST "+release.PathActivate, posted(busy, logger, release.MaxSmall, b.ActivateTPM))
	mux.Handle("POST "+release.PathActivated, posted(busy, logger, release.MaxSmall, b.ActivatedTPM))
	mux.Handle("POST "+release.PathVolume, posted(busy, logger, release.MaxSmall, b.Volume))
	mux.Handle("POST "+release.PathCertify, posted(busy, logger, release.MaxSmall, b.Certify))
	mux.Handle("POST "+release.PathSeen, posted(busy, logger, release.MaxSmall, b.Seen))
	mux.Handle("POST "+release.PathConsistency, posted(busy, logger, release.MaxSmall, func(ctx context.Context, data []byte) ([]byte, error) {
		var asked release.ConsistencyRequest
		if err := parseJSON(data, &asked); err != nil {
			return nil, err
		}
		answer, err := b.Consistency(ctx, asked)
		if err != nil {
			return nil, err
		}
		return wire.Marshal(answer)
	}))
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

// posted answers what is posted. Who sends slowly holds nothing but their own connection: a
// place is taken when the whole body is there, for no longer than it is worked on. While all
// of them are taken the answer is 503.
func posted(places chan struct{}, logger *slog.Logger, limit int64, decide func(context.Context, []byte) ([]byte, error)) http.Handler {
	return answering(logger, func(w http.ResponseWriter, r *http.Request) error {
		data, err := readBody(w, r, limit)
		if err != nil {
			return err
		}
		out, err := placed(r.Context(), places, data, decide)
		if err == nil {
			writeBody(w, http.StatusOK, "application/json", out)
		}
		if busy := (withStatus{}); errors.As(err, &busy) && busy.status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		return err
	})
}

func placed(ctx context.Context, places chan struct{}, data []byte, decide func(context.Context, []byte) ([]byte, error)) ([]byte, error) {
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
		return decide(ctx, data)
	default:
		return nil, withStatus{http.StatusServiceUnavailable, verdict.Refuse("broker.busy", "a moment of quiet", "too many requests at once", "ask again in a second, with the same release id")}
	}
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
	for path, do := range map[string]func(context.Context, broker.DenialAct) (broker.Event, error){broker.PathDeny: b.Deny, broker.PathLift: b.Lift} {
		act(path, func(w http.ResponseWriter, r *http.Request) (any, error) {
			var d broker.DenialAct
			if err := readJSON(w, r, release.MaxSmall, &d); err != nil {
				return nil, err
			}
			return do(r.Context(), d)
		})
	}
	act(broker.PathReference, func(w http.ResponseWriter, r *http.Request) (any, error) {
		var a broker.ReferenceAct
		if err := readJSON(w, r, wire.MaxDocument, &a); err != nil {
			return nil, err
		}
		return b.AddReference(r.Context(), a)
	})
	act(broker.PathVolume, func(w http.ResponseWriter, r *http.Request) (any, error) {
		var a broker.VolumeAct
		if err := readJSON(w, r, release.MaxSmall, &a); err != nil {
			return nil, err
		}
		return b.ResetVolume(r.Context(), a)
	})
	act(broker.PathBudget, func(w http.ResponseWriter, r *http.Request) (any, error) {
		var a broker.BudgetAct
		if err := readJSON(w, r, release.MaxSmall, &a); err != nil {
			return nil, err
		}
		return b.SetBudget(r.Context(), a)
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
	mux.Handle("GET "+broker.PathAuthority, answering(logger, func(w http.ResponseWriter, r *http.Request) error {
		certificate, err := b.Authority(r.Context())
		return answerJSON(w)(broker.AuthorityAnswer{Certificate: certificate}, err)
	}))
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

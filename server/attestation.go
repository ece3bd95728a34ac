package server

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"strongroom.dev/ear"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// Attestation is the interface of an attestation service (spec/attestation.md). Its two handlers
// share what they count.
type Attestation struct {
	service *verifier.Service
	logger  *slog.Logger
	clients *clientLimits
	metrics *metrics
	busy    chan struct{}
}

// AttestationLimits bound what one client, and all together, may ask for.
type AttestationLimits struct {
	// PerClient is how many requests a second one address may send on the average, ten times that
	// at once. 0 sets no limit: for a service behind something that has one.
	PerClient int
	// AtOnce is how many requests are worked on at the same time, each with up to four megabytes
	// and a core for some milliseconds. 0 means 64.
	AtOnce int
}

// NewAttestation makes the interface. The logger gets a line for every change of a policy and
// every request that failed here; nil for none.
func NewAttestation(s *verifier.Service, limits AttestationLimits, logger *slog.Logger) *Attestation {
	if limits.AtOnce == 0 {
		limits.AtOnce = 64
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Attestation{service: s, logger: logger, clients: newClientLimits(limits.PerClient), metrics: newMetrics(), busy: make(chan struct{}, limits.AtOnce)}
}

//go:embed attestation_openapi.json
var attestationOpenAPI []byte // constant: what is in the file

// jsonType is the content type of all answers but text.
const jsonType = "application/json"

// route is one operation, as the OpenAPI document lists it.
type route struct {
	method, path string
	answer       answer
	// free routes are cheap and for machines of one's own: no limit holds them up.
	free bool
}

// Handler is the interface for attesters and relying parties.
func (a *Attestation) Handler() http.Handler { return a.mux(a.publicRoutes()) }

// Admin is the interface for the service's officers. Whoever reaches it decides what passes: it
// belongs on a Unix socket that only they can open.
func (a *Attestation) Admin() http.Handler { return a.mux(a.adminRoutes()) }

// Watch is for those who watch the service: metrics and health.
func (a *Attestation) Watch() http.Handler { return a.mux(a.watchRoutes()) }

func (a *Attestation) publicRoutes() []route {
	routes := []route{
		{"POST", "/v1/challenge", a.challenge, false},
		{"POST", "/v1/attest", a.attest, false},
		{"GET", "/{shape}/certs", a.document(a.service.KeySet), true},
		{"GET", "/{shape}/.well-known/openid-configuration", a.document(a.service.Discovery), true},
		{"GET", "/{shape}/crl/{id}", a.revocationList, true},
		{"GET", "/openapi.json", func(w http.ResponseWriter, _ *http.Request) error {
			writeBody(w, http.StatusOK, jsonType, attestationOpenAPI)
			return nil
		}, true},
	}
	for _, prefix := range []string{"", "/" + ear.MAA().Name} { // clients that take a host only, and others
		routes = append(routes, route{"POST", prefix + "/attest/{operation}", a.maa, false})
	}
	for _, prefix := range []string{"", "/" + ear.ITA().Name} {
		routes = append(routes, route{"GET", prefix + "/appraisal/v2/nonce", a.itaNonce, false}, route{"POST", prefix + "/appraisal/v2/attest", a.ita(false), false},
			route{"POST", prefix + "/appraisal/v2/attest/azure", a.ita(true), false})
	}
	return append(routes, a.healthRoutes()...)
}

func (a *Attestation) healthRoutes() []route {
	return []route{
		{"GET", "/healthz", func(w http.ResponseWriter, _ *http.Request) error {
			writeBody(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
			return nil
		}, true},
		{"GET", "/readyz", func(w http.ResponseWriter, r *http.Request) error {
			if err := a.service.Ready(r.Context()); err != nil {
				return withStatus{http.StatusServiceUnavailable, err}
			}
			writeBody(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ready\n"))
			return nil
		}, true},
	}
}

func (a *Attestation) watchRoutes() []route {
	return append(a.healthRoutes(), route{"GET", "/metrics", func(w http.ResponseWriter, _ *http.Request) error {
		writeBody(w, http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", a.metrics.text(a.service.Stats()))
		return nil
	}, true})
}

func (a *Attestation) mux(routes []route) http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.method+" "+r.path, a.metrics.measured(r.method+" "+r.path, answering(a.logger, a.limited(r))))
	}
	return mux
}

// limited lets a client's request through if it has not sent too many.
func (a *Attestation) limited(r route) answer {
	if r.free {
		return r.answer
	}
	return func(w http.ResponseWriter, req *http.Request) error {
		if err := a.allowed(w, req, 1); err != nil {
			return err
		}
		return r.answer(w, req)
	}
}

// allowed takes a client's allowance for a request, or for a body that counts as more.
func (a *Attestation) allowed(w http.ResponseWriter, r *http.Request, weight int) error {
	wait := a.clients.take(r.RemoteAddr, weight)
	if wait == 0 {
		return nil
	}
	w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
	return withStatus{http.StatusTooManyRequests, verdict.Refuse("attestation.rate", fmt.Sprintf("at most %d requests a second from one address, large ones counting as more", a.clients.perSecond), "more", "wait a second and send it again")}
}

// work reads a body and works on it while there is a place.
func (a *Attestation) work(w http.ResponseWriter, r *http.Request, limit int64, do func(ctx context.Context, body []byte) (any, error)) error {
	body, err := readBody(w, r, limit)
	if err == nil {
		err = a.allowed(w, r, len(body)/weightUnit)
	}
	if err != nil {
		return err
	}
	var out any
	select {
	case a.busy <- struct{}{}:
		func() {
			defer func() { <-a.busy }()
			out, err = do(r.Context(), body)
		}()
	default:
		e := verdict.Refuse("attestation.busy", "a moment of quiet", "too many requests at once", "send it again in a second")
		e.Err = verifier.ErrBusy
		err = e
	}
	if errors.Is(err, verifier.ErrBusy) {
		w.Header().Set("Retry-After", "1")
		err = withStatus{http.StatusServiceUnavailable, err}
	}
	return answerJSON(w)(out, err)
}

func (a *Attestation) challenge(w http.ResponseWriter, r *http.Request) error {
	var asked verifier.ChallengeRequest
	if err := readJSON(w, r, 4096, &asked); err != nil {
		return err
	}
	return answerJSON(w)(a.service.Challenge(asked))
}

func (a *Attestation) attest(w http.ResponseWriter, r *http.Request) error {
	return a.work(w, r, verifier.MaxRequest, func(ctx context.Context, body []byte) (any, error) {
		var asked verifier.Request
		if err := parseOnce(body, &asked); err != nil {
			return nil, err
		}
		return a.service.Attest(ctx, asked)
	})
}

// parseOnce is parseJSON for large bodies: it spares a second look at the canonical form.
func parseOnce(data []byte, v any) error {
	canonical, err := wire.Canonical(data)
	if err == nil {
		err = wire.UnmarshalCanonical(canonical, v)
	}
	if err != nil {
		return verdict.Misuse("request", "a JSON document as the specification shows it", verdict.Short(err.Error()), "correct the request")
	}
	return nil
}

// document serves a shape's key set or discovery document, which relying parties may keep for
// a while: keys are published days before they sign.
func (a *Attestation) document(get func(ear.Shape) ([]byte, error)) answer {
	return func(w http.ResponseWriter, r *http.Request) error { return ofShape(w, r, jsonType, get) }
}

// revocationList serves a list that certificates in the key set name. A new one comes daily, days
// before the last one ends.
func (a *Attestation) revocationList(w http.ResponseWriter, r *http.Request) error {
	return ofShape(w, r, "application/pkix-crl", func(shape ear.Shape) ([]byte, error) { return a.service.RevocationList(shape, r.PathValue("id")) })
}

func ofShape(w http.ResponseWriter, r *http.Request, contentType string, get func(ear.Shape) ([]byte, error)) error {
	for _, shape := range ear.Shapes() {
		if shape.Name != r.PathValue("shape") {
			continue
		}
		data, err := get(shape)
		if err != nil {
			return withStatus{http.StatusNotFound, err}
		}
		w.Header().Set("Cache-Control", "public, max-age=3600")
		writeBody(w, http.StatusOK, contentType, data)
		return nil
	}
	return withStatus{http.StatusNotFound, verdict.Refuse("attestation.audience", "a shape of token", verdict.Short(r.PathValue("shape")), "GET /openapi.json lists what there is")}
}

// maa answers clients of Microsoft Azure Attestation, in errors as well.
func (a *Attestation) maa(w http.ResponseWriter, r *http.Request) error {
	err := a.work(w, r, verifier.MaxRequest, func(ctx context.Context, body []byte) (any, error) {
		return a.service.MAA(ctx, r.PathValue("operation"), r.URL.Query().Get("api-version"), body)
	})
	if err == nil {
		return nil
	}
	var doc map[string]any
	if json.Unmarshal(verdict.Encode(err), &doc) != nil || statusOf(err) >= http.StatusInternalServerError && statusOf(err) != http.StatusServiceUnavailable {
		return err
	}
	code := map[verdict.Kind]string{verdict.Usage: "InvalidParameter", verdict.Refused: "PolicyEvaluationError", verdict.Invalid: "InvalidQuote"}[verdict.As(err).Kind]
	doc["error"] = map[string]string{"code": code, "message": verdict.As(err).Error()}
	data, encodeErr := json.Marshal(doc)
	if encodeErr != nil {
		return errors.Join(err, encodeErr)
	}
	writeBody(w, statusOf(err), jsonType, data)
	return nil
}

func (a *Attestation) itaNonce(w http.ResponseWriter, _ *http.Request) error {
	return answerJSON(w)(a.service.ITANonce())
}

func (a *Attestation) ita(onAzure bool) answer {
	return func(w http.ResponseWriter, r *http.Request) error {
		return a.work(w, r, verifier.MaxRequest, func(ctx context.Context, body []byte) (any, error) { return a.service.ITA(ctx, onAzure, body) })
	}
}

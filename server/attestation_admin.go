package server

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"

	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

func (a *Attestation) adminRoutes() []route {
	return append(a.watchRoutes(), []route{
		{"GET", "/v1/policies", a.listPolicies, true},
		{"GET", "/v1/policies/{id}", onPolicy(func(w http.ResponseWriter, r *http.Request, id wire.ID) error {
			versions, err := a.service.Versions(r.Context(), id)
			return answerJSON(w)(verifier.VersionList{Versions: versions}, err)
		}), true},
		{"GET", "/v1/policies/{id}/{version}", onPolicy(a.showPolicy), true},
		{"PUT", "/v1/policies/{id}", onPolicy(a.putPolicy), true},
		{"POST", "/v1/policies/{id}/activate", onPolicy(a.activatePolicy), true},
		{"POST", "/v1/policies/{id}/try", onPolicy(a.tryPolicy), true},
		{"DELETE", "/v1/policies/{id}", onPolicy(func(w http.ResponseWriter, r *http.Request, id wire.ID) error {
			state, err := a.service.Retire(r.Context(), id)
			a.changed(r, "policy out of force", id, 0, err)
			return answerJSON(w)(state, err)
		}), true},
	}...)
}

// onPolicy is an answer about the policy that the path names.
func onPolicy(do func(w http.ResponseWriter, r *http.Request, id wire.ID) error) answer {
	return func(w http.ResponseWriter, r *http.Request) error {
		id := wire.ID(r.PathValue("id"))
		if !id.Valid() {
			return verdict.Misuse("appraisal.policies", "the id of a policy: 1 to 63 of a-z, 0-9 and -, starting with a letter", verdict.Short(string(id)), "correct the path")
		}
		return do(w, r, id)
	}
}

func (a *Attestation) listPolicies(w http.ResponseWriter, r *http.Request) error {
	list, err := a.service.Policies(r.Context())
	return answerJSON(w)(verifier.PolicyList{Policies: list}, err)
}

func (a *Attestation) showPolicy(w http.ResponseWriter, r *http.Request, id wire.ID) error {
	n, err := strconv.ParseInt(r.PathValue("version"), 10, 64)
	if err != nil || n < 1 || n > wire.MaxInteger {
		return verdict.Misuse("appraisal.version", "the number of a version", verdict.Short(r.PathValue("version")), "correct the path")
	}
	return answerJSON(w)(a.service.Policy(r.Context(), id, n))
}

// changed writes a line about a change of a policy that was made. Officers are whoever can open
// the listener; a Unix socket does not tell one from another, so that from is all that is known.
func (a *Attestation) changed(r *http.Request, what string, id wire.ID, version int64, err error) {
	if err != nil {
		return
	}
	a.logger.LogAttrs(r.Context(), slog.LevelInfo, what, slog.String("policy", string(id)), slog.Int64("version", version), slog.String("by", "officer"), slog.String("from", r.RemoteAddr))
}

// putPolicy takes the YAML text itself.
func (a *Attestation) putPolicy(w http.ResponseWriter, r *http.Request, id wire.ID) error {
	return a.work(w, r, verifier.MaxPolicy, func(ctx context.Context, body []byte) (any, error) {
		added, err := a.service.AddPolicy(ctx, id, body)
		a.changed(r, "policy added", id, added.Highest, err)
		return added, err
	})
}

func (a *Attestation) activatePolicy(w http.ResponseWriter, r *http.Request, id wire.ID) error {
	var which verifier.Activation
	if err := readJSON(w, r, 4096, &which); err != nil {
		return err
	}
	state, err := a.service.Activate(r.Context(), id, which.Version)
	a.changed(r, "policy in force", id, which.Version, err)
	return answerJSON(w)(state, err)
}

func (a *Attestation) tryPolicy(w http.ResponseWriter, r *http.Request, id wire.ID) error {
	return a.work(w, r, verifier.MaxTry, func(ctx context.Context, body []byte) (any, error) {
		var t verifier.Trial
		if err := parseOnce(body, &t); err != nil {
			return nil, err
		}
		return a.service.Try(ctx, id, t)
	})
}

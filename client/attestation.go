package client

import (
	"context"
	"net/http"
	"strconv"

	"strongroom.dev/ear"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// maxAttestation is the most bytes of an attestation service's answer: a result with all claims
// and checks is below 100 KiB; a policy's versions can be many.
const maxAttestation = 4 << 20

// Attestation speaks to an attestation service.
type Attestation struct{ endpoint }

// NewAttestation gives a client of the service at a URL such as https://attest.example.org; h
// nil makes one client for each exchange.
func NewAttestation(url string, h *http.Client) *Attestation { return &Attestation{endpoint{url, h}} }

// Challenge asks for a challenge.
func (a *Attestation) Challenge(ctx context.Context, asked verifier.ChallengeRequest) (c verifier.Challenge, err error) {
	err = a.post(ctx, "/v1/challenge", asked, &c, maxAttestation)
	return c, err
}

// Attest has evidence judged. A relying party that is shown the token checks it with
// [ear.Verify] and its own key set.
func (a *Attestation) Attest(ctx context.Context, r verifier.Request) (answer verifier.Answer, err error) {
	err = a.post(ctx, "/v1/attest", r, &answer, maxAttestation)
	return answer, err
}

// KeySet fetches the keys that sign a shape of token. They are as trustworthy as the connection.
func (a *Attestation) KeySet(ctx context.Context, shape ear.Shape) (ear.KeySet, error) {
	data, err := a.do(ctx, http.MethodGet, "/"+shape.Name+"/certs", "", nil, maxAttestation)
	if err != nil {
		return ear.KeySet{}, err
	}
	return ear.ParseKeySet(data)
}

// AttestationAdmin speaks to one's own attestation service over its admin socket.
type AttestationAdmin struct{ endpoint }

// NewAttestationAdmin gives a client of the admin socket at path.
func NewAttestationAdmin(path string) *AttestationAdmin {
	return &AttestationAdmin{endpoint{"http://attestation", NewUnix(path)}}
}

const pathPolicies = "/v1/policies"

// Policies lists the policies.
func (a *AttestationAdmin) Policies(ctx context.Context) ([]verifier.PolicyState, error) {
	var list verifier.PolicyList
	err := a.get(ctx, pathPolicies, &list, maxAttestation)
	return list.Policies, err
}

// Versions lists the versions of a policy.
func (a *AttestationAdmin) Versions(ctx context.Context, id wire.ID) ([]verifier.PolicyVersion, error) {
	var list verifier.VersionList
	err := a.get(ctx, pathPolicies+"/"+string(id), &list, 16*maxAttestation)
	return list.Versions, err
}

// Policy shows a version of a policy.
func (a *AttestationAdmin) Policy(ctx context.Context, id wire.ID, version int64) (v verifier.PolicyVersion, err error) {
	err = a.get(ctx, pathPolicies+"/"+string(id)+"/"+strconv.FormatInt(version, 10), &v, maxAttestation)
	return v, err
}

// AddPolicy adds a version of a policy, as a draft.
func (a *AttestationAdmin) AddPolicy(ctx context.Context, id wire.ID, text []byte) (p verifier.PolicyAdded, err error) {
	data, err := a.do(ctx, http.MethodPut, pathPolicies+"/"+string(id), "application/yaml", text, maxAttestation)
	if err != nil {
		return p, err
	}
	return p, a.decode(pathPolicies, data, &p)
}

// Activate puts a version in force.
func (a *AttestationAdmin) Activate(ctx context.Context, id wire.ID, version int64) (s verifier.PolicyState, err error) {
	err = a.post(ctx, pathPolicies+"/"+string(id)+"/activate", verifier.Activation{Version: version}, &s, maxAttestation)
	return s, err
}

// Retire takes a policy out of force.
func (a *AttestationAdmin) Retire(ctx context.Context, id wire.ID) (s verifier.PolicyState, err error) {
	data, err := a.do(ctx, http.MethodDelete, pathPolicies+"/"+string(id), "", nil, maxAttestation)
	if err != nil {
		return s, err
	}
	return s, a.decode(pathPolicies, data, &s)
}

// Try judges recorded evidence by a version of a policy, or by a draft.
func (a *AttestationAdmin) Try(ctx context.Context, id wire.ID, t verifier.Trial) (tried verifier.Tried, err error) {
	err = a.post(ctx, pathPolicies+"/"+string(id)+"/try", t, &tried, maxAttestation)
	return tried, err
}

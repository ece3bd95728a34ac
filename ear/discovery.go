package ear

import (
	"encoding/json"
	"slices"
)

// Discovery gives the OpenID Connect discovery document of a shape's issuer, from which vaults
// and clouds learn where its keys are. There is no login here: what has to be named besides the
// keys says so.
func Discovery(base string, s Shape) ([]byte, error) {
	issuer := s.Issuer(base)
	algorithms := []string{}
	for _, a := range s.Algorithms {
		algorithms = append(algorithms, string(a))
	}
	claims := []string{"iss", "aud", "sub", "iat", "nbf", "exp", "cnf", "eat_nonce", "strongroom_class", "strongroom_evidence", "strongroom_excludes", "strongroom_freshness",
		"strongroom_generation", "strongroom_init_data", "strongroom_insecure", "strongroom_judged_at", "strongroom_machine", "strongroom_platform", "strongroom_policy",
		"strongroom_policy_digest", "strongroom_policy_version", "strongroom_report_data", "strongroom_root", "strongroom_trusts", "strongroom_verdict"}
	slices.Sort(claims)
	return json.Marshal(map[string]any{
		"issuer": issuer, "jwks_uri": issuer + "/certs",
		"authorization_endpoint": "urn:strongroom:no-login", "response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": algorithms, "scopes_supported": []string{"openid"}, "claims_supported": claims,
	})
}

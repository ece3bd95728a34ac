package server_test

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"strongroom.dev/server"
)

// TestPolicyChangesAreLogged: each change that was made, and none that was refused.
func TestPolicyChangesAreLogged(t *testing.T) {
	w := newAttestation(t, server.AttestationLimits{})
	var log bytes.Buffer
	w.admin = httptest.NewServer(server.NewAttestation(w.service, server.AttestationLimits{}, slog.New(slog.NewTextHandler(&log, nil))).Admin())
	t.Cleanup(w.admin.Close)
	w.refused(w.admin, "DELETE", "/v1/policies/dev", nil, 403, "appraisal.policies")
	if log.Len() > 0 {
		t.Errorf("nothing changed, and the log says %s", log.String())
	}
	w.inForce()
	w.call(w.admin, "DELETE", "/v1/policies/dev", nil, 200, nil)
	for _, want := range []string{`msg="policy added" policy=dev version=1 by=officer`, `msg="policy in force" policy=dev version=1 by=officer`, `msg="policy out of force" policy=dev`} {
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("the log lacks %s: %s", want, log.String())
		}
	}
}

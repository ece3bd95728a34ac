package server_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"strongroom.dev/endorse"
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

// TestMetricsSayWhatEnds: how long endorsements last is there once there are any.
func TestMetricsSayWhatEnds(t *testing.T) {
	w := newAttestation(t, server.AttestationLimits{})
	const name = "strongroom_attestation_endorsements_left_seconds "
	var text string
	if w.call(w.admin, "GET", "/metrics", nil, 200, &text); strings.Contains(text, name) {
		t.Error("a number, where nothing ends")
	}
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	der := must(x509.CreateCertificate(rand.Reader, c, c, key.Public(), key))
	if err := w.service.Renew(context.Background(), must(endorse.NewSet(endorse.Item{Kind: endorse.X509Certificate, Name: "a", Data: der})), nil, nil); err != nil {
		t.Fatal(err)
	}
	if w.call(w.admin, "GET", "/metrics", nil, 200, &text); !strings.Contains(text, name+"-36") {
		t.Errorf("an hour late, and the metrics say %s", text)
	}
}

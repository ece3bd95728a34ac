package room_test

import (
	"crypto/tls"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/ingress"
	"strongroom.dev/room"
	"strongroom.dev/wire"
)

func made[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// TestCertificates: a port with names shows them to those who ask for a name, and to rooms of
// the mesh what they know a room by; outside a mesh there is nothing for rooms.
func TestCertificates(t *testing.T) {
	key := made[*ingress.Key](t)(ingress.NewKey())
	now := time.Now()
	names, mesh := made[*tls.Certificate](t)(key.SelfSigned([]string{"web.example"}, now, now.Add(time.Hour))), made[*tls.Certificate](t)(key.SelfSigned(nil, now, now.Add(time.Hour)))
	ports := []agreement.Port{{Name: "named", Names: []string{"web.example"}, Allow: agreement.Allow{Rooms: []wire.ID{"reader"}}}, {Name: "plain"}}
	authority := []wire.Bytes{{1}}
	c := room.ShownCertificates(agreement.Container{Ports: ports, Mesh: true}, names, mesh, authority)
	if c.Certificate("named") != names || c.Certificate("plain") != mesh || c.MeshCertificate() != mesh || len(c.Mesh) != 1 {
		t.Errorf("in a mesh: %v, %v, %v of %d authorities", c.Certificate("named"), c.Certificate("plain"), c.MeshCertificate(), len(c.Mesh))
	}
	c = room.ShownCertificates(agreement.Container{Ports: ports}, names, mesh, nil)
	if c.Certificate("named") != names || c.MeshCertificate() != nil || c.Mesh != nil {
		t.Errorf("outside: %v, %v", c.Certificate("named"), c.MeshCertificate())
	}
}

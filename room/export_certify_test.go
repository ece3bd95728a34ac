package room

import (
	"context"
	"crypto/tls"
	"time"

	"strongroom.dev/agreement"
)

// AskPatiently asks for a certificate as rooms do.
func AskPatiently(ctx context.Context, ask func() ([]byte, error)) ([]byte, error) {
	s := &service{run: &run{Config: Config{Ask: func(context.Context, string, string, []byte, int) ([]byte, error) { return ask() }}}}
	return s.askPatiently(ctx, "broker/alpha", nil)
}

// FailedNames gives what a room shows for the names of its ports when nobody certifies them
// any more, at a time.
func FailedNames(had *tls.Certificate, now time.Time) (*tls.Certificate, error) {
	s := &service{run: &run{}, named: had, agreed: agreement.Container{Ports: []agreement.Port{{Name: "web", Names: []string{"web.example"}}}}}
	s.clock.elapsed = func() time.Duration { return 0 }
	s.clock.heard(now.UnixMilli())
	return s.certifiedNames(context.Background(), nil)
}

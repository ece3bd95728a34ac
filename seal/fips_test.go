package seal_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"strongroom.dev/seal"
	"strongroom.dev/verdict"
)

// TestFIPSOnly runs every entry point in a process in FIPS-140-only mode, where age's
// hybrid keys loop for ever: it must refuse, at once.
func TestFIPSOnly(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestFIPSChild$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only", "STRONGROOM_FIPS_CHILD=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestFIPSChild") {
		t.Fatalf("%v (%v)\n%s", err, ctx.Err(), out)
	}
}

func TestFIPSChild(t *testing.T) {
	if os.Getenv("STRONGROOM_FIPS_CHILD") == "" {
		t.Skip("runs as a child of TestFIPSOnly")
	}
	const (
		header = "age-encryption.org/v1\n-> X25519 TEiF0ypqr+bpvcqXNyCVJpL7OuwPdVwPL7KQEbFDOCc\nhjabGXwSLQ9c3S6Lw2i+S2Tu2fiwQHHslbBN6B41FLE\n--- WyJp9F/9FOZh7gJdheq2WIJcwHgYc8NIVh3ddwhrcNg\n"
		secret = "# purpose: data\nAGE-SECRET-KEY-PQ-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0\n"
	)
	key, err := seal.NewFileKey(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	want := seal.Expectation{Header: [32]byte{1}, Root: [32]byte{1}, Size: 1, Recipients: 1}
	for name, call := range map[string]func() error{
		"GenerateIdentity":        func() error { _, err := seal.GenerateIdentity(seal.Data); return err },
		"GenerateClassicIdentity": func() error { _, err := seal.GenerateClassicIdentity(seal.Data); return err },
		"ParseIdentityFile":       func() error { _, err := seal.ParseIdentityFile(secret); return err },
		"ParseRecipient":          func() error { _, err := seal.ParseRecipient("age1pq1qqq"); return err },
		"ReadHeader":              func() error { _, err := seal.ReadHeader(strings.NewReader(header)); return err },
		"CountStanzas":            func() error { _, err := seal.CountStanzas([]byte(header)); return err },
		"UnwrapHeader":            func() error { _, err := seal.UnwrapHeader([]byte(header), &seal.Identity{}); return err },
		"Seal": func() error {
			_, err := seal.Seal(io.Discard, strings.NewReader(""), []seal.Recipient{{}}, seal.Options{})
			return err
		},
		"Open": func() error {
			_, err := seal.Open(io.Discard, strings.NewReader(header), []*seal.Identity{{}}, seal.Options{})
			return err
		},
		"OpenAt": func() error {
			_, err := seal.OpenAt(io.Discard, strings.NewReader(header), int64(len(header)), []*seal.Identity{{}}, seal.Options{})
			return err
		},
		"OpenWithKey": func() error {
			_, err := seal.OpenWithKey(io.Discard, strings.NewReader(header), key, seal.Options{})
			return err
		},
		"OpenVerified": func() error {
			_, err := seal.OpenVerified(io.Discard, strings.NewReader(header), key, want, seal.Options{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { check(t, call(), verdict.Refused, "sealed.fips") })
	}
}

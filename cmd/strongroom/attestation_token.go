package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/attest"
	"strongroom.dev/client"
	"strongroom.dev/ear"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// tokenFlags are what a relying party says about a token on the command line.
type tokenFlags struct {
	issuer, shape, audience, keySet, nonce, at string
	warning, software, anyNonce                bool
}

func (a *app) attestationToken() *cobra.Command {
	var f tokenFlags
	cmd := &cobra.Command{
		Use:   "token FILE",
		Short: "Check a token of an attestation service, and say what it proves",
		Long: `Checks a token as a relying party does: signature by a key of the issuer's key set, issuer,
audience, type, times and verdict. The key set comes from --keys, or is fetched from the
service, which is then trusted as far as the connection is.

The token says that whoever holds the key in it is good. Have them prove that they hold it.

Exit 0: good. 3: genuine, but expired, a warning, or about software. 4: not genuine.`,
		Example: `  strongroom attestation token token.jwt --issuer https://attest.example.org --audience https://app.example.org`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.checkToken(cmd.Context(), f, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.issuer, "issuer", "", "`URL` of the service, without the shape")
	flags.StringVar(&f.audience, "audience", "", "whom the token must be for")
	flags.StringVar(&f.shape, "shape", ear.EAR().Name, "shape that the token must have: ear, federation, maa or ita")
	flags.StringVar(&f.keySet, "keys", "", "`FILE` with the issuer's key set (default: fetched from the service)")
	flags.StringVar(&f.nonce, "nonce", "", "the nonce that the relying party chose: hex, or @FILE")
	flags.StringVar(&f.at, "at", "", "judge as of this time (default: now)")
	flags.BoolVar(&f.warning, "accept-warning", false, "take tokens with the verdict warning too")
	flags.BoolVar(&f.anyNonce, "insecure-any-nonce", false, "take tokens for a nonce that somebody else chose, or that is in the runtime data (maa): the evidence may be old")
	flags.BoolVar(&f.software, "insecure-allow-software", false, "take tokens about software platforms, which protect nothing")
	mustHave(cmd, "issuer", "audience")
	return cmd
}

// tokenView is what is shown of a token.
type tokenView struct {
	Verdict  attest.Standing `json:"verdict"`
	Platform string          `json:"platform"`
	Class    string          `json:"class"`
	Policy   string          `json:"policy,omitempty"`
	Subject  string          `json:"subject"`
	Key      string          `json:"key"`
	Issued   wire.Time       `json:"issued"`
	Expires  wire.Time       `json:"expires"`
	Claims   json.RawMessage `json:"claims"`
}

func (a *app) checkToken(ctx context.Context, f tokenFlags, file string) error {
	x := ear.Expect{Base: f.issuer, Audience: f.audience, Now: a.now(), AcceptWarning: f.warning, InsecureAcceptSoftware: f.software, InsecureAnyNonce: f.anyNonce}
	for _, s := range ear.Shapes() {
		if s.Name == f.shape {
			x.Shape = s
		}
	}
	if x.Shape.Name == "" {
		return verdict.Misuse("--shape", "ear, federation, maa or ita", verdict.Short(f.shape), "name the shape that the token should have")
	}
	if err := ear.CheckBase(f.issuer); err != nil {
		return err
	}
	var err error
	if x.Nonce, err = a.bytesFlag("--nonce", f.nonce); err != nil {
		return err
	}
	if f.at != "" {
		if x.Now, err = timeFlag("--at", f.at); err != nil {
			return err
		}
	}
	text, err := a.readDocument(file, "a token")
	if err != nil {
		return err
	}
	if x.Keys, err = a.tokenKeys(ctx, f, x.Shape); err != nil {
		return err
	}
	t, err := ear.Verify(strings.TrimSpace(string(text)), x)
	if err != nil {
		return inFile(file, err)
	}
	view := tokenView{t.Verdict, t.Platform, string(t.Class), t.Policy, t.Subject, t.Confirmation.ID(), wire.At(t.Issued), wire.At(t.Expires), t.Claims}
	return a.print(view, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s, %s (class %s), by policy %s\n", verdict.Printable(file), t.Verdict, verdict.Printable(t.Platform), t.Class, orNoPolicy(t.Policy))
		fmt.Fprintf(w, "For whoever proves to hold the key %s, from %s to %s\n", verdict.Printable(view.Key), view.Issued, view.Expires)
	})
}

func orNoPolicy(policy string) string {
	if policy == "" {
		return "none: any genuine machine passes"
	}
	return verdict.Printable(policy)
}

func (a *app) tokenKeys(ctx context.Context, f tokenFlags, shape ear.Shape) (ear.KeySet, error) {
	if f.keySet == "" {
		return client.NewAttestation(f.issuer, nil).KeySet(ctx, shape)
	}
	data, err := a.readDocument(f.keySet, "a key set")
	if err != nil {
		return ear.KeySet{}, err
	}
	keys, err := ear.ParseKeySet(data)
	return keys, inFile(f.keySet, err)
}

package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"strongroom.dev/broker"
	"strongroom.dev/wire"
)

// A serving broker writes one line for each decision: ids and the check, nothing that was asked.
func TestTelling(t *testing.T) {
	digest := wire.DigestOf([]byte("a"))
	for _, c := range []struct {
		told broker.Told
		want []string
	}{
		{broker.Told{Kind: "grant", Agreement: digest.String(), RunID: "aa", ReleaseID: "bb"}, []string{"keys given", digest.Short(), "run=aa", "release=bb"}},
		{broker.Told{Kind: "refusal", Agreement: digest.String(), RunID: "aa", ReleaseID: "bb", Check: "lease"}, []string{"msg=refused", "check=lease", "run=aa", "release=bb"}},
		{broker.Told{Kind: "refusal", Agreement: digest.String(), Check: "agreement.activated"}, []string{"msg=refused", "check=agreement.activated", digest.Short()}},
	} {
		var out bytes.Buffer
		telling(slog.New(slog.NewTextHandler(&out, nil)))(c.told)
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%+v gives %q without %s", c.told, out.String(), want)
			}
		}
		if strings.Count(out.String(), "\n") != 1 || c.told.RunID == "" && strings.Contains(out.String(), "run=") {
			t.Errorf("%+v gives %q", c.told, out.String())
		}
	}
}

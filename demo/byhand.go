package demo

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"strongroom.dev/examples/hospitals"
)

// byHand is the story as the lines that a user types; test/ runs it.
//
//go:embed byhand.sh
var byHand string // constant: the embedded file

// writeByHand leaves the story's lines in the world, and the agreement that they fill in.
func (s *study) writeByHand() error {
	text, err := hospitals.Files.ReadFile("agreement.yaml")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("agreement.yaml"), text, 0o644); err != nil {
		return err
	}
	var asks []string
	for _, q := range questions {
		asks = append(asks, fmt.Sprintf("strongroom --home researcher run study.json --work %s --param %s --host %s --out results/%s", q.work, q.param, s.hostURL, q.work))
	}
	script := strings.NewReplacer("{{bin}}", quoteInside(filepath.Dir(s.Command)), "{{world}}", quoteInside(s.Dir),
		"{{alpha}}", s.addresses[alpha], "{{beta}}", s.addresses[beta], "{{ledger}}", strings.TrimPrefix(s.ledgerURL, "http://"),
		"{{host}}", strings.TrimPrefix(s.hostURL, "http://"), "{{questions}}", strings.Join(asks, "\n")).Replace(byHand)
	return os.WriteFile(s.path("by-hand.sh"), []byte(script), 0o755)
}

// quoteInside makes a text fit between a shell's single quotes.
func quoteInside(text string) string { return strings.ReplaceAll(text, "'", `'\''`) }

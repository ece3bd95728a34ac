// Package hospitals holds the data and the agreement of the hospitals' study, for programs
// that run it: see SOURCE.md for where the data comes from and its licence.
package hospitals

import "embed"

// Files are agreement.yaml, alpha.csv, beta.csv, alpha-padded.csv and SOURCE.md.
//
//go:embed agreement.yaml alpha.csv beta.csv alpha-padded.csv SOURCE.md
var Files embed.FS

package seal

import (
	"crypto/fips140"

	"strongroom.dev/verdict"
)

// refuseFIPS is called before anything of age is. age encrypts with ChaCha20-Poly1305,
// which FIPS-140-only mode forbids, and its hybrid keys then loop for ever instead of
// failing.
func refuseFIPS() error {
	if !fips140.Enforced() {
		return nil
	}
	return verdict.Refuse("sealed.fips", "a program not in FIPS-140-only mode",
		"GODEBUG=fips140=only: sealed files are age files, and age uses ChaCha20-Poly1305",
		"run without fips140=only; channels, signatures and ledgers work in that mode, sealed files don't")
}

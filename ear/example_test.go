package ear_test

import (
	"fmt"
	"time"

	"strongroom.dev/ear"
)

// A relying party is shown a token, and has fetched the issuer's key set before.
func ExampleVerify() {
	shown := func(token string, keySet []byte) error {
		keys, err := ear.ParseKeySet(keySet)
		if err != nil {
			return err
		}
		t, err := ear.Verify(token, ear.Expect{
			Shape: ear.EAR(), Base: "https://attest.example.org", Audience: "https://app.example.org", Keys: keys, Now: time.Now(),
		})
		if err != nil {
			return err // it names the check, what was expected, and what mends it
		}
		// Now the peer proves that it holds t.Confirmation: by TLS, by a signature, or because
		// what it gets is encrypted to that key.
		fmt.Println(t.Policy, t.Class)
		return nil
	}
	fmt.Println(shown("no.token.", []byte("{}")))
	// Output: token.keys: expected a JWKS document of 1 to 16 keys as spec/ear.md shows it, got 0 keys (fetch it again from the issuer's jwks_uri)
}

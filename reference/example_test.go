package reference_test

import (
	"fmt"
	"log"
	"os"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/reference"
)

// A verifier asks a set that two release keys signed whether it knows what it has measured.
func Example() {
	data, err := os.ReadFile("room.set")
	if err != nil {
		log.Fatal(err)
	}
	var release []keys.PublicKey // of its makers, from wherever they publish them
	line := reference.Line{Product: "room", Keys: release, Threshold: 2, LeastSecurityVersion: 3, Log: "releases.example+1a2b3c4d+AbC..."}
	var known reference.Name // of the set used last, from your own memory
	set, err := reference.Verify(data, line, known, time.Now())
	if err != nil {
		log.Fatal(err) // unsigned, unlogged, outdated, or a step back
	}
	fmt.Println(set.Match(reference.Found{Platform: "snp", Measurements: map[string]string{"measurement": "9f0c..."}}))
	// Remember set.Name() before acting on the answer.
}

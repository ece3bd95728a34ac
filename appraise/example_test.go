package appraise_test

import (
	"fmt"
	"log"
	"os"
	"time"

	"strongroom.dev/appraise"
	"strongroom.dev/attest/snp"
	"strongroom.dev/endorse"
)

// A relying party verifies a report that answers its nonce, by its own policy.
func Example() {
	var files [3][]byte
	for i, name := range []string{"report.bin", "amd.pem", "policy.yaml"} {
		var err error
		if files[i], err = os.ReadFile(name); err != nil {
			log.Fatal(err)
		}
	}
	set, err := endorse.NewSet(endorse.Parse("amd.pem", files[1])...)
	if err != nil {
		log.Fatal(err)
	}
	policy, err := appraise.Parse("policy.yaml", files[2])
	if err != nil {
		log.Fatal(err)
	}
	now := time.Now()
	finding, err := snp.New(set).Examine(files[0], now)
	if err != nil {
		log.Fatal(err) // not genuine
	}
	demand := appraise.Demand{Policy: policy, Freshness: appraise.Freshness{Nonce: []byte("what I sent")}, Now: now}
	result := demand.Judge(finding)
	fmt.Print(result.Letter())
	if err := result.Err(); err != nil {
		log.Fatal(err) // genuine, but not to be trusted
	}
}

package predict_test

import (
	"crypto/sha3"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/predict"
)

func shake(seed string, size int) []byte { return sha3.SumSHAKE256([]byte(seed), size) }

func vectorFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(evidencetest.Beside(t, "measure"), name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// launchCase is a row of the table of launch digests that another tool computed.
type launchCase struct {
	name string
	in   predict.SNP
	want string
}

func launchCases(t testing.TB) []launchCase {
	t.Helper()
	files := map[string][]byte{
		"k1": shake("strongroom-vector-kernel-1", 40000), "k2": shake("strongroom-vector-kernel-2", 1234), "i1": shake("strongroom-vector-initrd-1", 99999),
		"none": nil,
	}
	rows := strings.Split(strings.TrimSpace(string(vectorFile(t, "snp-launch-digests.tsv"))), "\n")
	var all []launchCase
	for i, row := range rows[1:] {
		c := strings.Split(row, "\t")
		if len(c) != 9 {
			t.Fatalf("row %d has %d columns", i+2, len(c))
		}
		vcpus, err := strconv.Atoi(c[1])
		if err != nil {
			t.Fatal(err)
		}
		features, err := strconv.ParseUint(c[3], 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		in := predict.SNP{Firmware: vectorFile(t, c[0]), VCPUs: vcpus, CPU: c[2], Features: features, VMM: predict.VMM(c[4])}
		if c[5] != "none" {
			in.Boot = &predict.DirectBoot{Kernel: files[c[5]], Initrd: files[c[6]], Append: c[7]}
		}
		all = append(all, launchCase{strings.Join(c[:8], " "), in, c[8]})
	}
	return all
}

func TestLaunchDigests(t *testing.T) {
	cases := launchCases(t)
	if len(cases) != 60 {
		t.Errorf("%d rows, expected 60", len(cases))
	}
	for _, c := range cases {
		got, err := c.in.LaunchDigest()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if hex.EncodeToString(got[:]) != c.want {
			t.Errorf("%s:\ngot %x\nexpected %s", c.name, got[:], c.want)
		}
	}
}

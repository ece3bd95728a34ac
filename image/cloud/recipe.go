package cloud

import (
	"fmt"
	"slices"
	"strings"

	"strongroom.dev/verdict"
)

// The places that there are recipes for.
const (
	Azure = "azure"
	GCP   = "gcp"
	AWS   = "aws"
	SNP   = "snp" // a host of one's own
	TDX   = "tdx" // a host of one's own
)

// Targets gives the places that there are recipes for.
func Targets() []string { return []string{Azure, GCP, AWS, SNP, TDX} }

// File is what a place takes an image as: "" where it is taken as it is.
func File(target string) string {
	return map[string]string{Azure: "room.vhd", GCP: "room.tar.gz", AWS: "room.raw"}[target]
}

// Unit is what a disk's size must be a multiple of at a place, in bytes.
func Unit(target string) int64 {
	if target == AWS || target == GCP {
		return 1 << 30 // volumes come in GiB
	}
	return mib
}

// Recipe is how an image is launched at a place. Use [Recipe.Markdown].
type Recipe struct {
	Target string
	// Image is the image's directory, as commands name it.
	Image string
	// VCPUs is the number of processors, Model theirs as QEMU names it, and Memory the machine's as
	// --memory takes it. Disk is the file that the image is written to for a cloud.
	VCPUs         int
	Model, Memory string
	Disk          string
	// Groups are the values that evidence will carry, where they are known.
	Groups []Group
	// Command is what launches the machine in the end, where that is QEMU.
	Command string
}

// Group is values of one kind.
type Group struct {
	Title  string
	Values []Value
	Notes  []string
}

// Value is one of them, in hex.
type Value struct{ Name, Value string }

// Markdown gives the recipe as a page.
func (r Recipe) Markdown() (string, error) {
	if !slices.Contains(Targets(), r.Target) {
		return "", verdict.Misuse("target", "one of "+strings.Join(Targets(), ", "), verdict.Short(r.Target), "name one of them")
	}
	page := map[string]string{Azure: azure, GCP: gcp, AWS: aws, SNP: snp, TDX: tdx}[r.Target]
	channel := ""
	if File(r.Target) != "" {
		channel = noChannel
	}
	aws, known := awsTypes()[r.VCPUs]
	if r.Target == AWS && !known {
		return "", verdict.Misuse("--vcpus", "2, 4, 8, 16, 32, 48, 64 or 96, as AWS has machines of the family M6a", fmt.Sprint(r.VCPUs), "choose one of them")
	}
	return strings.NewReplacer("@VCPUS@", fmt.Sprint(r.VCPUs), "@MODEL@", verdict.ShellWord(r.Model), "@MEMORY@", verdict.ShellWord(r.Memory), "@DISK@", verdict.ShellWord(r.Disk), "@AWSTYPE@", aws,
		"@IMAGE@", verdict.ShellWord(r.Image), "@VALUES@", r.values(), "@COMMAND@", r.Command, "@CHANNEL@", channel).Replace(page), nil
}

// awsTypes are the sizes of the family M6a by their number of processors.
func awsTypes() map[int]string {
	return map[int]string{2: "m6a.large", 4: "m6a.xlarge", 8: "m6a.2xlarge", 16: "m6a.4xlarge", 32: "m6a.8xlarge", 48: "m6a.12xlarge", 64: "m6a.16xlarge", 96: "m6a.24xlarge"}
}

func (r Recipe) values() string {
	if len(r.Groups) == 0 {
		return "Run this command on your image and they stand here: `strongroom image recipe " + r.Target + " " + verdict.ShellWord(r.Image) + "`.\n"
	}
	var b strings.Builder
	for _, g := range r.Groups {
		fmt.Fprintf(&b, "%s:\n\n", g.Title)
		if len(g.Values) > 0 {
			b.WriteString("| value | hex |\n|---|---|\n")
		}
		for _, v := range g.Values {
			fmt.Fprintf(&b, "| `%s` | `%s` |\n", v.Name, v.Value)
		}
		for _, n := range g.Notes {
			fmt.Fprintf(&b, "\n%s\n", n)
		}
		b.WriteString("\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// noChannel is what keeps rooms out of clouds in this version; it is said first.
const noChannel = `**What works.** The image boots there and is measured as this page says, which its evidence and the
serial console show. It is not yet a room that does work: a room's byte channel and its data are a virtio
port and virtio disks with serial numbers, which no cloud hands to machines, so the machine ends with a
refusal on its console: ` + "`machine.channel`" + `, or before it ` + "`machine.platform`" + ` on Azure and ` + "`machine.acpi`" + ` where the machine shows
SEV-SNP's own evidence and took in the host's ACPI byte code. Rooms that work need a host of yours: [snp.md](snp.md), [tdx.md](tdx.md).
`

package predict

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
)

// FirmwareRelease is a stable release of EDK II, which are named by year and month.
type FirmwareRelease struct{ Year, Month int }

// String writes it as EDK II and distributions do.
func (r FirmwareRelease) String() string { return fmt.Sprintf("%d.%02d", r.Year, r.Month) }

// Before reports an older release.
func (r FirmwareRelease) Before(other FirmwareRelease) bool {
	return r.Year < other.Year || r.Year == other.Year && r.Month < other.Month
}

// longestVersion is how much of a version's text is looked at, in characters.
const longestVersion = 40

// ReleaseOf gives the release that an OVMF image says it was built from (its
// PcdFirmwareVersionString, as Debian and Fedora set it: "2025.02-8", "edk2-20240214-1"), the
// oldest if it names several. Many builds say nothing: then it is false, and so it is for what
// is no OVMF image. What firmware says of itself is no proof.
func ReleaseOf(firmware []byte) (oldest FirmwareRelease, said bool) {
	unpacked, err := volumes(firmware)
	if err != nil {
		return FirmwareRelease{}, false
	}
	form := regexp.MustCompile(`^(?:edk2-(?:stable)?(20\d\d)(0[1-9]|1[0-2])|(20\d\d)\.(0[1-9]|1[0-2])-)`)
	for _, volume := range unpacked {
		for _, start := range []string{"20", "edk2-"} {
			mark := wide(start)
			for at, rest := 0, volume; ; {
				i := bytes.Index(rest, mark)
				if i < 0 {
					break
				}
				at += i
				if r, ok := releaseIn(form, narrow(volume[at:])); ok && !follows(volume, at) && (!said || r.Before(oldest)) {
					oldest, said = r, true
				}
				at += len(mark)
				rest = volume[at:]
			}
		}
	}
	return oldest, said
}

func releaseIn(form *regexp.Regexp, text string) (FirmwareRelease, bool) {
	m := form.FindStringSubmatch(text)
	if m == nil {
		return FirmwareRelease{}, false
	}
	year, _ := strconv.Atoi(m[1] + m[3]) // digits only
	month, _ := strconv.Atoi(m[2] + m[4])
	return FirmwareRelease{year, month}, true
}

// follows reports a text that is the end of another: a character stands in front of it.
func follows(volume []byte, at int) bool {
	return at >= 2 && volume[at-1] == 0 && volume[at-2] > ' ' && volume[at-2] < 0x7f
}

// narrow reads the ASCII characters that UTF-16 starts with.
func narrow(data []byte) string {
	var out []byte
	for len(data) >= 2 && data[1] == 0 && data[0] >= ' ' && data[0] < 0x7f && len(out) < longestVersion {
		out, data = append(out, data[0]), data[2:]
	}
	return string(out)
}

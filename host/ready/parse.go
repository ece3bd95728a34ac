package ready

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// version is the first two numbers of one.
type version struct{ major, minor int }

func (v version) less(w version) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

// parseVersion finds the first version in a text.
func parseVersion(text string) (version, bool) {
	m := regexp.MustCompile(`(?:^|[ v-])(\d{1,6})\.(\d{1,6})`).FindStringSubmatch(text)
	if m == nil {
		return version{}, false
	}
	major, _ := strconv.Atoi(m[1]) // digits only
	minor, _ := strconv.Atoi(m[2])
	return version{major, minor}, true
}

// cpu gives maker and flags of the first processor in /proc/cpuinfo.
func parseCPU(text string) (vendor, model string, flags map[string]bool) {
	flags = map[string]bool{}
	first, _, _ := strings.Cut(text, "\n\n")
	for line := range strings.Lines(first) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(name) {
		case "vendor_id":
			vendor = value
		case "model name":
			model = value
		case "flags":
			for _, f := range strings.Fields(value) {
				flags[f] = true
			}
		}
	}
	return vendor, model, flags
}

// kernelConfig gives the options that the kernel was built with, and where it found them;
// nil if it did not.
func (e *examination) kernelConfig(release string) (map[string]string, string) {
	if release == "" || strings.ContainsAny(release, "/ ") {
		return nil, ""
	}
	for _, place := range []string{"/boot/config-" + release, "/lib/modules/" + release + "/config"} {
		if text, err := e.read(place); err == nil {
			return parseConfig(strings.NewReader(text)), place
		}
	}
	const packed = "/proc/config.gz"
	text, err := e.read(packed)
	if err != nil {
		return nil, ""
	}
	r, err := gzip.NewReader(strings.NewReader(text))
	if err != nil {
		return nil, ""
	}
	return parseConfig(io.LimitReader(r, maxRead)), packed
}

func parseConfig(r io.Reader) map[string]string {
	options := map[string]string{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if name, value, found := strings.Cut(lines.Text(), "="); found && strings.HasPrefix(name, "CONFIG_") {
			options[name] = value
		}
	}
	return options
}

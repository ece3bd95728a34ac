package image

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// maxSources bounds one file of apt's sources, in bytes.
const maxSources = 1 << 20

// Mirrors finds the mirrors of Debian's archives that a machine's apt uses, by archive; etc
// is its /etc/apt. What is not http or https is left out, as is what isn't there: then a
// mirror must be given.
func Mirrors(etc fs.FS) map[string]string {
	found := map[string]string{}
	names, _ := fs.Glob(etc, "sources.list.d/*")
	slices.Sort(names)
	for _, name := range append([]string{"sources.list"}, names...) {
		data, err := fs.ReadFile(etc, name)
		if err != nil || len(data) > maxSources {
			continue
		}
		uris := oneLine(string(data))
		if path.Ext(name) == ".sources" {
			uris = stanzas(string(data))
		}
		for _, uri := range uris {
			if archive := archiveOf(uri); archive != "" && found[archive] == "" {
				found[archive] = uri
			}
		}
	}
	return found
}

// MirrorsAt gives the mirrors below one address that has both archives.
func MirrorsAt(base string) map[string]string {
	base = strings.TrimRight(base, "/")
	return map[string]string{"debian": base + "/debian", "debian-security": base + "/debian-security"}
}

// archiveOf tells which archive an address is a mirror of, by its last element; "" of none.
func archiveOf(uri string) string {
	if !strings.HasPrefix(uri, "http://") && !strings.HasPrefix(uri, "https://") {
		return ""
	}
	switch last := path.Base(strings.TrimRight(uri, "/")); last {
	case "debian", "debian-security":
		return last
	}
	return ""
}

// oneLine reads the addresses of the one-line format: deb [options] URI suite components.
func oneLine(text string) (uris []string) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, found := strings.CutPrefix(strings.TrimSpace(line), "deb ")
		if !found {
			continue
		}
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			_, rest, _ = strings.Cut(rest, "]")
		}
		if fields := strings.Fields(rest); len(fields) > 1 {
			uris = append(uris, fields[0])
		}
	}
	return uris
}

// stanzas reads the addresses of the deb822 format (sources.list(5)): stanzas of fields.
func stanzas(text string) (uris []string) {
	for stanza := range strings.SplitSeq(text, "\n\n") {
		fields := fieldsOf(stanza)
		if strings.EqualFold(fields["enabled"], "no") || !slices.Contains(strings.Fields(fields["types"]), "deb") {
			continue
		}
		uris = append(uris, strings.Fields(fields["uris"])...)
	}
	return uris
}

// fieldsOf reads one stanza of "Name: value" lines, values going on in lines that start with
// a space; names in lower case. Comments are left out.
func fieldsOf(stanza string) map[string]string {
	fields, last := map[string]string{}, ""
	for line := range strings.Lines(stanza) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t"):
			if last != "" {
				fields[last] += "\n" + strings.TrimSpace(line)
			}
		default:
			name, value, found := strings.Cut(line, ":")
			if !found {
				continue
			}
			last = strings.ToLower(name)
			fields[last] = strings.TrimSpace(value)
		}
	}
	return fields
}

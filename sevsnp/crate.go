package sevsnp

import (
	"encoding/binary"
	"fmt"
)

// field is a member of the sev crate's report and its place, in bytes.
type field struct {
	name     string
	at, size int
}

// crateNumbers are the integers. Members have changed from version to version of the crate:
// key_info was _author_key_en, and firmware versions had members of their own.
func crateNumbers() []field {
	return []field{
		{"version", 0, 4}, {"guest_svn", 4, 4}, {"policy", 8, 8}, {"vmpl", 0x30, 4}, {"sig_algo", 0x34, 4}, {"plat_info", 0x40, 8},
		{"_author_key_en", 0x48, 4}, {"key_info", 0x48, 4},
		{"cpuid_fam_id", 0x188, 1}, {"cpuid_mod_id", 0x189, 1}, {"cpuid_step", 0x18a, 1},
		{"current_build", 0x1e8, 1}, {"current_minor", 0x1e9, 1}, {"current_major", 0x1ea, 1},
		{"committed_build", 0x1ec, 1}, {"committed_minor", 0x1ed, 1}, {"committed_major", 0x1ee, 1},
		{"launch_mit_vector", 0x1f8, 8}, {"current_mit_vector", 0x200, 8},
	}
}

// crateBytes are the byte strings.
func crateBytes() []field {
	return []field{
		{"family_id", 0x10, 16}, {"image_id", 0x20, 16}, {"report_data", 0x50, 64}, {"measurement", 0x90, 48}, {"host_data", 0xc0, 32},
		{"id_key_digest", 0xe0, 48}, {"author_key_digest", 0x110, 48}, {"report_id", 0x140, 32}, {"report_id_ma", 0x160, 32}, {"chip_id", 0x1a0, 64},
	}
}

// isCrate recognises a report as the sev crate serialises it: a map with a member for every
// field, byte strings as arrays of integers.
func isCrate(n node) bool {
	return n.get("version").kind == aNumber && n.get("measurement").kind == aBytes && n.get("report_data").kind == aBytes &&
		n.get("reported_tcb").kind == aMap && n.get("signature").kind == aMap
}

// fromCrate puts the report's bytes together again; a member that is absent or null stands
// for zero. The signature then tells whether every byte is as it was.
func fromCrate(n node) ([]byte, error) {
	c := &crateReport{out: make([]byte, ReportSize)}
	for _, f := range crateNumbers() {
		c.number(n, f)
	}
	for _, f := range crateBytes() {
		c.bytes(n, f)
	}
	for i, part := range []string{"build", "minor", "major"} {
		c.number(n.get("current"), field{part, 0x1e8 + i, 1})
		c.number(n.get("committed"), field{part, 0x1ec + i, 1})
	}
	layout := Genoa // and Milan's
	if n.get("cpuid_fam_id").number == 0x1a || n.get("reported_tcb").get("fmc").kind == aNumber {
		layout = Turin
	}
	for _, f := range []field{{"current_tcb", 0x38, 8}, {"reported_tcb", 0x180, 8}, {"committed_tcb", 0x1e0, 8}, {"launch_tcb", 0x1f0, 8}} {
		for _, part := range layout.components() {
			c.number(n.get(f.name), field{part.name, f.at + part.at, 1})
		}
	}
	c.bytes(n.get("signature"), field{"r", signedSize, numberSize})
	c.bytes(n.get("signature"), field{"s", signedSize + numberSize, numberSize})
	return c.out, c.err
}

// crateReport is a report that is being put together. The first error stays.
type crateReport struct {
	out []byte
	err error
}

// number places an integer, little endian.
func (c *crateReport) number(n node, f field) {
	v := n.get(f.name)
	if v.kind == other || c.err != nil {
		return
	}
	if v.kind != aNumber || f.size < 8 && v.number>>(8*f.size) != 0 {
		c.err = fmt.Errorf("member %s is no number of %d bytes", f.name, f.size)
		return
	}
	var le [8]byte
	binary.LittleEndian.PutUint64(le[:], v.number)
	copy(c.out[f.at:f.at+f.size], le[:])
}

// bytes places a byte string of exactly that size.
func (c *crateReport) bytes(n node, f field) {
	v := n.get(f.name)
	if v.kind == other || c.err != nil {
		return
	}
	if v.kind != aBytes || len(v.bytes) != f.size {
		c.err = fmt.Errorf("member %s is no array of %d bytes", f.name, f.size)
		return
	}
	copy(c.out[f.at:], v.bytes)
}

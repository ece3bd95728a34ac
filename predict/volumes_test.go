package predict_test

import (
	"encoding/binary"
	"testing"

	"strongroom.dev/predict"
)

// TestVolumesRefused gives firmware whose compressed volumes are not what they should be.
func TestVolumesRefused(t *testing.T) {
	const container, lzmaID, other = "9e21fd93-9c72-4c15-8c4b-e77f1db2d792", "ee4e5898-3914-4259-9d6e-dc7bd79403cf", "fc1bcdb0-7d31-49aa-936a-a4600d9dd083"
	inside := sectionOf(0x17, volume(t, 512))
	section := func(id string, offset byte, data []byte) []byte {
		return sectionOf(2, append(append(guidOf(t, id), offset, 0, 1, 0), data...))
	}
	in := func(body []byte) []byte { return volume(t, 0, file(t, container, 0x0b, body)) }
	good := packed(t, inside)
	altered := func(at int, with ...byte) []byte {
		c := append([]byte(nil), good...)
		copy(c[at:], with)
		return c
	}
	cut := in(section(lzmaID, 24, good))
	binary.LittleEndian.PutUint16(cut[52:], 60000) // the extended header
	long := in(section(lzmaID, 24, good))
	long[72+20] = 0xff // the file's size
	for _, c := range []struct {
		name, word string
		volume     []byte
	}{
		{"no volume", "none", make([]byte, 4096)},
		{"a volume without files", "none", volume(t, 0)},
		{"another compression", "none", in(section(other, 24, good))},
		{"a volume of variables", "none", func() []byte { v := in(section(lzmaID, 24, good)); v[16]++; return v }()},
		{"an extended header beyond it", "headers", cut},
		{"a file beyond it", "whole files", long},
		{"data before the section's header", "outside", in(section(lzmaID, 4, good))},
		{"data behind the section", "outside", in(section(lzmaID, 255, good))},
		{"no data", "header", in(section(lzmaID, 24, nil))},
		{"a bomb", "at most", in(section(lzmaID, 24, altered(5, 0, 0, 0, 0, 1, 0, 0, 0)))},
		{"a huge dictionary", "at most", in(section(lzmaID, 24, altered(1, 0xff, 0xff, 0xff, 0xff)))},
		{"broken properties", "LZMA", in(section(lzmaID, 24, altered(0, 0xff)))},
		{"data cut short", "bytes", in(section(lzmaID, 24, good[:len(good)-8]))},
		{"more data than said", "bytes", in(section(lzmaID, 24, altered(5, 1)))},
		{"a section of no size", "whole sections", in([]byte{0, 0, 0, 2})},
		{"a section beyond the file", "whole sections", in([]byte{0xff, 0, 0, 2})},
		{"broken sections inside", "whole sections", in(section(lzmaID, 24, packed(t, []byte{9, 0, 0, 0x17})))},
		{"a volume of another size inside", "another size", in(section(lzmaID, 24, packed(t, sectionOf(0x17, append(volume(t, 0x200), 0)))))},
	} {
		fw := tdxFirmware(t, tdxDriver, nil)
		end := fw[len(fw)-4096:] // table and metadata, with nothing but the hand-off block
		m := len(end) - 0x0c00
		binary.LittleEndian.PutUint32(end[m+4:], 16+32)
		binary.LittleEndian.PutUint32(end[m+12:], 1)
		copy(end[m+16:m+48], end[m+16+4*32:])
		_, err := predict.TDX{Firmware: append(aligned4K(c.volume), end...)}.Registers()
		refused(t, c.name, err, "measure.firmware", c.word)
	}
}

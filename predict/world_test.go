package predict_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/ulikunitz/xz/lzma"
)

// part is a section of a PE image under construction.
type part struct {
	name string
	data []byte
}

const fileAlignment = 512

func aligned(n, to int) int { return (n + to - 1) / to * to }

// pe makes a PE32+ image of sections, with a tail behind them.
func pe(tail []byte, parts ...part) []byte {
	const coff, optional, directories = 0x44, 0x58, 16
	headers := aligned(optional+112+8*directories+40*len(parts), fileAlignment)
	out := make([]byte, headers)
	copy(out, "MZ")
	binary.LittleEndian.PutUint32(out[0x3c:], 0x40)
	copy(out[0x40:], "PE\x00\x00")
	binary.LittleEndian.PutUint16(out[coff:], 0x8664)
	binary.LittleEndian.PutUint16(out[coff+2:], uint16(len(parts)))
	binary.LittleEndian.PutUint16(out[coff+16:], 112+8*directories)
	binary.LittleEndian.PutUint16(out[optional:], 0x20b)
	binary.LittleEndian.PutUint32(out[optional+60:], uint32(headers))
	binary.LittleEndian.PutUint32(out[optional+64:], 0x12345678)
	binary.LittleEndian.PutUint32(out[optional+108:], directories)
	address := 0x1000
	for i, p := range parts {
		h := optional + 112 + 8*directories + 40*i
		copy(out[h:h+8], p.name)
		raw := aligned(len(p.data), fileAlignment)
		binary.LittleEndian.PutUint32(out[h+8:], uint32(len(p.data)))
		binary.LittleEndian.PutUint32(out[h+12:], uint32(address))
		binary.LittleEndian.PutUint32(out[h+16:], uint32(raw))
		binary.LittleEndian.PutUint32(out[h+20:], uint32(len(out)))
		out = append(append(out, p.data...), make([]byte, raw-len(p.data))...)
		address += aligned(raw, 4096)
	}
	return append(out, tail...)
}

// overlaid puts the second section of an image where the first is in memory.
func overlaid(image []byte) []byte {
	const first = 0x58 + 112 + 8*16
	copy(image[first+40+12:], image[first+12:first+16])
	return image
}

// sign puts certificates behind an image that has none.
func sign(image []byte, certificates string) []byte {
	const entry = 0x58 + 112 + 8*4
	out := append(append([]byte(nil), image...), certificates...)
	binary.LittleEndian.PutUint32(out[entry:], uint32(len(image)))
	binary.LittleEndian.PutUint32(out[entry+4:], uint32(len(certificates)))
	return out
}

// stubImage is a boot stub that export_test.go makes known.
func stubImage(more ...part) []byte {
	return pe(nil, append([]part{{".text", []byte("code of a stub")}, {".sdmagic", []byte("#### LoaderInfo ####")}}, more...)...)
}

func kernelImage() []byte {
	return sign(pe(nil, part{".text", []byte("code of a kernel")}), "certificates....")
}

func roomImage() []byte {
	return stubImage(part{".osrel", []byte("ID=room\n")}, part{".cmdline", []byte("quiet panic=-1\x00")}, part{".uname", []byte("6.12")},
		part{".linux", kernelImage()}, part{".initrd", []byte("an initrd")})
}

func guidOf(t testing.TB, text string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(raw) != 16 {
		t.Fatal(text)
	}
	for _, swap := range [][2]int{{0, 3}, {1, 2}, {4, 5}, {6, 7}} {
		raw[swap[0]], raw[swap[1]] = raw[swap[1]], raw[swap[0]]
	}
	return raw
}

const ffs2 = "8c8ce578-8a3d-4f1c-9935-896185c32dd3"

// volume makes a firmware volume of files, filled up to a size.
func volume(t testing.TB, size int, files ...[]byte) []byte {
	out := make([]byte, 72)
	copy(out[16:], guidOf(t, ffs2))
	copy(out[40:], "_FVH")
	binary.LittleEndian.PutUint16(out[48:], 72)
	for _, f := range files {
		out = append(out, f...)
		out = append(out, bytes.Repeat([]byte{0xff}, aligned(len(out), 8)-len(out))...)
	}
	if len(out) < size {
		out = append(out, bytes.Repeat([]byte{0xff}, size-len(out))...)
	}
	binary.LittleEndian.PutUint64(out[32:], uint64(len(out)))
	return out
}

// file makes a file of a firmware volume.
func file(t testing.TB, name string, kind byte, body []byte) []byte {
	out := append(guidOf(t, name), 0, 0, kind, 0)
	size := 24 + len(body)
	if size >= 1<<24 {
		out[19] = 1
		out = append(out, 0, 0, 0, 0xf8)
		out = binary.LittleEndian.AppendUint64(out, uint64(size+8))
	} else {
		out = append(out, byte(size), byte(size>>8), byte(size>>16), 0xf8)
	}
	return append(out, body...)
}

// sectionOf makes a section of a file.
func sectionOf(kind byte, body []byte) []byte {
	size := 4 + len(body)
	if size >= 0xffffff {
		out := []byte{0xff, 0xff, 0xff, kind}
		return append(binary.LittleEndian.AppendUint32(out, uint32(size+4)), body...)
	}
	return append([]byte{byte(size), byte(size >> 8), byte(size >> 16), kind}, body...)
}

func packed(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := lzma.WriterConfig{SizeInHeader: true, Size: int64(len(data))}.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// compactVolume makes the volume that holds the compressed ones.
func compactVolume(t testing.TB, volumes ...[]byte) []byte {
	var inside []byte
	for _, v := range volumes {
		inside = append(inside, sectionOf(0x17, v)...)
		inside = append(inside, make([]byte, aligned(len(inside), 4)-len(inside))...)
	}
	body := append(guidOf(t, "ee4e5898-3914-4259-9d6e-dc7bd79403cf"), 24, 0, 1, 0)
	body = append(body, packed(t, inside)...)
	return volume(t, 0, file(t, "9e21fd93-9c72-4c15-8c4b-e77f1db2d792", 0x0b, sectionOf(2, body)))
}

// entry is an entry of the table.
type entry struct {
	id   string
	data []byte
}

// tableEnd makes the last page of an image: a table of entries.
func tableEnd(t testing.TB, entries []entry) []byte {
	page := make([]byte, 4096)
	at := len(page) - 32
	put := func(id string, size int) {
		at -= 16
		copy(page[at:], guidOf(t, id))
		at -= 2
		binary.LittleEndian.PutUint16(page[at:], uint16(size))
	}
	total := 18
	for _, e := range entries {
		total += 18 + len(e.data)
	}
	put("96b582de-1fb2-45f7-baea-a366c55a082d", total)
	for _, e := range entries {
		data := e.data
		put(e.id, 18+len(data))
		at -= len(data)
		copy(page[at:], data)
	}
	return page
}

// tdxSection is a section of TDX metadata under construction.
type tdxSection struct {
	at, raw       uint32
	address, size uint64
	kind, flags   uint32
}

const tdxDriver = "f062221e-c607-44c2-b0b4-c3886331d351"

// tdxFirmware makes an image for TDX as OVMF's general build is, with one driver.
func tdxFirmware(t testing.TB, driver string, change func([]tdxSection) []tdxSection) []byte {
	return tdxFirmwareOf(t, compactVolume(t, volume(t, 512), volume(t, 1024, file(t, driver, 7, []byte("driver")))), change)
}

// tdxFirmwareOf makes an image for TDX: variables, code, and a page with table and metadata.
func tdxFirmwareOf(t testing.TB, code []byte, change func([]tdxSection) []tdxSection) []byte {
	variables := bytes.Repeat([]byte{7}, 4096)
	code = append(code, make([]byte, aligned(len(code), 4096)-len(code))...)
	end := tableEnd(t, []entry{{"e47a6535-984a-4798-865e-4685a7bf8ec2", []byte{0, 0x0c, 0, 0}}})
	image := append(append(variables, code...), end...)
	base := uint64(1<<32 - len(image))
	sections := []tdxSection{
		{4096, uint32(len(image) - 4096), base + 4096, uint64(len(image) - 4096), 0, 1},
		{0, 4096, base, 4096, 1, 0},
		{0, 0, 0x810000, 0x10000, 3, 0}, {0, 0, 0x80b000, 0x2000, 3, 0}, {0, 0, 0x809000, 0x2000, 2, 0}, {0, 0, 0x800000, 0x6000, 3, 0},
	}
	if change != nil {
		sections = change(sections)
	}
	m := []byte("TDVF")
	for _, n := range []uint32{uint32(16 + 32*len(sections)), 1, uint32(len(sections))} {
		m = binary.LittleEndian.AppendUint32(m, n)
	}
	for _, s := range sections {
		m = binary.LittleEndian.AppendUint32(m, s.at)
		m = binary.LittleEndian.AppendUint32(m, s.raw)
		m = binary.LittleEndian.AppendUint64(m, s.address)
		m = binary.LittleEndian.AppendUint64(m, s.size)
		m = binary.LittleEndian.AppendUint32(m, s.kind)
		m = binary.LittleEndian.AppendUint32(m, s.flags)
	}
	copy(image[len(image)-0x0c00:], m)
	return image
}

// installed reads a file of Debian's packages.
func installed(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		const why = "needs the packages ovmf and systemd-boot-efi (scripts/setup test): "
		if os.Getenv("CI") == "true" {
			t.Fatal(why, err)
		}
		t.Skip(why, err)
	}
	return data
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// sevFirmware makes an image for SEV-SNP, with an area for kernel hashes.
func sevFirmware(t testing.TB) []byte {
	entries := []entry{
		{"00f771de-1a7e-4fcb-890e-68c77e2fb44e", []byte{0x04, 0xb0, 0x80, 0}}, {"7255371f-3a3b-4b04-927b-1da6efa8d454", []byte{0, 0x0c, 0x81, 0, 0, 4, 0, 0}},
		{"dc886566-984a-4798-a75e-5585a7bf67cc", []byte{0, 8, 0, 0}},
	}
	return sevImage(t, entries, []uint32{0x800000, 0x3000, 1, 0x80d000, 0x1000, 2, 0x80e000, 0x1000, 3, 0x80f000, 0x1000, 4, 0x810000, 0x1000, 0x10})
}

// plainFirmware makes one without.
func plainFirmware(t testing.TB) []byte {
	entries := []entry{{"00f771de-1a7e-4fcb-890e-68c77e2fb44e", []byte{0x04, 0xb0, 0x80, 0}}, {"dc886566-984a-4798-a75e-5585a7bf67cc", []byte{0, 8, 0, 0}}}
	return sevImage(t, entries, []uint32{0x800000, 0x3000, 1, 0x80d000, 0x1000, 2, 0x80e000, 0x1000, 3})
}

func sevImage(t testing.TB, entries []entry, sections []uint32) []byte {
	image := append(bytes.Repeat([]byte("firmware"), 512), tableEnd(t, entries)...)
	m := []byte("ASEV")
	for _, n := range append([]uint32{uint32(16 + 4*len(sections)), 1, uint32(len(sections) / 3)}, sections...) {
		m = binary.LittleEndian.AppendUint32(m, n)
	}
	copy(image[len(image)-0x800:], m)
	return image
}

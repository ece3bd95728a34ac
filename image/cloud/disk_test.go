package cloud_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"io"
	"testing"

	"strongroom.dev/image/cloud"
	"strongroom.dev/verdict"
)

const mib = 1 << 20

func kernel(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b
}

func raw(t *testing.T, k []byte, unit int64) (*cloud.Disk, []byte) {
	t.Helper()
	d, err := cloud.NewDisk(k, unit)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if n, err := d.WriteTo(&b); err != nil || n != d.Size() || int64(b.Len()) != d.Size() {
		t.Fatalf("%d bytes written of %d: %v", n, d.Size(), err)
	}
	return d, b.Bytes()
}

// holey is a file that can have holes, and counts them.
type holey struct {
	bytes.Buffer
	holes int
}

func (h *holey) Hole(n int64) error {
	h.holes++
	h.Write(make([]byte, n))
	return nil
}

// TestDiskWithHoles: where a file can have holes, what is empty of the disk takes no room, and the
// bytes are the same.
func TestDiskWithHoles(t *testing.T) {
	d, want := raw(t, kernel(1<<20), 64*mib)
	var h holey
	if n, err := d.WriteTo(&h); err != nil || n != d.Size() || h.holes != 1 || !bytes.Equal(h.Bytes(), want) {
		t.Errorf("%d bytes, %d holes: %v", n, h.holes, err)
	}
}

// TestDisk reads the disk as firmware does: partition table, file system, path.
func TestDisk(t *testing.T) {
	for _, c := range []struct {
		size int
		unit int64
	}{{1, mib}, {511, mib}, {14 << 20, mib}, {14<<20 + 512, 64 * mib}, {60 << 20, mib}} {
		k := kernel(c.size)
		d, b := raw(t, k, c.unit)
		if d.Size()%c.unit != 0 {
			t.Errorf("%d bytes, no multiple of %d", d.Size(), c.unit)
		}
		first, last := partition(t, b)
		if got := file(t, b[first*512:(last+1)*512]); !bytes.Equal(got, k) {
			t.Errorf("a kernel of %d bytes: %d bytes are on the disk", len(k), len(got))
		}
		if _, again := raw(t, k, c.unit); sha256.Sum256(again) != sha256.Sum256(b) {
			t.Error("the same kernel gives other bytes")
		}
		if _, other := raw(t, append(k[:len(k)-1:len(k)-1], k[len(k)-1]^1), c.unit); bytes.Equal(other[512:1024], b[512:1024]) {
			t.Error("disks of two kernels have the same name")
		}
	}
}

// partition checks both partition tables and gives the one partition's first and last sector.
func partition(t *testing.T, disk []byte) (first, last int64) {
	t.Helper()
	le := binary.LittleEndian
	if disk[510] != 0x55 || disk[511] != 0xaa || disk[450] != 0xee {
		t.Fatal("no protective record")
	}
	sectors := uint64(len(disk) / 512)
	for _, at := range []uint64{1, sectors - 1} {
		h := bytes.Clone(disk[at*512 : at*512+92])
		sum := le.Uint32(h[16:])
		le.PutUint32(h[16:], 0)
		table := le.Uint64(h[72:])
		entries := disk[table*512 : table*512+128*128]
		if string(h[:8]) != "EFI PART" || crc32.ChecksumIEEE(h) != sum || le.Uint64(h[24:]) != at || le.Uint64(h[32:]) != sectors-at || le.Uint32(h[88:]) != crc32.ChecksumIEEE(entries) {
			t.Fatalf("header at %d: %x", at, h)
		}
		first, last = int64(le.Uint64(entries[32:])), int64(le.Uint64(entries[40:]))
		if usable := int64(le.Uint64(h[48:])); first < int64(le.Uint64(h[40:])) || last > usable || usable >= int64(sectors-33) {
			t.Fatalf("a partition from %d to %d, usable up to %d of %d", first, last, usable, sectors)
		}
		if !bytes.Equal(entries[:4], []byte{0x28, 0x73, 0x2a, 0xc1}) {
			t.Fatal("no EFI system partition")
		}
	}
	return first, last
}

// file gives EFI/BOOT/BOOTX64.EFI of a FAT32 file system.
func file(t *testing.T, volume []byte) []byte {
	t.Helper()
	le := binary.LittleEndian
	reserved, fat, sectors := int(le.Uint16(volume[14:])), int(le.Uint32(volume[36:])), int(le.Uint32(volume[32:]))
	if sectors*512 != len(volume) || volume[13] != 1 || volume[16] != 2 {
		t.Fatalf("%d sectors in a volume of %d bytes", sectors, len(volume))
	}
	clusters := sectors - reserved - 2*fat
	if clusters < 65525 || (clusters+2)*4 > fat*512 {
		t.Fatalf("%d clusters in tables of %d sectors are not FAT32", clusters, fat)
	}
	table := volume[reserved*512 : (reserved+fat)*512]
	if !bytes.Equal(table, volume[(reserved+fat)*512:(reserved+2*fat)*512]) || !bytes.Equal(volume[:512], volume[6*512:7*512]) {
		t.Fatal("copies differ")
	}
	read := func(cluster uint32) (out []byte) {
		for n := 0; cluster < 0x0ffffff8; n++ {
			if n > clusters || int(cluster) < 2 || int(cluster) >= clusters+2 {
				t.Fatalf("a chain leads to cluster %d", cluster)
			}
			at := (reserved + 2*fat + int(cluster) - 2) * 512
			out = append(out, volume[at:at+512]...)
			cluster = le.Uint32(table[4*cluster:]) & 0x0fffffff
		}
		return out
	}
	find := func(dir []byte, name string) (uint32, int) {
		for ; len(dir) >= 32 && dir[0] != 0; dir = dir[32:] {
			if string(dir[:11]) == name && dir[11]&8 == 0 {
				return uint32(le.Uint16(dir[20:]))<<16 | uint32(le.Uint16(dir[26:])), int(le.Uint32(dir[28:]))
			}
		}
		t.Fatalf("no %q", name)
		return 0, 0
	}
	used := 0
	for c := 2; c < clusters+2; c++ {
		if le.Uint32(table[4*c:]) != 0 {
			used++
		}
	}
	if free := int(le.Uint32(volume[512+488:])); free != clusters-used {
		t.Fatalf("%d clusters said to be free, %d are", free, clusters-used)
	}
	efi, _ := find(read(le.Uint32(volume[44:])), "EFI        ")
	boot, _ := find(read(efi), "BOOT       ")
	start, size := find(read(boot), "BOOTX64 EFI")
	if parent, _ := find(read(boot), "..         "); parent != efi {
		t.Fatal("BOOT does not lie in EFI")
	}
	return read(start)[:size]
}

func TestVHD(t *testing.T) {
	d, b := raw(t, kernel(14<<20), mib)
	var v bytes.Buffer
	if err := d.WriteVHD(&v); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(v.Bytes()[:len(b)], b) || v.Len() != len(b)+512 {
		t.Fatalf("%d bytes of a disk of %d", v.Len(), len(b))
	}
	f, be := v.Bytes()[len(b):], binary.BigEndian
	sum := be.Uint32(f[64:])
	be.PutUint32(f[64:], 0)
	got := uint32(0)
	for _, c := range f {
		got += uint32(c)
	}
	if string(f[:8]) != "conectix" || ^got != sum || be.Uint32(f[60:]) != 2 || int64(be.Uint64(f[48:])) != d.Size() || d.Size()%mib != 0 {
		t.Errorf("footer %x", f[:96])
	}
	if blocks := int64(be.Uint16(f[56:])) * int64(f[58]) * int64(f[59]); blocks > d.Size()/512 || blocks < d.Size()/512-int64(f[58])*int64(f[59]) {
		t.Errorf("a geometry of %d sectors for %d", blocks, d.Size()/512)
	}
}

func TestTarGz(t *testing.T) {
	d, b := raw(t, kernel(1<<20), 64*mib)
	var packed bytes.Buffer
	if err := d.WriteTarGz(&packed); err != nil {
		t.Fatal(err)
	}
	if packed.Len() > 4<<20 {
		t.Errorf("zeros are packed into %d bytes", packed.Len())
	}
	z, err := gzip.NewReader(&packed)
	if err != nil {
		t.Fatal(err)
	}
	a := tar.NewReader(z)
	h, err := a.Next()
	if err != nil || h.Name != "disk.raw" || h.Format != tar.FormatGNU {
		t.Fatalf("%+v, %v", h, err)
	}
	got, err := io.ReadAll(a)
	if err != nil || !bytes.Equal(got, b) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := a.Next(); err != io.EOF {
		t.Error("something is behind the disk")
	}
}

func TestDiskRefused(t *testing.T) {
	for _, c := range []struct {
		kernel []byte
		unit   int64
	}{{nil, mib}, {kernel(1), 0}, {kernel(1), mib - 1}, {kernel(1), mib + 512}, {make([]byte, cloud.MaxKernel+1), mib}} {
		if d, err := cloud.NewDisk(c.kernel, c.unit); verdict.Exit(err) != int(verdict.Usage) {
			t.Errorf("%d bytes, %d: %v, %v", len(c.kernel), c.unit, d, err)
		}
	}
}

type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.left {
		return f.left, io.ErrShortWrite
	}
	f.left -= len(p)
	return len(p), nil
}

// TestFullDisk: a place that is full is an error, wherever it fills up.
func TestFullDisk(t *testing.T) {
	d, _ := raw(t, kernel(100), 64*mib)
	for _, left := range []int64{0, 1, 40 * mib, d.Size() - 1, d.Size() + 511} {
		if err := d.WriteVHD(&full{int(left)}); err == nil {
			t.Errorf("written into %d bytes", left)
		}
	}
	if err := d.WriteTarGz(&full{1000}); err == nil {
		t.Error("packed into 1000 bytes")
	}
}

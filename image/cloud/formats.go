package cloud

import (
	"archive/tar"
	"compress/gzip"
	"encoding/binary"
	"io"
	"time"
)

// WriteVHD writes the disk as a fixed virtual hard disk: its bytes and a footer (Microsoft,
// Virtual Hard Disk Image Format Specification 1.0). Azure takes whole MiB only.
func (d *Disk) WriteVHD(w io.Writer) error {
	if _, err := d.WriteTo(w); err != nil {
		return err
	}
	_, err := w.Write(d.footer())
	return err
}

func (d *Disk) footer() []byte {
	be := binary.BigEndian
	f := make([]byte, sector)
	copy(f, "conectix")
	be.PutUint32(f[8:], 2) // reserved, always set
	be.PutUint32(f[12:], 0x00010000)
	be.PutUint64(f[16:], 1<<64-1) // no further header
	copy(f[28:], "srm ")
	be.PutUint32(f[32:], 0x00010000)
	copy(f[36:], "Wi2k")
	be.PutUint64(f[40:], uint64(d.size))
	be.PutUint64(f[48:], uint64(d.size))
	cylinders, heads, sectors := geometry(d.size / sector)
	be.PutUint16(f[56:], uint16(cylinders))
	f[58], f[59] = byte(heads), byte(sectors)
	be.PutUint32(f[60:], 2) // fixed
	copy(f[68:], guid("vhd", d.id))
	sum := uint32(0)
	for _, b := range f {
		sum += uint32(b)
	}
	be.PutUint32(f[64:], ^sum)
	return f
}

// geometry gives the cylinders, heads and sectors that the specification's appendix counts.
func geometry(total int64) (cylinders, heads, sectors int64) {
	total = min(total, 65535*16*255)
	if total >= 65535*16*63 {
		return total / 255 / 16, 16, 255
	}
	sectors = 17
	tracks := total / sectors
	heads = max(4, (tracks+1023)/1024)
	if tracks >= heads*1024 || heads > 16 {
		sectors, heads = 31, 16
		tracks = total / sectors
	}
	if tracks >= heads*1024 {
		sectors, heads = 63, 16
		tracks = total / sectors
	}
	return tracks / heads, heads, sectors
}

// WriteTarGz writes the disk as Google Cloud takes it: disk.raw in a packed archive.
func (d *Disk) WriteTarGz(w io.Writer) error {
	packed := gzip.NewWriter(w)
	archive := tar.NewWriter(packed)
	if err := archive.WriteHeader(&tar.Header{Name: "disk.raw", Mode: 0o644, Size: d.size, ModTime: time.Unix(0, 0), Format: tar.FormatGNU}); err != nil {
		return err
	}
	if _, err := d.WriteTo(archive); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return packed.Close()
}

// Package cloud brings a room image to where others' machines start it: disks that UEFI
// firmware boots, in the form that each cloud takes, and the recipes to launch them
// (docs/cloud). The same image gives the same bytes.
package cloud

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

const (
	sector = 512
	mib    = 1 << 20
	// MaxKernel bounds the unified kernel image on a disk, in bytes.
	MaxKernel = 128 * mib
	// firstSector is where the partition starts: at 1 MiB, as partitioning tools have it.
	firstSector = mib / sector
	// entrySectors are the sectors of a partition table's entries: 128 of 128 bytes.
	entrySectors = 32
	tableSectors = entrySectors + 1
)

// Disk is a disk with one partition, an EFI system partition that holds a unified kernel
// image as its only program. Use [NewDisk].
type Disk struct {
	head []byte // all but zeros and the second partition table
	tail []byte // the second partition table
	size int64
	id   wire.Hash // of what is on it
}

// NewDisk makes a disk for a unified kernel image whose size is a multiple of unit bytes, at
// least a MiB.
func NewDisk(kernel []byte, unit int64) (*Disk, error) {
	if len(kernel) == 0 || len(kernel) > MaxKernel || unit < mib || unit%mib != 0 {
		return nil, verdict.Misuse("image.disk", fmt.Sprintf("a unified kernel image of at most %d bytes, and whole MiB", MaxKernel), fmt.Sprintf("%d bytes, %d", len(kernel), unit), "strongroom image build makes the image")
	}
	id := wire.HashOf(kernel)
	partition := fileSystem(kernel, id)
	used := int64(mib + len(partition) + tableSectors*sector)
	d := &Disk{size: (used + unit - 1) / unit * unit, id: id}
	sectors := uint64(d.size / sector)
	entries := partitionEntries(id, firstSector, firstSector+uint64(len(partition)/sector)-1)
	d.head = make([]byte, mib, mib+len(partition))
	protective(d.head, sectors)
	copy(d.head[sector:], tableHeader(id, entries, sectors, 1, sectors-1, 2))
	copy(d.head[2*sector:], entries)
	d.head = append(d.head, partition...)
	d.tail = append(entries, tableHeader(id, entries, sectors, sectors-1, 1, sectors-tableSectors)...)
	return d, nil
}

// Size gives the disk's size in bytes.
func (d *Disk) Size() int64 { return d.size }

// holes is a file that takes zeros without taking room for them.
type holes interface {
	Hole(n int64) error
}

// WriteTo writes the disk's bytes; what is empty of it as a hole, where w can have one.
func (d *Disk) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(d.head)
	total := int64(n)
	zeros, left := make([]byte, mib), d.size-int64(len(d.head)+len(d.tail))
	if file, can := w.(holes); can && err == nil {
		if err = file.Hole(left); err == nil {
			total, left = total+left, 0
		}
	}
	for ; err == nil && left > 0; left -= int64(n) {
		n, err = w.Write(zeros[:min(left, mib)])
		total += int64(n)
	}
	if err == nil {
		n, err = w.Write(d.tail)
		total += int64(n)
	}
	return total, err
}

// protective writes the master boot record that keeps old tools off the disk (UEFI 2.10,
// section 5.2.3).
func protective(disk []byte, sectors uint64) {
	p := disk[446:462]
	p[2], p[4] = 2, 0xee // starts at sector 1; the type
	p[5], p[6], p[7] = 0xff, 0xff, 0xff
	binary.LittleEndian.PutUint32(p[8:], 1)
	binary.LittleEndian.PutUint32(p[12:], uint32(min(sectors-1, 0xffffffff)))
	disk[510], disk[511] = 0x55, 0xaa
}

// partitionEntries gives the table of the one partition (UEFI 2.10, section 5.3.3).
func partitionEntries(id wire.Hash, first, last uint64) []byte {
	// C12A7328-F81F-11D2-BA4B-00A0C93EC93B, in UEFI's mixed order: an EFI system partition.
	system := [16]byte{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b}
	entries := make([]byte, entrySectors*sector)
	copy(entries, system[:])
	copy(entries[16:], guid("partition", id))
	binary.LittleEndian.PutUint64(entries[32:], first)
	binary.LittleEndian.PutUint64(entries[40:], last)
	for i, c := range []byte("strongroom") {
		entries[56+2*i] = c
	}
	return entries
}

// tableHeader gives a header of the partition table (UEFI 2.10, section 5.3.2), a sector.
func tableHeader(id wire.Hash, entries []byte, sectors, self, other, table uint64) []byte {
	const size = 92
	h := make([]byte, sector)
	le := binary.LittleEndian
	copy(h, "EFI PART")
	le.PutUint32(h[8:], 0x00010000)
	le.PutUint32(h[12:], size)
	le.PutUint64(h[24:], self)
	le.PutUint64(h[32:], other)
	le.PutUint64(h[40:], 2+entrySectors)
	le.PutUint64(h[48:], sectors-tableSectors-1)
	copy(h[56:], guid("disk", id))
	le.PutUint64(h[72:], table)
	le.PutUint32(h[80:], 128)
	le.PutUint32(h[84:], 128)
	le.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:size]))
	return h
}

// guid derives a GUID of version 8 (RFC 9562) from what is on the disk.
func guid(what string, id wire.Hash) []byte {
	h := wire.SHA256("strongroom/disk/v1", []byte(what), id[:])
	g := h[:16]
	g[7], g[8] = g[7]&0x0f|0x80, g[8]&0x3f|0x80
	return g
}

package cloud

import (
	"encoding/binary"

	"strongroom.dev/wire"
)

// The file system is FAT32 with clusters of one sector (Microsoft, FAT32 File System
// Specification 1.03; UEFI 2.10, section 13.3).
const (
	reserved    = 32
	rootCluster = 2
	efiCluster  = 3
	bootCluster = 4
	fileCluster = 5
	// leastClusters make it FAT32: drivers go by the number of clusters. A margin above 65,525,
	// as the specification advises.
	leastClusters = 70000
	spare         = 8 * mib / sector // free space, for firmware that writes its own files
	lastCluster   = 0x0fffffff
	directory     = 0x10
	archive       = 0x20
	label         = 0x08
)

// fileSystem gives a file system that holds the kernel as EFI/BOOT/BOOTX64.EFI, whole MiB.
func fileSystem(kernel []byte, id wire.Hash) []byte {
	fileSectors := (len(kernel) + sector - 1) / sector
	clusters := max(leastClusters, fileCluster+fileSectors+spare)
	fat := ((clusters+2)*4 + sector - 1) / sector
	sectors := reserved + 2*fat + clusters
	if over := sectors % (mib / sector); over != 0 {
		sectors += mib/sector - over
	}
	for { // the table grows with what it describes
		clusters = sectors - reserved - 2*fat
		need := ((clusters+2)*4 + sector - 1) / sector
		if need <= fat {
			break
		}
		fat = need
	}
	volume := make([]byte, sectors*sector)
	free := clusters - (fileCluster - rootCluster) - fileSectors
	for _, at := range []int{0, 6} {
		bootSector(volume[at*sector:], sectors, fat, id)
		infoSector(volume[(at+1)*sector:], free, fileCluster+fileSectors)
	}
	table := volume[reserved*sector:]
	put := func(cluster int, value uint32) {
		binary.LittleEndian.PutUint32(table[4*cluster:], value)
		binary.LittleEndian.PutUint32(table[fat*sector+4*cluster:], value)
	}
	put(0, 0x0ffffff8)
	put(1, lastCluster)
	for c := rootCluster; c < fileCluster; c++ {
		put(c, lastCluster)
	}
	for c := fileCluster; c < fileCluster+fileSectors; c++ {
		next := uint32(c + 1)
		if c == fileCluster+fileSectors-1 {
			next = lastCluster
		}
		put(c, next)
	}
	data := volume[(reserved+2*fat)*sector:]
	at := func(cluster int) []byte { return data[(cluster-rootCluster)*sector:] }
	entry(at(rootCluster), "STRONGROOM ", label, 0, 0)
	entry(at(rootCluster)[32:], "EFI        ", directory, efiCluster, 0)
	entry(at(efiCluster), ".          ", directory, efiCluster, 0)
	entry(at(efiCluster)[32:], "..         ", directory, 0, 0)
	entry(at(efiCluster)[64:], "BOOT       ", directory, bootCluster, 0)
	entry(at(bootCluster), ".          ", directory, bootCluster, 0)
	entry(at(bootCluster)[32:], "..         ", directory, efiCluster, 0)
	entry(at(bootCluster)[64:], "BOOTX64 EFI", archive, fileCluster, len(kernel))
	copy(at(fileCluster), kernel)
	return volume
}

func bootSector(b []byte, sectors, fat int, id wire.Hash) {
	le := binary.LittleEndian
	copy(b, "\xeb\x58\x90STRONGRM")
	le.PutUint16(b[11:], sector)
	b[13] = 1 // sectors in a cluster
	le.PutUint16(b[14:], reserved)
	b[16] = 2                // tables
	b[21] = 0xf8             // fixed disk
	le.PutUint16(b[24:], 63) // sectors in a track, heads: nobody has them, some ask
	le.PutUint16(b[26:], 255)
	le.PutUint32(b[28:], firstSector)
	le.PutUint32(b[32:], uint32(sectors))
	le.PutUint32(b[36:], uint32(fat))
	le.PutUint32(b[44:], rootCluster)
	le.PutUint16(b[48:], 1) // sector of information
	le.PutUint16(b[50:], 6) // copy of this sector
	b[64], b[66] = 0x80, 0x29
	copy(b[67:71], id[:])
	copy(b[71:], "STRONGROOM FAT32   ")
	b[510], b[511] = 0x55, 0xaa
}

func infoSector(b []byte, free, next int) {
	le := binary.LittleEndian
	le.PutUint32(b, 0x41615252)
	le.PutUint32(b[484:], 0x61417272)
	le.PutUint32(b[488:], uint32(free))
	le.PutUint32(b[492:], uint32(next))
	le.PutUint32(b[508:], 0xaa550000)
}

// entry writes a directory entry, dated 1980-01-01, the first day that there is.
func entry(b []byte, name string, attributes byte, cluster, size int) {
	le := binary.LittleEndian
	copy(b, name)
	b[11] = attributes
	const date = 1<<5 | 1
	le.PutUint16(b[16:], date)
	le.PutUint16(b[18:], date)
	le.PutUint16(b[20:], uint16(cluster>>16))
	le.PutUint16(b[24:], date)
	le.PutUint16(b[26:], uint16(cluster))
	le.PutUint32(b[28:], uint32(size))
}

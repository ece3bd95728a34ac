package predict

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/ulikunitz/xz/lzma"
)

// Firmware volumes and files (UEFI Platform Initialization 1.8, volume 3, chapters 2 and 3).
const (
	guidFFS2           = "8c8ce578-8a3d-4f1c-9935-896185c32dd3"
	guidFFS3           = "5473c07a-3dcb-4dca-bd6f-1e9689e7349a"
	guidLZMA           = "ee4e5898-3914-4259-9d6e-dc7bd79403cf"
	volumeHeader       = 56
	fileHeader         = 24
	fileHeaderLarge    = 32
	fileLarge          = 1    // attribute: the size has 64 bits
	filePad            = 0xf0 // type: nothing
	fileVolume         = 0x0b // type: holds a volume
	sectionGUID        = 0x02
	sectionVolume      = 0x17
	lzmaHeader         = 13
	maxVolume          = 64 << 20 // bytes that are unpacked at most: OVMF's are 13 MiB
	maxFiles           = 1024     // in a volume: OVMF's have 130
	volumeFilesPadding = 8
)

// volumes unpacks the compressed volumes of an OVMF image: early code (PEI), then drivers
// (DXE), with which OVMF measures itself.
func volumes(data []byte) ([][]byte, error) {
	for at := 0; at+volumeHeader <= len(data); {
		size := volumeSize(data[at:])
		if size == 0 {
			at += pageSize
			continue
		}
		found, err := unpackVolume(data[at : at+size])
		if err != nil || found != nil {
			return found, err
		}
		at += size
	}
	return nil, badFirmware("an OVMF image, with compressed volumes", "none")
}

// volumeSize gives the size of the volume at the start of data; 0 if there is none.
func volumeSize(data []byte) int {
	if len(data) < volumeHeader || string(data[40:44]) != "_FVH" {
		return 0
	}
	if size := binary.LittleEndian.Uint64(data[32:]); size >= volumeHeader && size <= uint64(len(data)) {
		return int(size)
	}
	return 0
}

// unpackVolume gives the volumes in the compressed file of a volume; nil if it has none.
func unpackVolume(volume []byte) ([][]byte, error) {
	var found [][]byte
	err := eachFile(volume, func(_ guid, kind byte, body []byte) error {
		if kind != fileVolume || found != nil {
			return nil
		}
		return eachSection(body, func(kind byte, section []byte) error {
			if kind != sectionGUID || len(section) < 20 || !bytes.Equal(section[:16], guidBytes(guidLZMA)) || found != nil {
				return nil
			}
			at := int(binary.LittleEndian.Uint16(section[16:])) - 4 // counted from the section's own header
			if at < 20 || at > len(section) {
				return badFirmware("a compressed section", "one whose data lie outside")
			}
			unpacked, err := unpackLZMA(section[at:])
			if err != nil {
				return err
			}
			return eachSection(unpacked, func(kind byte, inner []byte) error {
				if kind == sectionVolume {
					found = append(found, inner)
				}
				return nil
			})
		})
	})
	return found, err
}

// unpackLZMA reads LZMA data as EDK II packs them: with the size in the header.
func unpackLZMA(data []byte) ([]byte, error) {
	if len(data) < lzmaHeader {
		return nil, badFirmware("compressed volumes", "fewer bytes than their header")
	}
	size := binary.LittleEndian.Uint64(data[5:])
	if size > maxVolume || binary.LittleEndian.Uint32(data[1:]) > maxVolume {
		return nil, badFirmware(fmt.Sprintf("compressed volumes of at most %d bytes", maxVolume), "more")
	}
	r, err := lzma.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, badFirmware("compressed volumes (LZMA)", err.Error())
	}
	unpacked, err := io.ReadAll(io.LimitReader(r, maxVolume+1))
	if err != nil || uint64(len(unpacked)) != size {
		return nil, badFirmware(fmt.Sprintf("compressed volumes of %d bytes", size), fmt.Sprintf("%d bytes", len(unpacked)))
	}
	return unpacked, nil
}

// eachFile walks through the files of a volume.
func eachFile(volume []byte, do func(name guid, kind byte, body []byte) error) error {
	if volumeSize(volume) != len(volume) {
		return badFirmware("a whole volume", "another size in its header")
	}
	if system := volume[16:32]; !bytes.Equal(system, guidBytes(guidFFS2)) && !bytes.Equal(system, guidBytes(guidFFS3)) {
		return nil // variables, for one
	}
	at := int(binary.LittleEndian.Uint16(volume[48:]))
	if ext := int(binary.LittleEndian.Uint16(volume[52:])); ext != 0 {
		if ext+20 > len(volume) {
			return badFirmware("a volume with its headers", "a cut one")
		}
		at = ext + int(min(binary.LittleEndian.Uint32(volume[ext+16:]), maxVolume))
	}
	for n := 0; ; n++ {
		at = (at + volumeFilesPadding - 1) / volumeFilesPadding * volumeFilesPadding
		if at+fileHeader > len(volume) || len(bytes.Trim(volume[at:at+fileHeader], "\xff")) == 0 {
			return nil
		}
		size, header := little24(volume[at+20:]), fileHeader
		if volume[at+19]&fileLarge != 0 && at+fileHeaderLarge <= len(volume) {
			size, header = int(min(binary.LittleEndian.Uint64(volume[at+fileHeader:]), maxVolume+1)), fileHeaderLarge
		}
		if size < header || size > len(volume)-at || n == maxFiles {
			return badFirmware("a volume of whole files", fmt.Sprintf("one of %d bytes at %d", size, at))
		}
		if kind := volume[at+18]; kind != filePad {
			if err := do(guid(volume[at:at+16]), kind, volume[at+header:at+size]); err != nil {
				return err
			}
		}
		at += size
	}
}

func little24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// eachSection walks through the sections of a file.
func eachSection(body []byte, do func(kind byte, section []byte) error) error {
	for at := 0; at+4 <= len(body); at = (at + 3) / 4 * 4 {
		size, header := little24(body[at:]), 4
		if size == 0xffffff && at+8 <= len(body) {
			size, header = int(binary.LittleEndian.Uint32(body[at+4:])), 8
		}
		if size < header || size > len(body)-at {
			return badFirmware("a file of whole sections", fmt.Sprintf("one of %d bytes", size))
		}
		if err := do(body[at+3], body[at+header:at+size]); err != nil {
			return err
		}
		at += size
	}
	return nil
}

// hasFile reports whether a volume has a file of a name.
func hasFile(volume []byte, name string) (bool, error) {
	var names []guid
	err := eachFile(volume, func(name guid, _ byte, _ []byte) error {
		names = append(names, name)
		return nil
	})
	return slices.Contains(names, parseGUID(name)), err
}

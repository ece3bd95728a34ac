package machine

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
	"strongroom.dev/device"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/container/volume"
)

// A disk that a room writes to holds ext4 on dm-crypt on dm-integrity. Each block of 4,096 bytes
// is encrypted (AES-XTS with two keys of 256 bits) and authenticated together with its place
// (HMAC-SHA-256, whose tag dm-integrity keeps, with the block or not at all, by its journal):
// the host can change none, nor put one in another's place. It can put back what it saw at the
// same place before: whoever keeps a volume compares generation and root.
const (
	sealedCipher = "capi:authenc(hmac(sha256),xts(aes))-plain64"
	sealedKey    = 64 + 32 // bytes: cipher, tag
	sealedTag    = 32      // bytes
	sealedHead   = 4096    // bytes in front of dm-integrity's: what state a disk is in
	sealedLabel  = "strongroom/volume-disk/v1"
)

// What stands in a disk's first bytes, and at saltAt 32 random bytes of this making of it, so
// that blocks of an earlier one under the same key are worth nothing. It is no secret and
// believed no further than this: a disk that holds anything else is not written to.
const (
	headFresh = sealedLabel + " making\n"
	headReady = sealedLabel + " ready\n"
	saltAt    = 64
)

// head is what stands in front.
type head struct {
	state string
	salt  [32]byte
}

// key derives the keys of both ciphers.
func (h head) key(from []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, from, h.salt[:], sealedLabel, sealedKey)
}

// mountScratch makes an empty file system under a key of its own.
func mountScratch(path string, asked device.Mount) (*os.File, error) {
	var key [32]byte
	rand.Read(key[:]) // never fails
	defer clear(key[:])
	f, err := makeSealed(asked.Disk, path, asked.Bytes, key[:], "scratch")
	if err != nil {
		return nil, err
	}
	// The container finds it empty.
	if err := unix.Unlinkat(int(f.Fd()), "scratch", unix.AT_REMOVEDIR); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// mountVolume mounts a volume's disk, which is made if nothing was ever on it.
func mountVolume(path string, asked device.Mount) (*os.File, error) {
	if len(asked.Key) != 32 {
		return nil, verdict.Misuse("machine.mount", "a key of 32 bytes", fmt.Sprint(len(asked.Key)), "a defect in the agent: report it")
	}
	h, err := readHead(path)
	if err != nil {
		return nil, err
	}
	switch h.state {
	case "", headFresh:
		return makeSealed(asked.Disk, path, asked.Bytes, asked.Key, volume.Directory)
	case headReady:
		f, err := openSealed(asked.Disk, path, asked.Bytes, h, asked.Key)
		if err != nil {
			return nil, verdict.Refuse("volume.disk", "a volume under this key, unaltered, on "+asked.Disk, verdict.Short(err.Error()), "put the right disk back")
		}
		return f, nil
	}
	return nil, verdict.Refuse("volume.disk", "an empty disk, or a volume of a virtual machine, on "+asked.Disk, "something else", "hand over a file of zeros, or the right disk")
}

// readHead gives what state a disk is in; "" if its first MiB is empty.
func readHead(path string) (h head, err error) {
	f, err := os.Open(path)
	if err != nil {
		return h, err
	}
	defer f.Close()
	begin := make([]byte, 1<<20)
	n, err := io.ReadFull(f, begin)
	if err != nil && err != io.ErrUnexpectedEOF {
		return h, err
	}
	for _, state := range []string{headFresh, headReady} {
		if bytes.HasPrefix(begin[:n], []byte(state)) {
			return head{state, [32]byte(begin[saltAt:])}, nil
		}
	}
	if len(bytes.Trim(begin[:n], "\x00")) > 0 {
		h.state = "?"
	}
	return h, nil
}

func writeHead(path string, h head) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	block := make([]byte, sealedHead)
	copy(block, h.state)
	copy(block[saltAt:], h.salt[:])
	_, err = f.WriteAt(block, 0)
	return errors.Join(err, f.Sync(), f.Close())
}

// makeSealed makes a file system on a disk. A room that ends here leaves a disk that the next
// makes anew.
func makeSealed(name, path string, size int64, from []byte, dir string) (*os.File, error) {
	var seeds [2][16]byte
	h := head{state: headFresh}
	for _, b := range [][]byte{seeds[0][:], seeds[1][:], h.salt[:]} {
		rand.Read(b) // never fails
	}
	if err := writeHead(path, h); err != nil {
		return nil, writable(name, err)
	}
	if err := makeTags(name, path); err != nil {
		return nil, writable(name, err)
	}
	node, room, err := mapSealed(name, path, size, h, from)
	if err != nil {
		return nil, err
	}
	l, err := newExt4(room, seeds[0], seeds[1])
	if err == nil {
		err = fill(node, l, dir)
	}
	if err == nil {
		h.state = headReady
		err = writeHead(path, h)
	}
	if err != nil {
		unmapSealed(name) //nolint:errcheck // what went wrong first says more
		return nil, err
	}
	return mountSealed(name, node)
}

func fill(node string, l ext4Layout, dir string) error {
	f, err := os.OpenFile(node, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = formatExt4(f, l, dir)
	return errors.Join(err, f.Sync(), f.Close())
}

func writable(name string, err error) error {
	return verdict.Refuse("machine.disk", "a disk "+name+" to write to, large enough for the agreed size and its tags", verdict.Short(err.Error()), "strongroom run makes such files")
}

// openSealed mounts a disk that was made before.
func openSealed(name, path string, size int64, h head, from []byte) (*os.File, error) {
	node, _, err := mapSealed(name, path, size, h, from)
	if err != nil {
		return nil, err
	}
	return mountSealed(name, node)
}

func mountSealed(name, node string) (*os.File, error) {
	f, err := mountDetached("ext4", node, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		unmapSealed(name) //nolint:errcheck // what went wrong first says more
	}
	return f, err
}

// Both devices of a sealed disk go by its name; dm-integrity's has an ending.
func tagsName(name string) string { return name + "-tags" }

// unmapSealed takes both away, and the key with them.
func unmapSealed(name string) error {
	return errors.Join(unmapped(name), unmapped(tagsName(name)))
}

// tagsTarget is dm-integrity's for tags that dm-crypt makes
// (Documentation/admin-guide/device-mapper/dm-integrity).
func tagsTarget(path string, sectors int64) target {
	return target{kind: "integrity", sectors: sectors, params: fmt.Sprintf("%s %d %d J 2 block_size:%d fix_padding", path, sealedHead/sector, sealedTag, ext4Block)}
}

// makeTags has the kernel write dm-integrity's superblock and journal, as it does where it
// finds zeros and is asked for the least there is.
func makeTags(name, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, 64<<10), sealedHead)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if _, err := mapped(tagsName(name), tagsTarget(path, ext4Block/sector)); err != nil {
		return err
	}
	return unmapped(tagsName(name))
}

// tagged gives how many sectors of data dm-integrity has room for, by its superblock: the
// host's word, like the disk's size.
func tagged(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	// The kernel wrote it past what it keeps in memory of the disk, which the agent has open.
	if _, err := unix.IoctlRetInt(int(f.Fd()), unix.BLKFLSBUF); err != nil {
		return 0, err
	}
	super := make([]byte, sector)
	if _, err := f.ReadAt(super, sealedHead); err != nil {
		return 0, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	provided := binary.LittleEndian.Uint64(super[16:])
	if err != nil || !bytes.HasPrefix(super, []byte("integrt\x00")) || provided > uint64(size/sector) {
		return 0, errors.Join(errors.New("no tags of dm-integrity"), err)
	}
	return int64(provided) / (ext4Block / sector) * (ext4Block / sector), nil
}

// mapSealed maps a disk, and says how many bytes it then has.
func mapSealed(name, path string, size int64, h head, from []byte) (node string, room int64, err error) {
	key, err := h.key(from)
	if err != nil {
		return "", 0, err
	}
	defer clear(key)
	sectors, err := tagged(path)
	if err != nil {
		return "", 0, err
	}
	tags, err := mapped(tagsName(name), tagsTarget(path, sectors))
	if err != nil {
		return "", 0, err
	}
	sectors = min(sectors, max(size, minExt4)/ext4Block*(ext4Block/sector))
	node, err = mapped(name, target{kind: "crypt", sectors: sectors, params: fmt.Sprintf("%s %s 0 %s 0 2 integrity:%d:aead sector_size:%d", sealedCipher, hex.EncodeToString(key), tags, sealedTag, ext4Block)})
	if err != nil {
		unmapSealed(name) //nolint:errcheck // what went wrong first says more
		return "", 0, err
	}
	return node, sectors * sector, nil
}

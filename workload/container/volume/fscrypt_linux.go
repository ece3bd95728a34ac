package volume

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// identifier is what fscrypt calls a key by: derived from it, no secret.
type identifier [16]byte

// addKey is struct fscrypt_add_key_arg with a key of 32 bytes behind it (fscrypt.rst of the
// kernel, "FS_IOC_ADD_ENCRYPTION_KEY").
type addKey struct {
	arg unix.FscryptAddKeyArg
	raw [32]byte
}

// unlock gives the kernel the key, and checks that the directory is encrypted under it; an
// empty directory without a policy is given one.
func (h *held) unlock() error {
	dir, err := os.Open(h.dir)
	if err != nil {
		return broken("opening it", err)
	}
	defer dir.Close()
	if err := h.add(dir); err != nil {
		return err
	}
	set, err := policyOf(dir)
	if errors.Is(err, unix.ENODATA) {
		return h.encryptNew(dir)
	}
	if err != nil {
		return refuse("volume.encryption", "a directory encrypted with fscrypt", err.Error(), "the host hands over an ext4 file system with the feature encrypt")
	}
	if set != h.policy() {
		return refuse("volume.key", "a volume encrypted under this key", "one under another, or in another way", "put the right disk back")
	}
	return nil
}

func (h *held) add(dir *os.File) error {
	key := addKey{raw: masterKey(h.key)}
	defer clear(key.raw[:])
	key.arg.Key_spec.Type = unix.FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER
	key.arg.Raw_size = uint32(len(key.raw))
	if err := control(dir, unix.FS_IOC_ADD_ENCRYPTION_KEY, unsafe.Pointer(&key)); err != nil {
		return refuse("volume.encryption", "a file system that encrypts (ext4 with the feature encrypt)", err.Error(), "the host makes it with mkfs.ext4 -O encrypt, on a kernel with fscrypt")
	}
	h.id = identifier(key.arg.Key_spec.U[:16])
	return nil
}

// policy is AES-256 in XTS for contents and CTS for names, names padded to 32 bytes.
func (h *held) policy() unix.FscryptPolicyV2 {
	return unix.FscryptPolicyV2{Version: unix.FSCRYPT_POLICY_V2, Contents_encryption_mode: unix.FSCRYPT_MODE_AES_256_XTS,
		Filenames_encryption_mode: unix.FSCRYPT_MODE_AES_256_CTS, Flags: unix.FSCRYPT_POLICY_FLAGS_PAD_32, Master_key_identifier: h.id}
}

func (h *held) encryptNew(dir *os.File) error {
	if names, err := dir.Readdirnames(1); len(names) > 0 {
		return refuse("volume.encryption", "an empty directory, or an encrypted one", fmt.Sprintf("something in the clear (%v)", err), "put the right disk back")
	}
	p := h.policy()
	if err := control(dir, unix.FS_IOC_SET_ENCRYPTION_POLICY, unsafe.Pointer(&p)); err != nil {
		return refuse("volume.encryption", "a directory of the room's own that takes an encryption policy", err.Error(), "the host makes it empty, owned by the room's user")
	}
	return nil
}

func policyOf(dir *os.File) (p unix.FscryptPolicyV2, err error) {
	arg := unix.FscryptGetPolicyExArg{Size: uint64(unsafe.Sizeof(p))}
	if err := control(dir, unix.FS_IOC_GET_ENCRYPTION_POLICY_EX, unsafe.Pointer(&arg)); err != nil {
		return p, err
	}
	policy := (*[unsafe.Sizeof(p)]byte)(unsafe.Pointer(&p))
	if arg.Size != uint64(len(policy)) {
		return p, errors.New("a policy of another version")
	}
	copy(policy[:], arg.Policy[:])
	return p, nil
}

// lock takes the key away; what is still open elsewhere stays readable there until it is
// closed.
func (h *held) lock() error {
	if h.id == (identifier{}) {
		return nil
	}
	dir, err := os.Open(h.dir)
	if err != nil {
		return broken("locking it", err)
	}
	defer dir.Close()
	var arg unix.FscryptRemoveKeyArg
	arg.Key_spec.Type = unix.FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER
	copy(arg.Key_spec.U[:], h.id[:])
	if err := control(dir, unix.FS_IOC_REMOVE_ENCRYPTION_KEY, unsafe.Pointer(&arg)); err != nil {
		return broken("taking its key away", err)
	}
	return nil
}

func control(f *os.File, request uintptr, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg))
	if errno != 0 {
		return errno
	}
	return nil
}

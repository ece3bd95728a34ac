package ready

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sevFirmware asks the secure processor's driver (Linux, include/uapi/linux/psp-sev.h:
// SEV_ISSUE_CMD with SEV_PLATFORM_STATUS).
func sevFirmware() (major, minor, build int, err error) {
	f, err := os.OpenFile("/dev/sev", os.O_RDWR, 0)
	if err != nil {
		return 0, 0, 0, err
	}
	defer f.Close()
	var pins runtime.Pinner // the kernel follows a pointer that it gets inside a structure
	defer pins.Unpin()
	var status [12]byte // api major, api minor, state, flags (4), build, guests (4)
	pins.Pin(&status)
	issue := struct {
		command uint32
		data    [8]byte // a pointer, unaligned
		err     uint32
	}{command: 1}
	*(*uintptr)(unsafe.Pointer(&issue.data)) = uintptr(unsafe.Pointer(&status))
	const sevIssueCommand = 0xc0105300
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), sevIssueCommand, uintptr(unsafe.Pointer(&issue))); errno != 0 {
		return 0, 0, 0, errno
	}
	return int(status[0]), int(status[1]), int(status[7]), nil
}

package machine

import (
	"strings"

	"golang.org/x/sys/unix"
	"strongroom.dev/verdict"
)

// maxKernelLog is the most bytes of the kernel's log that are looked at: its memory has 128 KiB
// in the kernels of images.
const maxKernelLog = 1 << 20

// The lines of the kernel's log that say which kernel it is, its first, and whose guest it takes
// itself for (arch/x86/kernel/cpu/hypervisor.c); a kernel that knows no name prints none.
const (
	firstLine      = "] Linux version "
	hypervisorLine = "] Hypervisor detected: "
)

// kernelLog gives what the kernel said since it started, as far as its memory goes.
func kernelLog() (string, error) {
	const readAll = 3 // SYSLOG_ACTION_READ_ALL (syslog(2))
	buffer := make([]byte, maxKernelLog)
	n, err := unix.Klogctl(readAll, buffer)
	return string(buffer[:max(n, 0)]), err
}

// refuseHypervisor refuses SEV-SNP and TDX where the kernel found another hypervisor than KVM:
// the host gives that name, nothing checks it, and under some the kernel shares memory another
// way than the platform's (spec/host-interface.md, section 4).
func refuseHypervisor(log string, found Found) error {
	if found.Platform == TPM {
		return nil
	}
	refuse := func(got string) error {
		return verdict.Refuse("machine.hypervisor", "a kernel that found KVM, or no hypervisor that it knows", got, "start the machine with QEMU and KVM, without what makes it look like another hypervisor's")
	}
	whole := false
	for line := range strings.Lines(log) {
		whole = whole || strings.Contains(line, firstLine)
		if _, name, says := strings.Cut(line, hypervisorLine); says && strings.TrimSpace(name) != "KVM" {
			return refuse(verdict.Printable(verdict.Short(strings.TrimSpace(name))))
		}
	}
	if !whole { // what is lost might have said another name
		return refuse("a log of the kernel's without its first line")
	}
	return nil
}

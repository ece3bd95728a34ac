package machine

import (
	"time"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
	"strongroom.dev/verdict"
)

// patience is how long the first process waits for what comes by itself: the kernel's random
// numbers, the channel's port.
const patience = 20 * time.Second

// entropy waits until the kernel has gathered enough randomness for keys. Where the host is
// kept out of memory, it must also be kept out of the randomness: a processor without an
// instruction for it leaves the host's device and its interrupts.
func entropy(found Found) error {
	if found.Platform != TPM && !cpu.X86.HasRDRAND && !cpu.X86.HasRDSEED {
		return verdict.Refuse("machine.entropy", "a processor with RDRAND or RDSEED", "neither", "let the machine have the processor's own features")
	}
	var b [1]byte
	if await(patience, func() bool { n, err := unix.Getrandom(b[:], unix.GRND_NONBLOCK); return n == 1 && err == nil }) {
		return nil
	}
	return verdict.Refuse("machine.entropy", "random numbers within "+patience.String(), "none: the kernel's generator is not ready", "give the machine a processor with RDRAND, or virtio-rng")
}

// await asks again and again until done says yes, or for too long.
func await(most time.Duration, done func() bool) bool {
	for end := time.Now().Add(most); ; time.Sleep(2 * time.Millisecond) {
		if done() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

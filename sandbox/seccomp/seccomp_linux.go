// Package seccomp writes filters of system calls: lists of what is allowed, with conditions
// on arguments, for the machine's own architecture alone.
//
// It promises that what a list does not name is refused, that calls of another architecture
// (32-bit and x32 too) end the process, and that clone3, whose arguments no filter sees, does
// not exist. Which calls a program needs is its caller's to say; [Profile] is the list for
// unmodified programs in containers.
package seccomp

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Rule allows a system call, always or if all its conditions hold. Several rules may stand
// for one call; the first that fits holds.
type Rule struct {
	Call uint32
	When []Condition
	// Fail makes the rule one that refuses, with this error.
	Fail syscall.Errno
}

// action is what the kernel does when the rule fits.
func (r Rule) action() uint32 {
	if r.Fail != 0 {
		return unix.SECCOMP_RET_ERRNO | uint32(r.Fail)
	}
	return unix.SECCOMP_RET_ALLOW
}

// Condition holds if an argument, masked, has the value, or if Not, has not. Only the low 32
// bits of an argument are looked at: it is for arguments of which the kernel reads no more.
type Condition struct {
	Argument int // 0 to 5
	Mask     uint32
	Value    uint32
	Not      bool
}

// Always are rules without conditions.
func Always(calls ...uintptr) []Rule {
	rules := make([]Rule, len(calls))
	for i, c := range calls {
		rules[i].Call = uint32(c)
	}
	return rules
}

// If is a rule with one condition.
func If(call uintptr, argument int, mask, value uint32) Rule {
	return Rule{Call: uint32(call), When: []Condition{{Argument: argument, Mask: mask, Value: value}}}
}

// Filter is a list of rules ready for the kernel.
type Filter struct {
	Rules []Rule
	// Known is the highest call that whoever wrote the list knew of. One beyond it fails with
	// ENOSYS, which C libraries take as the word to use an older one; others that are not listed
	// fail with EPERM, as all do where Known is 0.
	Known uint32
}

// Offsets in struct seccomp_data; arguments of 8 bytes follow at 16, low half first.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
	x32          = 0x40000000
)

func give(v uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: v} }

func load(at uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
}

func jump(op uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k, Jt: yes, Jf: no}
}

// program compiles the rules. The accumulator holds the call's number between rules.
func (f Filter) program() []unix.SockFilter {
	p := []unix.SockFilter{
		load(offsetArch), jump(unix.BPF_JEQ, auditArch, 1, 0), give(unix.SECCOMP_RET_KILL_PROCESS),
		load(offsetNumber), jump(unix.BPF_JGE, x32, 0, 1), give(unix.SECCOMP_RET_KILL_PROCESS),
		jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), give(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)),
	}
	for _, r := range f.Rules {
		p = append(p, r.program()...)
	}
	if f.Known > 0 {
		p = append(p, jump(unix.BPF_JGT, f.Known, 0, 1), give(unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)))
	}
	return append(p, give(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)))
}

// program compiles one rule: each condition that fails jumps to the end, where the number is
// loaded again for the next rule.
func (r Rule) program() []unix.SockFilter {
	if len(r.When) == 0 {
		return []unix.SockFilter{jump(unix.BPF_JEQ, r.Call, 0, 1), give(r.action())}
	}
	const each = 3 // instructions of a condition
	body := len(r.When)*each + 1
	p := []unix.SockFilter{jump(unix.BPF_JEQ, r.Call, 0, uint8(body+1))}
	for i, c := range r.When {
		out := uint8(body - (i+1)*each)
		yes, no := uint8(0), out
		if c.Not {
			yes, no = out, 0
		}
		p = append(p, load(uint32(offsetArgs+8*c.Argument)),
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: c.Mask}, jump(unix.BPF_JEQ, c.Value, yes, no))
	}
	return append(p, give(r.action()), load(offsetNumber))
}

// Install puts the filter on this thread, or on every thread of the process, for good. The
// thread must have no_new_privs set or CAP_SYS_ADMIN.
func (f Filter) Install(everyThread bool) error {
	filter := f.program()
	fprog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	var flags uintptr
	if everyThread {
		flags = unix.SECCOMP_FILTER_FLAG_TSYNC
	}
	id, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return errno
	}
	if id != 0 {
		return fmt.Errorf("thread %d could not be given the filter", id)
	}
	return nil
}

package seccomp

import (
	"slices"

	"golang.org/x/sys/unix"
)

// namespaces are the flags of clone(2) that make any.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// conditions gives the rules of the calls that are allowed in part.
func conditions() map[string][]Rule {
	exactly := func(call uintptr, argument int, values ...uint32) (rules []Rule) {
		for _, v := range values {
			rules = append(rules, If(call, argument, ^uint32(0), v))
		}
		return rules
	}
	sockets := exactly(unix.SYS_SOCKET, 0, unix.AF_UNIX)
	for _, family := range []uint32{unix.AF_INET, unix.AF_INET6} {
		for _, kind := range []uint32{unix.SOCK_STREAM, unix.SOCK_DGRAM} { // none that reads or writes raw packets
			sockets = append(sockets, Rule{Call: unix.SYS_SOCKET, When: []Condition{{Argument: 0, Mask: ^uint32(0), Value: family}, {Argument: 1, Mask: 0xf, Value: kind}}})
		}
	}
	sockets = append(sockets, Rule{Call: unix.SYS_SOCKET, When: []Condition{{Argument: 0, Mask: ^uint32(0), Value: unix.AF_NETLINK}, {Argument: 2, Mask: ^uint32(0), Value: unix.NETLINK_ROUTE}}})
	// C libraries and PAM take this error as the word that a kernel has no such thing.
	sockets = append(sockets, Rule{Call: unix.SYS_SOCKET, Fail: unix.EAFNOSUPPORT})
	var ioctl Rule
	ioctl.Call = unix.SYS_IOCTL
	// What types into a terminal, and what changes the keys of encrypted directories.
	for _, command := range []uint32{unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCSETD, unix.FS_IOC_ADD_ENCRYPTION_KEY, unix.FS_IOC_REMOVE_ENCRYPTION_KEY, unix.FS_IOC_REMOVE_ENCRYPTION_KEY_ALL_USERS, unix.FS_IOC_SET_ENCRYPTION_POLICY} {
		ioctl.When = append(ioctl.When, Condition{Argument: 1, Mask: ^uint32(0), Value: command, Not: true})
	}
	return map[string][]Rule{
		"clone":       {If(unix.SYS_CLONE, 0, namespaces, 0)},
		"ioctl":       {ioctl},
		"personality": exactly(unix.SYS_PERSONALITY, 0, 0, 0x8, 0x20000, 0x20008, 0xffffffff),
		"socket":      sockets,
		"socketpair":  exactly(unix.SYS_SOCKETPAIR, 0, unix.AF_UNIX),
	}
}

// Profile is the profile "default" without the calls denied, see [CheckDenied].
func Profile(deny []string) (Filter, error) {
	if err := CheckDenied(deny); err != nil {
		return Filter{}, err
	}
	var f Filter
	known, partly := numbers(), conditions()
	for _, name := range Names() {
		number, here := known[name]
		switch {
		case !here || slices.Contains(deny, name): // or a call of another architecture
		case partly[name] != nil:
			f.Rules = append(f.Rules, partly[name]...)
		default:
			f.Rules = append(f.Rules, Rule{Call: number})
		}
	}
	for _, number := range known {
		f.Known = max(f.Known, number)
	}
	return f, nil
}

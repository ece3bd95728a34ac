// Package sandbox shuts a program in: the agent itself when it starts, and, more tightly,
// the engine it runs on decrypted data.
//
// It promises that what runs inside has its own user, mount, pid, network, IPC and host name
// namespaces, an empty read-only root, no capability and no way to gain one, a short list of
// system calls, Landlock without a single permission, and resource limits; and that each
// layer the kernel denies is named, never passed over. It decides nothing: whether a room
// may go on without a layer is its agreement's to say. It works for root and for ordinary
// users, on Linux only.
package sandbox

import (
	"fmt"
	"slices"

	"strongroom.dev/wire"
)

// The layers, by the names agreements know them by.
const (
	UserNamespace    wire.ID = "user-namespace"
	MountNamespace   wire.ID = "mount-namespace"
	PIDNamespace     wire.ID = "pid-namespace"
	NetworkNamespace wire.ID = "network-namespace"
	Seccomp          wire.ID = "seccomp"
	Landlock         wire.ID = "landlock"
)

// Lack is a layer that the kernel denied, and how.
type Lack struct {
	Layer  wire.ID `json:"layer"`
	Reason string  `json:"reason"`
}

func (l Lack) String() string { return fmt.Sprintf("%s (%s)", l.Layer, l.Reason) }

// Layers gives the names of what is lacking, sorted, each once.
func Layers(lacks []Lack) []wire.ID {
	var out []wire.ID
	for _, l := range lacks {
		out = append(out, l.Layer)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Limits bound what a process may use. Zero values are replaced as the members say, never
// by "unlimited".
type Limits struct {
	// Memory bounds private writable memory in bytes (RLIMIT_DATA); 0 means 1 GiB. Address
	// space is bounded at Memory plus AddressSlack.
	Memory int64 `json:"memory"`
	// CPUSeconds bounds processor time, all threads together; 0 means one day.
	CPUSeconds int64 `json:"cpu_seconds"`
	// Files bounds open descriptors; 0 means 64. At most MaxFiles.
	Files int64 `json:"files"`
	// Threads bounds threads, where there is a user namespace to count in; 0 means 256.
	Threads int64 `json:"threads"`
}

const (
	// AddressSlack is what a process may reserve without using it: run-times reserve large
	// ranges that cost nothing, and read-only maps of inputs are not its own memory.
	AddressSlack = 64 << 30
	// MaxFiles is below the descriptor number that a helper is executed from, so that once it
	// runs no descriptor can ever stand there again: see the rule for execveat.
	MaxFiles = 512
	helperFD = 900
)

func (l Limits) filled() Limits {
	fill := func(v *int64, standard int64) {
		if *v <= 0 {
			*v = standard
		}
	}
	fill(&l.Memory, 1<<30)
	fill(&l.CPUSeconds, 24*60*60)
	fill(&l.Files, 64)
	fill(&l.Threads, 256)
	l.Files = min(l.Files, MaxFiles)
	return l
}

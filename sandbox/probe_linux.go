package sandbox

import (
	"os"
	"strconv"
)

// CellLayers says which layers that only cells have a room started by this user would lack here,
// before one is: for whoever looks whether a machine can run containers.
func CellLayers() (lacks []Lack) {
	if os.Getuid() != 0 {
		if _, found := granted(); !found {
			lacks = append(lacks, Lack{UserRange, "an ordinary user without 65,535 subordinate ids, or no newuidmap"})
		}
	}
	g, err := makeGroup("strongroom-" + strconv.Itoa(os.Getpid()) + "-probe")
	if err != nil {
		return append(lacks, Lack{MemoryGroup, err.Error()})
	}
	removeGroups([]group{g})
	return lacks
}

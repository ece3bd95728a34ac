// Command strongroom-agent is the program inside a room. It shuts itself in, makes its keys,
// takes one run from its host and lets out sealed results: see package room. It has no
// engine, no network and no command line: what it needs comes on descriptors (spec/room.md,
// section 2), and it believes none of it.
//
// Exit codes are those of strongroom: 0 ok, 1 broken, 2 usage, 3 refused, 4 invalid evidence.
package main

import (
	"fmt"
	"os"

	"strongroom.dev/internal/version"
	"strongroom.dev/machine"
	"strongroom.dev/sandbox"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/container/volume"
)

// engines is how many times a run starts the engine: for the check and for the job.
const engines = 2

// cells is how many containers a run has at most.
const cells = 1

func main() {
	if len(os.Args) == 2 && (os.Args[1] == "version" || os.Args[1] == "--version") {
		fmt.Println(version.Version)
		return
	}
	if machine.Started() {
		machine.Main() // the first process of a machine, which ends with it
		return
	}
	// Asked while the program still may ask.
	memory, connected := engineMemory(), isStream(channelFD) && isStream(deviceFD)
	keeper := &volume.Keeper{Place: sandbox.KeeperPlace} // used where it is the keeper's process
	in, err := sandbox.Main(engines, cells, keeper.Do)
	if err == nil {
		err = serve(in, memory, connected)
		in.Close()
	}
	if err != nil {
		// Before data is decrypted this tells whoever started the agent by hand what it wants;
		// afterwards standard error is gone.
		fmt.Fprintln(os.Stderr, "strongroom-agent: "+verdict.As(err).Error())
	}
	os.Exit(verdict.Exit(err))
}

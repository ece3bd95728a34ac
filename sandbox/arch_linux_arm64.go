package sandbox

// archCalls are the calls that C libraries and the Go run-time make on this architecture only.
var archCalls = []uintptr{}

// archFileCalls are older forms of the calls by which helpers look at files by name.
var archFileCalls = []uintptr{}

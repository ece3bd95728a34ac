// Package version says which build this is, so that programs of two builds refuse to work
// together.
package version

// Version is the build, set by the linker; "unknown" in a build without it.
var Version = "unknown"

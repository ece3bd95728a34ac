package main

import "strongroom.dev/verdict"

// shellWord gives a file name or word as a shell takes it, for commands that are printed to be
// copied.
func shellWord(s string) string { return verdict.ShellWord(s) }

// self is how this program was called as far as it tells a party: commands printed for the
// user keep --home where it was given.
func (a *app) self() string {
	if a.homeDir == "" || a.homeDir == defaultHome() {
		return "strongroom"
	}
	return "strongroom --home " + shellWord(a.homeDir)
}

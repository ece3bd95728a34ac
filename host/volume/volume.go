// Package volume is the host's side of rooms' volumes where no virtual machine makes its own:
// it keeps an ext4 file system in a file, and hands it to a room as a detached mount, with an
// empty directory that the room encrypts (spec/container.md, section 5.5).
//
// It is trusted with nothing: what it hands over is judged inside. It mounts nothing where
// anybody sees it: a detached mount and its loop device end with the last descriptor, however
// the host ends, so that nothing is left to sweep up.
package volume

import "strongroom.dev/verdict"

// Directory is the one that a room encrypts and uses.
const Directory = "volume"

func refuse(expected, got, fix string) error {
	return verdict.Refuse("host.volume", expected, got, fix)
}

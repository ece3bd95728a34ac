// Package volume keeps what outlives a container on a disk of its host's: it opens a file
// system that the host handed over, encrypts what lies in it with fscrypt where no device
// mapper does that below, and tells an older or altered one apart (spec/container.md, section
// 5).
//
// It runs in the keeper, a process beside the container with rights over the files of its
// users alone, which is the only one that holds a volume's key. Everything on the disk was
// the host's to write: fscrypt (Fscrypt) hides contents and names and authenticates nothing,
// so that what the host changes while it is mounted is found only where this package looks,
// at the next opening.
package volume

import (
	"encoding/json"
	"fmt"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// The protections of volumes, as claims and events name them.
const (
	Fscrypt = "fscrypt"  // confidential, not authenticated while it is mounted
	Device  = "dm-crypt" // with dm-integrity, below the file system
)

// Step is what a keeper is asked.
type Step string

// The steps.
const (
	Open   Step = "open"   // take the file system and the key; gives what the disk says
	Root   Step = "root"   // gives the root of the content, or says within a moment that it takes longer
	Mark   Step = "mark"   // write the generation, and make the content's directory if there is none
	Attach Step = "attach" // gives a detached mount of the content
	Forget Step = "forget" // take the key away, and let go
)

// Request is what a keeper is asked of one volume. Its key goes with Open only.
type Request struct {
	Step   Step `json:"step"`
	Volume int  `json:"volume"` // its number in the room
	// Key is the volume's own, and names it: no other volume is under it.
	Key []byte `json:"key,omitempty"`
	// Encrypt: with fscrypt; not where the device below encrypts.
	Encrypt    bool   `json:"encrypt,omitempty"`
	Generation int64  `json:"generation,omitempty"`
	Mode       uint32 `json:"mode,omitempty"`
	UID        int    `json:"uid,omitempty"`
	GID        int    `json:"gid,omitempty"`
	Bytes      int64  `json:"bytes,omitempty"` // agreed, of the volume; for Root
}

// Answer is a keeper's.
type Answer struct {
	Error json.RawMessage `json:"error,omitempty"` // as package verdict encodes it
	// Generation is the disk's own; zero: it has none.
	Generation int64 `json:"generation,omitempty"`
	// Empty: there is no content.
	Empty bool       `json:"empty,omitempty"`
	Root  *wire.Hash `json:"root,omitempty"`
	// More: the root is being computed; ask again.
	More bool `json:"more,omitempty"`
}

// What stands in a volume: below the encrypted directory that the host made empty, the
// container's content and the state.
const (
	Directory = "volume" // of the file system's root, made by the host
	content   = "content"
	stateFile = "state.json"
	maxState  = 4 << 10
)

// state says which generation of which volume a disk has.
type state struct {
	Version    string    `json:"version"`
	Generation int64     `json:"generation"`
	MAC        wire.Hash `json:"mac"`
}

const stateVersion = "strongroom/volume/v1"

// newState makes a state, authenticated under the volume's key.
func newState(key *keys.Secret, generation int64) ([]byte, error) {
	return wire.Marshal(state{stateVersion, generation, key.MAC(stateVersion, wire.Uint64(uint64(generation)))})
}

// readState reads one. One that is not authentic is no state of this volume.
func readState(key *keys.Secret, data []byte) (int64, error) {
	var s state
	if err := wire.UnmarshalCanonical(data, &s); err != nil {
		return 0, verdict.NotGenuine("volume.state", "the state of a volume", verdict.Short(err.Error()), "put the right disk back")
	}
	if s.Version != stateVersion || s.Generation < 1 || !key.VerifyMAC(s.MAC[:], stateVersion, wire.Uint64(uint64(s.Generation))) {
		return 0, verdict.NotGenuine("volume.state", "a state written under the key of this volume", "another", "put the right disk back")
	}
	return s.Generation, nil
}

// masterKey gives the key that fscrypt derives all of its own from.
func masterKey(key *keys.Secret) [32]byte {
	return key.Derive("strongroom/volume-fscrypt/v1")
}

func refuse(check, expected, got, fix string) error { return verdict.Refuse(check, expected, got, fix) }

func broken(doing string, err error) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "volume.disk", Expected: doing, Got: fmt.Sprint(err), Err: err}
}

package host

import (
	"encoding/json"

	"strongroom.dev/room"
)

// Paths of a host's HTTP interface (spec/host.md). {id} is a room's.
const (
	PathRooms    = "/v1/rooms"    // POST a Job: an Info; GET: RoomList
	PathDatasets = "/v1/datasets" // GET: DatasetList
	PathRoom     = "/v1/rooms/"   // + {id}: GET an Info, DELETE to stop; + {id}/events?from=N; + {id}/files/NAME
)

// MaxWaitMS is how long an answer about events may be held back until there is one.
const MaxWaitMS = 20_000

// MaxFile is the largest file that is fetched from a host: an output has at most 1 GiB, what holds
// it the next power of two (spec/result.md, section 2), and its sealed form a little more.
const MaxFile = 2<<30 + 64<<20

// RoomList is what a host answers about its rooms.
type RoomList struct {
	Rooms []Info `json:"rooms"`
}

// DatasetList is what a host answers about its sealed files: their signed statements.
type DatasetList struct {
	Statements []json.RawMessage `json:"statements"`
}

// EventList is a piece of a room's events.
type EventList struct {
	Events []room.Event `json:"events"`
	Ended  bool         `json:"ended"`
}

package host

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"strongroom.dev/internal/durable"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
)

// A manager keeps a record in each room's folder, so that a host that was restarted still
// serves what its rooms let out: results are sealed and proven, and need nothing else of it.

// recordName is the record's file; no result has that name.
const recordName = "room.json"

// maxRecord is far above any: at most maxEvents events, of which few hold evidence.
const maxRecord = 64 << 20

// record is a room as it is kept.
type record struct {
	Info   Info         `json:"info"`
	Events []room.Event `json:"events"`
}

// keep writes the record of a room: when it starts, and when it has ended.
func keep(dir string, info Info, events []room.Event) error {
	data, err := json.Marshal(record{info, events})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := durable.Create(filepath.Join(dir, recordName), 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		f.Abort()
		return err
	}
	return f.Commit()
}

// keepEnd records how a room ended.
func (e *entry) keepEnd() error {
	events, _ := e.room.last(0)
	return keep(e.room.dir, e.describe(), events)
}

// kept gives the rooms that an earlier manager recorded. What can't be read is passed over.
func (c *Config) kept() []*entry {
	folders, err := os.ReadDir(c.Dir)
	if err != nil {
		return nil
	}
	var found []*entry
	for _, f := range folders {
		dir := filepath.Join(c.Dir, f.Name())
		if id, err := hex.DecodeString(f.Name()); err != nil || len(id) != 4 {
			continue
		}
		if r, ok := readRecord(dir); ok && r.Info.ID == f.Name() {
			found = append(found, r.restore(*c, dir))
		}
	}
	return found
}

func readRecord(dir string) (r record, ok bool) {
	path := filepath.Join(dir, recordName)
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() || info.Size() > maxRecord {
		return r, false
	}
	data, err := os.ReadFile(path)
	return r, err == nil && json.Unmarshal(data, &r) == nil
}

// restore makes an ended room out of a record. One that was running is lost with what it had
// in memory, unless it had let out a result.
func (r record) restore(c Config, dir string) *entry {
	old := newRoom(c, nil, dir, func() {})
	old.events, old.files = r.Events, lieThere(dir)
	switch {
	case r.Info.State == "stopped":
		old.err = stoppedBy(r.Events)
	case r.Info.State != "done" && hasResult(old.files):
		old.events = append(old.events, room.Event{Event: room.Done})
	case r.Info.State != "done":
		old.err = &verdict.Error{Kind: verdict.Broken, Check: "room.lost", Expected: "a host that runs until the room has ended",
			Got: "one that was restarted before", Fix: "the run is spent: sign a new request"}
		old.events = append(old.events, room.Event{Event: room.Stopped, Error: verdict.Encode(old.err)})
		r.Info.Lost = true
	}
	close(old.done)
	return &entry{old, r.Info, r.Info.Started.Time()}
}

// stoppedBy gives the reason that a room's last event has.
func stoppedBy(events []room.Event) error {
	if n := len(events); n > 0 && events[n-1].Event == room.Stopped {
		return verdict.Decode(events[n-1].Error)
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "room.ended", Expected: "a result or a reason", Got: "neither"}
}

// lieThere gives the names of the files that a room let out.
func lieThere(dir string) []string {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, f := range list {
		if strings.HasSuffix(f.Name(), ".age") || strings.HasSuffix(f.Name(), ".proof") {
			names = append(names, f.Name())
		}
	}
	return names
}

// hasResult reports a file together with its proof.
func hasResult(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		base, found := strings.CutSuffix(name, ".proof")
		return found && slices.Contains(names, base+".age")
	})
}

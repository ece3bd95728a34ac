package server

import (
	"net/http"
	"sync"

	"strongroom.dev/keys"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// records finds the record that a room's key signed. Only the room can have signed it, so
// that nobody can hide it behind others. The log is read once, when somebody asks first.
type records struct {
	mu   sync.Mutex
	read int64                // entries of the log that are in byRoom
	room map[keys.KeyID]int64 // index of the first record of a room
}

func (r *records) find(log *tilelog.Log, room keys.KeyID) (index int64, found bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.room == nil {
		r.room = map[keys.KeyID]int64{}
	}
	for size := log.Size(); r.read < size; r.read++ {
		data, err := log.Entry(r.read)
		if err != nil {
			return 0, false, err
		}
		_, record, err := runRecord(data)
		if err != nil {
			continue // not a room's: this log never took it as one
		}
		if _, twice := r.room[record.Room.ID()]; !twice {
			r.room[record.Room.ID()] = r.read
		}
	}
	index, found = r.room[room]
	return index, found, nil
}

// record answers with the receipt of a room's record.
func (h *ledgerHandler) record(w http.ResponseWriter, r *http.Request) error {
	text := r.URL.Query().Get("room")
	id, err := wire.ParseHash(text)
	if err != nil {
		return verdict.Misuse("request", "room=ID, sha256: and 64 hex digits", verdict.Short(text), "correct the request")
	}
	index, found, err := h.records.find(h.Log, keys.KeyID(id))
	if err != nil {
		return err
	}
	if !found {
		return withStatus{http.StatusNotFound, verdict.Misuse("ledger.record", "a room that entered a record here", verdict.Short(text), "ask another of the agreement's ledgers; a run that stopped has none")}
	}
	receipt, err := h.Log.Receipt(index)
	if err != nil {
		return err
	}
	writeJSON(w, receipt)
	return nil
}

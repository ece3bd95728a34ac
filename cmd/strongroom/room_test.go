package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"strongroom.dev/host"
	"strongroom.dev/room"
	"strongroom.dev/wire"
)

// What a host says of a room is a stranger's text on the reader's terminal.
func TestRoomsAreEscaped(t *testing.T) {
	bad := "x\x1b[2J\u202e"
	info := host.Info{ID: bad, State: bad, RunID: bad, Title: bad, Step: room.Step(bad), Error: bad, Requester: "a", Work: "a", Platform: "dev",
		Started: wire.At(time.Now()), Agreement: wire.DigestOf(nil), Files: []string{bad}, Shown: []room.Shown{}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/rooms") {
			json.NewEncoder(w).Encode(host.RoomList{Rooms: []host.Info{info}})
			return
		}
		json.NewEncoder(w).Encode(info)
	}))
	defer s.Close()
	for _, args := range [][]string{{"list"}, {"status", "x"}, {"stop", "x"}} {
		var out, errs bytes.Buffer
		a := &app{in: strings.NewReader(""), out: &out, err: &errs, now: time.Now}
		code := a.run(append([]string{"room", "--host", s.URL}, args...))
		if text := out.String() + errs.String(); code != 0 || strings.ContainsAny(text, "\x1b\u202e") {
			t.Errorf("room %s: %d, %q", args[0], code, text)
		}
	}
}

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

// A host without rooms is told of in words, and a room is found by its run.
func TestRoomsByRun(t *testing.T) {
	const run = "000102030405060708090a0b0c0d0e0f"
	rooms := []host.Info{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/rooms") {
			json.NewEncoder(w).Encode(host.RoomList{Rooms: rooms})
			return
		}
		if r.Method != http.MethodDelete || !strings.HasSuffix(r.URL.Path, "/0a0b0c0d") {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		json.NewEncoder(w).Encode(rooms[0])
	}))
	defer s.Close()
	call := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		a := &app{in: strings.NewReader(""), out: &out, err: &errs, now: time.Now}
		code := a.run(append([]string{"room", "--host", s.URL}, args...))
		return code, out.String() + errs.String()
	}
	if code, text := call("list"); code != 0 || !strings.Contains(text, "None yet") {
		t.Errorf("no rooms: %d, %q", code, text)
	}
	if code, text := call("status", run); code != 2 || !strings.Contains(text, "room.id") {
		t.Errorf("an unknown run: %d, %q", code, text)
	}
	rooms = []host.Info{{ID: "0a0b0c0d", RunID: run, State: "done", Work: "counts", Requester: "lab", Platform: "dev", Started: wire.At(time.Now()), Agreement: wire.DigestOf(nil), Files: []string{}, Shown: []room.Shown{}}}
	for _, verb := range []string{"status", "stop"} {
		if code, text := call(verb, run); code != 0 || !strings.Contains(text, "Room 0a0b0c0d") {
			t.Errorf("%s: %d, %q", verb, code, text)
		}
	}
}

// TestRoomPlatform: what a host says of its own platform is called insecure where it is so, and
// else the host's word.
func TestRoomPlatform(t *testing.T) {
	for platform, want := range map[wire.ID]string{"dev": "INSECURE", "tpm": "INSECURE", "snp": "by the host's word", "tdx": "by the host's word"} {
		var out bytes.Buffer
		printRoom(&out, host.Info{Platform: platform})
		if line := "platform " + string(platform) + ", " + want; !strings.Contains(out.String(), line) {
			t.Errorf("%q lacks %q", out.String(), line)
		}
	}
}

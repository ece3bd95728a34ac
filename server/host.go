package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"strongroom.dev/host"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Host serves a host's rooms (spec/host.md). rooms end with ctx. Nobody proves who they are:
// a room runs only what an entitled party has signed, and lets out only what is sealed.
func Host(ctx context.Context, m *host.Manager, logger *slog.Logger) http.Handler {
	h := hostHandler{ctx, m}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+host.PathRooms, answering(logger, h.start))
	mux.HandleFunc("GET "+host.PathRooms, answering(logger, h.list))
	mux.HandleFunc("GET "+host.PathRoom+"{id}", answering(logger, h.get))
	mux.HandleFunc("DELETE "+host.PathRoom+"{id}", answering(logger, h.stop))
	mux.HandleFunc("GET "+host.PathRoom+"{id}/events", answering(logger, h.events))
	mux.HandleFunc("GET "+host.PathRoom+"{id}/files/{name}", answering(logger, h.file))
	mux.HandleFunc("GET "+host.PathDatasets, answering(logger, h.datasets))
	return mux
}

type hostHandler struct {
	ctx context.Context
	*host.Manager
}

func (h hostHandler) start(w http.ResponseWriter, r *http.Request) error {
	var job host.Job
	if err := readJSON(w, r, wire.MaxDocument, &job); err != nil {
		return err
	}
	info, err := h.Start(h.ctx, job)
	if err != nil {
		return err
	}
	writeJSON(w, info)
	return nil
}

func (h hostHandler) list(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, host.RoomList{Rooms: h.All()})
	return nil
}

func (h hostHandler) get(w http.ResponseWriter, r *http.Request) error {
	_, info, err := h.Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	writeJSON(w, info)
	return nil
}

func (h hostHandler) stop(w http.ResponseWriter, r *http.Request) error {
	running, _, err := h.Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	running.End()
	_, info, err := h.Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	writeJSON(w, info)
	return nil
}

func (h hostHandler) events(w http.ResponseWriter, r *http.Request) error {
	running, _, err := h.Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	from, err := strconv.Atoi(r.URL.Query().Get("from"))
	if err != nil || from < 0 {
		return verdict.Misuse("request", "from=N, a number from 0", verdict.Short(r.URL.Query().Get("from")), "correct the request")
	}
	ctx, cancel := context.WithTimeout(r.Context(), host.MaxWaitMS*time.Millisecond)
	defer cancel()
	events, ended := running.Events(ctx, from)
	if events == nil {
		events = []room.Event{}
	}
	writeJSON(w, host.EventList{Events: events, Ended: ended})
	return nil
}

func (h hostHandler) file(w http.ResponseWriter, r *http.Request) error {
	running, _, err := h.Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	name := r.PathValue("name")
	if !slices.Contains(running.Files(), name) {
		return verdict.Misuse("room.file", "a file that the room let out", verdict.Short(name), "strongroom room status lists them")
	}
	f, err := os.Open(filepath.Join(running.Dir(), name))
	if err != nil {
		return err
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", time.Time{}, f)
	return nil
}

func (h hostHandler) datasets(w http.ResponseWriter, _ *http.Request) error {
	sealed, err := h.Datasets()
	if err != nil {
		return err
	}
	list := host.DatasetList{Statements: []json.RawMessage{}}
	for _, s := range sealed {
		doc, err := s.Dataset.Document.Encode()
		if err != nil {
			return err
		}
		list.Statements = append(list.Statements, doc)
	}
	writeJSON(w, list)
	return nil
}

package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"strongroom.dev/agreement"
	"strongroom.dev/host"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Host speaks to a host. Nothing it says is believed: what comes from a room is checked by
// its proof.
type Host struct {
	// URL of the host: http://host:port.
	URL string
	// HTTP is the client to use; nil makes one for each exchange.
	HTTP *http.Client
}

func (h Host) endpoint() endpoint { return endpoint{h.URL, h.HTTP} }

// Start asks the host to start a room.
func (h Host) Start(ctx context.Context, job host.Job) (info host.Info, err error) {
	err = h.endpoint().post(ctx, host.PathRooms, job, &info, wire.MaxDocument)
	return info, err
}

// Rooms lists the host's rooms.
func (h Host) Rooms(ctx context.Context) ([]host.Info, error) {
	var list host.RoomList
	err := h.endpoint().get(ctx, host.PathRooms, &list, wire.MaxDocument)
	return list.Rooms, err
}

// Room gives what the host says of a room.
func (h Host) Room(ctx context.Context, id string) (info host.Info, err error) {
	err = h.endpoint().get(ctx, host.PathRoom+url.PathEscape(id), &info, wire.MaxDocument)
	return info, err
}

// Stop stops a room.
func (h Host) Stop(ctx context.Context, id string) (info host.Info, err error) {
	e := h.endpoint()
	path := host.PathRoom + url.PathEscape(id)
	data, err := e.do(ctx, http.MethodDelete, path, "", nil, wire.MaxDocument)
	if err != nil {
		return info, err
	}
	err = e.decode(path, data, &info)
	return info, err
}

// Events gives a room's events from a number on, waiting for the next if there is none.
func (h Host) Events(ctx context.Context, id string, from int) (events []room.Event, ended bool, err error) {
	var list host.EventList
	err = h.endpoint().get(ctx, host.PathRoom+url.PathEscape(id)+"/events?from="+strconv.Itoa(from), &list, wire.MaxDocument)
	return list.Events, list.Ended, err
}

// Datasets gives the statements of the sealed files that the host has. Their form is checked,
// their signatures are not: a run request names them by digest, and rooms and brokers check.
func (h Host) Datasets(ctx context.Context) ([]host.Sealed, error) {
	var list host.DatasetList
	if err := h.endpoint().get(ctx, host.PathDatasets, &list, 64<<20); err != nil {
		return nil, err
	}
	var out []host.Sealed
	for _, raw := range list.Statements {
		d, err := agreement.ParseDataset(raw)
		if err != nil {
			return nil, err
		}
		out = append(out, host.Sealed{Statement: raw, Dataset: d})
	}
	return out, nil
}

// Fetch copies a file that a room let out.
func (h Host) Fetch(ctx context.Context, id, name string, dst io.Writer) error {
	e := h.endpoint()
	path := host.PathRoom + url.PathEscape(id) + "/files/" + url.PathEscape(name)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url+path, nil)
	if err != nil {
		return verdict.Misuse("address", "a URL like http://host:port", verdict.Short(e.url), "correct the address")
	}
	httpClient := e.http
	if httpClient == nil {
		httpClient = New()
		defer httpClient.CloseIdleConnections()
	}
	response, err := httpClient.Do(request)
	if err != nil {
		return e.unreachable(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		data, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
		if err != nil {
			return e.unreachable(err)
		}
		return statusError{response.StatusCode, data}.verdict(e.url)
	}
	n, err := io.Copy(dst, io.LimitReader(response.Body, host.MaxFile+1))
	if err == nil && n > host.MaxFile {
		err = fmt.Errorf("more than %d bytes", host.MaxFile)
	}
	if err != nil {
		return e.unreachable(err)
	}
	return nil
}

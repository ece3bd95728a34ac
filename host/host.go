// Package host starts rooms and is trusted with nothing (spec/host.md). It keeps sealed
// files, launches the room image on a platform, relays the room's streams to brokers and
// ledgers, and hands out what the room lets out. All of what passes is signed or sealed end
// to end: a host can delay and stop, and that is all.
//
// A room is a virtual machine of a measured image (host/qemu), or a process on the dev
// platform, where the host is also the launcher that measures and signs (R23): it hashes the
// very files it executes, and the room can't reach the development root. That platform is
// INSECURE: whoever runs this package can read such a room, and so are machines measured by a
// software TPM, whose memory the host can read.
//
// Rooms start on Linux only; everything else works everywhere.
package host

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/host/qemu"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Job is one run: documents as they were signed, and where the sealed files are.
type Job struct {
	Agreement json.RawMessage   `json:"agreement"`
	Parties   []json.RawMessage `json:"parties"`
	Run       json.RawMessage   `json:"run"`
	Inputs    []Input           `json:"-"`
	Disks     []Disk            `json:"-"`
	// Publish says at which addresses of this host the ports of a container are reached.
	Publish []Publication `json:"publish,omitempty"`
}

// Input is one sealed file of a job.
type Input struct {
	Name      wire.ID
	Statement json.RawMessage // signed dataset statement
	Path      string
}

// Disk is a disk of a job's container: "image", or "mount-N" (spec/room.md, section 3).
type Disk struct {
	Name string
	Path string

	size     int64 // of scratch, which a machine's own folder has
	writable bool
}

// Config is what a host needs. Dir is required, and either VM or Programs and Root; the rest
// may be empty.
type Config struct {
	// VM says how rooms are started as virtual machines.
	VM *VM
	// Programs is the room image of the INSECURE dev platform, loaded.
	Programs *Programs
	// Root signs evidence of that platform.
	Root keys.Signer
	// Dir is where results are put, in a folder for each room.
	Dir string
	// Ledgers maps the origins of shared ledgers to their URLs.
	Ledgers map[string]string
	// Egress maps names of places that containers may reach, as their agreement names them, to
	// addresses; others are looked for under the name in the agreement.
	Egress map[wire.ID]string
	// Containers is what a [Manager] has for rooms that run them.
	Containers Containers
	// Agreements are those that a [Manager] serves; none means each whose owners' data it holds.
	Agreements []wire.Digest
	// Suits, where set, refuses agreements under which no room of this host would get keys. A
	// [Manager] asks it before it starts one: a machine would boot in vain.
	Suits func(agreement.Agreement) error
	// HTTP relays; nil is a client with our bounds.
	HTTP *http.Client
	// Log takes what the room's processes print before they fall silent; nil discards it.
	Log io.Writer
	// Relay, where set, sees every call of the room before it is made: the place of a host that
	// logs, or lies. next makes the call.
	Relay func(ctx context.Context, stream, path string, body []byte, next Next) (status int, answer []byte)
	// Evidence, where set, sees every piece of evidence before the room does.
	Evidence func(report [64]byte, made attest.Evidence) attest.Evidence
}

// VM is how rooms are started as virtual machines.
type VM struct {
	// Launch is each room's machine. Its disks, and what it is started for, are set for the room.
	Launch qemu.Launch
	// Engines are the disks of the image's engines, in the order of its /machine.json.
	Engines []Engine
}

// Engine is a helper program on a disk of its own.
type Engine struct {
	Name wire.ID
	Path string
}

// platform gives the kind of the rooms' machines, as agreements name it.
func (c *Config) platform() wire.ID {
	if c.VM != nil {
		return c.VM.Launch.Machine.Platform
	}
	return dev.Name
}

// Next makes a call as it stands.
type Next func(body []byte) (status int, answer []byte)

// targets maps a room's streams to the URLs of brokers and ledgers, from the job's own
// documents: an address is a hint, and nothing rests on it.
func (c *Config) targets(job Job) (map[string]string, error) {
	targets := map[string]string{}
	for _, raw := range job.Parties {
		p, err := agreement.ParseParty(raw)
		if err != nil {
			return nil, err
		}
		if p.Broker != nil {
			targets["broker/"+string(p.Name)] = "http://" + p.Broker.Address
		}
	}
	a, err := agreement.ParseAgreement(job.Agreement)
	if err != nil {
		return nil, err
	}
	for _, w := range a.Ledgers.Witnesses {
		origin, err := ledger.OriginOf(w.Key)
		if err != nil {
			return nil, err
		}
		if url, found := c.Ledgers[origin]; found {
			targets["ledger/"+string(w.Name)] = url
		}
	}
	return targets, nil
}

// mayAsk are the only paths a room's calls may have.
func mayAsk(stream, path string) bool {
	broker := []string{release.PathChallenge, release.PathActivate, release.PathActivated, release.PathRelease, release.PathLive, release.PathVolume, release.PathCertify, release.PathAsked, release.PathConsistency, release.PathCheckpoint}
	if strings.HasPrefix(stream, "broker/") {
		return slices.Contains(broker, path)
	}
	return strings.HasPrefix(stream, "ledger/") && path == ledger.PathEntries
}

// relay answers one call of the room.
func (r *Room) relay(ctx context.Context, stream, path string, body []byte) (status int, answer []byte) {
	url, found := r.targets[stream]
	if !found || !mayAsk(stream, path) {
		return http.StatusNotFound, verdict.Encode(&verdict.Error{Kind: verdict.Broken, Check: "host.relay", Expected: "a broker or ledger this host can reach",
			Got: verdict.Short(stream + path), Fix: "tell the host where it is: --ledger ORIGIN=URL, or the broker's address in its descriptor"})
	}
	next := func(body []byte) (int, []byte) { return r.call(ctx, url+path, body) }
	if r.config.Relay != nil {
		return r.config.Relay(ctx, stream, path, body, next)
	}
	return next(body)
}

// call makes one HTTP exchange. Its failures are answers too: the room tries again or ends.
func (r *Room) call(ctx context.Context, url string, body []byte) (int, []byte) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return unreachable(url, err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := r.config.HTTP.Do(request)
	if err != nil {
		return unreachable(url, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil || len(answer) > maxAnswer {
		return unreachable(url, io.ErrUnexpectedEOF)
	}
	return response.StatusCode, answer
}

func unreachable(url string, err error) (int, []byte) {
	return http.StatusBadGateway, verdict.Encode(&verdict.Error{Kind: verdict.Broken, Check: "host.relay", Expected: "an answer from " + url,
		Got: verdict.Short(err.Error()), Fix: "start it, or correct its address"})
}

// maxAnswer bounds what a broker or ledger may answer; the room has its own, lower, limits.
const maxAnswer = release.MaxAsked

// start makes the room's start message. Descriptors of inputs count up from firstFD; the last
// is what connections are handed over by, if they are.
func (job Job) start(helpers []wire.ID, hand bool) ([]byte, error) {
	s := room.Start{Format: room.StartFormat, Agreement: job.Agreement, Parties: job.Parties, Run: job.Run, Inputs: []room.StartInput{}, Helpers: []room.StartHelper{}}
	fd := firstFD
	for _, name := range helpers {
		s.Helpers = append(s.Helpers, room.StartHelper{Name: name, FD: fd})
		fd++
	}
	for _, in := range job.Inputs {
		s.Inputs = append(s.Inputs, room.StartInput{Input: in.Name, Statement: in.Statement, FD: fd})
		fd++
	}
	for _, d := range job.Disks {
		s.Disks = append(s.Disks, room.StartDisk{Disk: d.Name, FD: fd})
		fd++
	}
	if hand {
		s.Connections = fd
		fd++
	}
	if fd > room.MaxFD {
		return nil, verdict.Misuse("room.inputs", "fewer files", "too many", "")
	}
	return wire.Marshal(s)
}

// The descriptors of an agent: 3 is the channel, 4 the evidence device, then helpers, then
// inputs, then disks (spec/room.md).
const firstFD = 5

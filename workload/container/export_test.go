package container

import (
	"context"
	"strings"
	"time"

	"strongroom.dev/agreement"
)

// PrintAll has logs read a text to its end, and ends them.
func PrintAll(ctx context.Context, l agreement.Logs, text string, give func(context.Context, Printed)) {
	logs := newLogs(l, Machine{Now: time.Now, Logs: give})
	logs.read(ctx, "stdout", strings.NewReader(text))
	logs.end(ctx)
}

// Ended is a container that has ended and has one volume, which is generation 3.
func Ended(cell Cell, v *Volumes) *Running {
	r := &Running{cell: cell, logs: &logs{}, cancel: func() {}, ended: make(chan struct{}), machine: Machine{Volumes: v},
		volumes: []*opened{{input: "key", marked: true, bytes: 1 << 20, state: VolumeState{Path: "/data", Generation: 3}}}}
	close(r.ended)
	return r
}

// NoCell does nothing.
type NoCell struct{ Cell }

// Kill kills nothing.
func (NoCell) Kill() {}

// Variables are a plan's environment, and Places where its far ends are.
func Variables(p *Plan) []string { return p.env }

func Places(p *Plan) (addresses []string) {
	for _, e := range p.egress {
		addresses = append(addresses, e.address)
	}
	return addresses
}

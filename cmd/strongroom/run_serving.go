package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// serving is the one document of a service's run, said when its ports are open: from then on
// it can be reached. What names the room is its host's word; connect proves it.
type serving struct {
	Event     string       `json:"event"` // serving
	Room      string       `json:"room"`
	RunID     string       `json:"run_id"`
	Request   wire.Digest  `json:"request"` // what connect --run pins
	Agreement wire.Digest  `json:"agreement"`
	Work      wire.ID      `json:"work"`
	Key       string       `json:"key,omitempty"` // the fingerprint of the room's signing key
	Ports     []servedPort `json:"ports"`
}

// servedPort is where one port is reached.
type servedPort struct {
	Name    wire.ID `json:"name"`
	Address string  `json:"address"`
	Anyone  bool    `json:"anyone"`
	// Names are those that certificates are asked for: they prove names, and no room.
	Names []string `json:"names"`
}

// whenServing tells how a container is reached, once it is.
func (a *app) whenServing(r startedRoom, ag agreement.Agreement, work agreement.Work, run *agreement.SignedRun) func(context.Context, keys.KeyID) error {
	return func(ctx context.Context, key keys.KeyID) error {
		if work.Container == nil {
			return nil
		}
		at, err := r.ports(ctx)
		if err != nil { // it is shown again by strongroom room status
			a.say("  where the ports are is not known: %s", verdict.As(err).Error())
			at = nil
		}
		s := serving{Event: "serving", Room: r.id(), RunID: run.RunID, Request: run.Digest(), Agreement: run.Agreement, Work: work.Name, Ports: portsAt(work, at)}
		if key != (keys.KeyID{}) {
			s.Key = key.String()
		}
		a.sayServing(s)
		if !a.json || work.Output != "" { // work with a result has its document at the end
			return nil
		}
		return a.print(s, nil)
	}
}

// portsAt brings a container's ports together with where they are, in the order of their names.
func portsAt(work agreement.Work, at map[wire.ID]string) []servedPort {
	out := []servedPort{}
	for _, name := range slices.Sorted(maps.Keys(at)) {
		p := servedPort{Name: name, Address: verdict.Short(at[name]), Names: []string{}}
		if i := slices.IndexFunc(work.Container.Ports, func(p agreement.Port) bool { return p.Name == name }); i >= 0 {
			p.Anyone, p.Names = work.Container.Ports[i].Allow.Anyone, append(p.Names, work.Container.Ports[i].Names...)
		}
		out = append(out, p)
	}
	return out
}

func (a *app) sayServing(s serving) {
	if s.Key != "" && len(s.Ports) > 0 {
		a.say("  the room's key is %s, by its own word: connect proves it", s.Key)
	}
	for _, p := range s.Ports {
		name, address := verdict.Printable(verdict.Short(string(p.Name))), verdict.Printable(p.Address)
		a.say("  port %s: strongroom connect %s --port %s", name, address, name)
		if p.Anyone {
			a.say("    %s", anyoneConnects(p.Name))
		}
		for _, n := range p.Names {
			a.say("    %s", nameOnly(n))
		}
	}
}

// anyoneConnects shouts what a port's anyone means.
func anyoneConnects(port wire.ID) string {
	return fmt.Sprintf("ANYONE CAN CONNECT TO PORT %s: whoever reaches it is served, and the room asks nobody who they are", verdict.Printable(string(port)))
}

// nameOnly says what a certificate of a name is worth (R21).
func nameOnly(name string) string {
	return "who goes to " + verdict.Printable(name) + " directly has checked a name, and not what is there: only connect, or code of one's own, checks the room"
}

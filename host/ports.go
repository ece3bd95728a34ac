package host

import (
	"fmt"
	"net"
	"slices"
	"strconv"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Publication says at which address of the host a port of a container is reached.
type Publication struct {
	Port    wire.ID `json:"port"`
	Address string  `json:"address"` // host:port; port 0 is any
}

// ports are the listeners of a room's published ports.
type ports []published

type published struct {
	name     wire.ID
	listener net.Listener
}

func (p ports) close() {
	for _, one := range p {
		one.listener.Close()
	}
}

func (p ports) addresses() map[wire.ID]string {
	out := map[wire.ID]string{}
	for _, one := range p {
		out[one.name] = one.listener.Addr().String()
	}
	return out
}

// mountName is the name of a mount's disk (spec/room.md, section 3).
func mountName(i int) string { return fmt.Sprintf("mount-%d", i) }

// containerOf gives the container that a job runs, nil if it runs none.
func containerOf(a agreement.Agreement, job Job) *agreement.Container {
	run, err := agreement.ParseRun(job.Run)
	if err != nil {
		return nil
	}
	w, _ := a.WorkByName(run.Work)
	return w.Container
}

// openPorts listens at the addresses that a job publishes, before anything is started: an
// address that is in use is found out in time.
func openPorts(a agreement.Agreement, job Job) (ports, error) {
	var open ports
	c := containerOf(a, job)
	for _, p := range job.Publish {
		if c == nil || !slices.ContainsFunc(c.Ports, func(have agreement.Port) bool { return have.Name == p.Port }) {
			open.close()
			return nil, verdict.Misuse("host.publish", "a port of the agreed container", verdict.Short(string(p.Port)), "strongroom agreement explain shows its ports")
		}
		if _, twice := open.addresses()[p.Port]; twice {
			open.close()
			return nil, verdict.Misuse("host.publish", "one address for port "+string(p.Port), "two", "publish each port once")
		}
		l, err := net.Listen("tcp", p.Address)
		if err != nil {
			open.close()
			return nil, &verdict.Error{Kind: verdict.Usage, Check: "host.publish", Expected: "an address of this machine that is free", Got: verdict.Short(err.Error()),
				Fix: "publish port " + string(p.Port) + " at another", Err: err}
		}
		open = append(open, published{p.Port, l})
	}
	return open, nil
}

// places says where the places are that a job's container may reach. An address is a hint:
// the room checks who is there.
func places(a agreement.Agreement, job Job, known map[wire.ID]string) map[string]string {
	out := map[string]string{}
	c := containerOf(a, job)
	if c == nil {
		return out
	}
	for _, e := range c.Egress {
		address := net.JoinHostPort(e.Host, strconv.FormatInt(e.Port, 10))
		if other, found := known[e.Name]; found {
			address = other
		}
		out["egress/"+string(e.Name)] = address
	}
	return out
}

func (d Disk) missing(why string) error {
	return verdict.Misuse("host.disk", fmt.Sprintf("the disk %s of the container", d.Name), why, "give --disk "+d.Name+"=FILE; strongroom container prepare writes an image's")
}

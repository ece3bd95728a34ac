package agreement

import (
	"fmt"

	"strongroom.dev/wire"
)

// containerPorts checks what the container listens on and who may reach it (R20).
func (a Agreement) containerPorts(p place, c Container) error {
	return first(
		each(p, c.Ports, func(p place, port Port) error { return a.containerPort(p, c, port) }),
		unique(p, c.Ports, "name", func(port Port) string { return string(port.Name) }),
		unique(p, c.Ports, "port", func(port Port) string { return fmt.Sprint(port.Port) }),
	)
}

func (a Agreement) containerPort(p place, c Container, port Port) error {
	return first(
		p.dot("name").id(port.Name),
		p.dot("port").integer(port.Port, 1, 65535),
		p.dot("names").count(len(port.Names), 0, MaxNames),
		each(p.dot("names"), port.Names, func(p place, name string) error { return p.dnsName(name) }),
		unique(p.dot("names"), port.Names, "", self[string]),
		a.allow(p.dot("allow"), c, port.Allow),
	)
}

func (a Agreement) allow(p place, c Container, w Allow) error {
	if len(w.Parties)+len(w.Authorities)+len(w.Issuers)+len(w.Rooms) == 0 && !w.Anyone {
		return p.bad("somebody who may connect", "nobody", "name parties, authorities, issuers, rooms or anyone, or remove the port")
	}
	return first(
		p.dot("parties").count(len(w.Parties), 0, MaxParties),
		each(p.dot("parties"), w.Parties, a.partyRef),
		unique(p.dot("parties"), w.Parties, "", self[wire.ID]),
		p.dot("authorities").authorities(w.Authorities),
		p.dot("issuers").count(len(w.Issuers), 0, MaxIssuers),
		each(p.dot("issuers"), w.Issuers, func(p place, i Issuer) error { return i.validate(p) }),
		unique(p.dot("issuers"), w.Issuers, "issuer", func(i Issuer) string { return i.Issuer }),
		p.dot("rooms").count(len(w.Rooms), 0, MaxWork),
		each(p.dot("rooms"), w.Rooms, func(p place, room wire.ID) error { return a.meshRef(p, c, room) }),
		unique(p.dot("rooms"), w.Rooms, "", self[wire.ID]),
	)
}

func (i Issuer) validate(p place) error {
	return first(
		p.dot("issuer").line(i.Issuer, MaxLine),
		p.dot("audience").line(i.Audience, MaxLine),
		p.dot("keys").count(len(i.Keys), 1, MaxKeys),
		each(p.dot("keys"), i.Keys, func(p place, k string) error { return p.publicKey(k) }),
		unique(p.dot("keys"), i.Keys, "", self[string]),
		p.dot("subjects").count(len(i.Subjects), 0, MaxValues),
		each(p.dot("subjects"), i.Subjects, func(p place, s string) error { return p.line(s, MaxLine) }),
		unique(p.dot("subjects"), i.Subjects, "", self[string]),
	)
}

// meshRef checks the name of another work whose room this one's talks to: both must be in
// the mesh, or neither could show whose it is.
func (a Agreement) meshRef(p place, c Container, name wire.ID) error {
	w, found := a.WorkByName(name)
	switch {
	case !found || w.Container == nil:
		return p.bad("work of kind container of this agreement", quoted(string(name)), "")
	case !w.Container.Mesh:
		return p.bad("work in the mesh", quoted(string(name))+" without mesh: true", "set mesh: true there")
	case !c.Mesh:
		return p.bad("rooms of others only for work that is in the mesh itself", quoted(string(name)), "set mesh: true for this work")
	}
	return nil
}

// containerEgress checks where the container may connect to (R20).
func (a Agreement) containerEgress(p place, c Container) error {
	return first(
		each(p, c.Egress, func(p place, e Egress) error { return a.oneEgress(p, c, e) }),
		unique(p, c.Egress, "name", func(e Egress) string { return string(e.Name) }),
		unique(p, c.Egress, "host", func(e Egress) string { return e.Host }),
	)
}

func (a Agreement) oneEgress(p place, c Container, e Egress) error {
	if err := first(
		p.dot("name").id(e.Name),
		p.dot("host").dnsName(e.Host),
		p.dot("port").integer(e.Port, 1, 65535),
		p.dot("authorities").authorities(e.Authorities),
		p.dot("keys").count(len(e.Keys), 0, MaxKeys),
		each(p.dot("keys"), e.Keys, func(p place, k wire.Hash) error {
			if k.IsZero() {
				return p.bad("the SHA-256 of a public key", "zero", "")
			}
			return nil
		}),
		unique(p.dot("keys"), e.Keys, "", wire.Hash.String),
	); err != nil {
		return err
	}
	pinned := len(e.Authorities) + len(e.Keys)
	switch {
	case e.Room == "" && pinned == 0:
		return p.bad("who the far end is: authorities, keys or room", "nothing", "an address proves nothing: pin the far end's TLS identity")
	case e.Room == "":
		return nil
	case pinned > 0:
		return p.dot("room").bad("a room, or authorities and keys", "both", "a room shows what it is by evidence: remove the others")
	}
	return a.meshRef(p.dot("room"), c, e.Room)
}

// containerNames checks who certifies the room's key.
func (a Agreement) containerNames(p place, c Container) error {
	if c.CertifiedBy != "" {
		if err := a.partyRef(p.dot("certified_by"), c.CertifiedBy); err != nil {
			return err
		}
	}
	for i, port := range c.Ports {
		if c.CertifiedBy == "" && len(port.Names) > 0 {
			return p.dot("ports").at(i).dot("names").bad("names that some party certifies", "certified_by is empty", "name the party whose authority certifies them, or remove the names")
		}
	}
	if !c.Mesh {
		return nil
	}
	if c.CertifiedBy == "" {
		return p.dot("mesh").bad("a mesh that some party's authority certifies", "certified_by is empty", "name the party")
	}
	for _, w := range a.Work {
		if w.Container != nil && w.Container.Mesh && w.Container.CertifiedBy != c.CertifiedBy {
			return p.dot("certified_by").bad("one authority for the mesh of an agreement", quoted(string(c.CertifiedBy))+" and "+quoted(string(w.Container.CertifiedBy)), "name one party in both")
		}
	}
	return nil
}

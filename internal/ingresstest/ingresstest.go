// Package ingresstest is a room that clients reach, in memory: an agreement about a container,
// its parties, evidence of the INSECURE dev platform, and a server of package ingress. Nothing
// in it is for use outside tests.
package ingresstest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/device"
	"strongroom.dev/ingress"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/seal"
	"strongroom.dev/wire"
)

// World is an agreement of alpha, who keeps the room, and beta, with work "web" and what rooms
// of it run on.
type World struct {
	Agreement *agreement.SignedAgreement
	Parties   []*agreement.SignedParty // alpha, beta
	// Keys are the parties' signing keys: one of alpha, three of beta, of which two sign.
	Keys map[wire.ID][]*keys.SigningKey
	// Release are the release keys of the parties' brokers.
	Release map[wire.ID]*keys.SigningKey
	// Root signs the evidence of rooms whose agent has this Image.
	Root  *keys.SigningKey
	Image dev.Measurement
}

// Config says what the world's agreement lets in.
type Config struct {
	Ports []agreement.Port
	// Change alters the agreement before it is signed; nil: nothing.
	Change func(*agreement.Agreement)
}

// Port is a port with who may connect, and empty lists instead of none.
func Port(name wire.ID, allow agreement.Allow) agreement.Port {
	return agreement.Port{Name: name, Port: 8080, Names: []string{}, Allow: agreement.Allow{
		Parties: append([]wire.ID{}, allow.Parties...), Authorities: append([]wire.Bytes{}, allow.Authorities...),
		Issuers: append([]agreement.Issuer{}, allow.Issuers...), Rooms: append([]wire.ID{}, allow.Rooms...), Anyone: allow.Anyone,
	}}
}

// New makes a world.
func New(c Config) (*World, error) {
	w := &World{Keys: map[wire.ID][]*keys.SigningKey{}, Release: map[wire.ID]*keys.SigningKey{}, Image: dev.Measurement{Agent: wire.DigestOf([]byte("agent"))}}
	var err error
	if w.Root, err = keys.GenerateSigningKey(keys.Ed25519); err != nil {
		return nil, err
	}
	for name, n := range map[wire.ID]int{"alpha": 1, "beta": 3} {
		for range n {
			k, err := keys.GenerateSigningKey(keys.ECDSAP256)
			if err != nil {
				return nil, err
			}
			w.Keys[name] = append(w.Keys[name], k)
		}
	}
	for _, name := range []wire.ID{"alpha", "beta"} {
		p, err := w.party(name)
		if err != nil {
			return nil, err
		}
		w.Parties = append(w.Parties, p)
	}
	return w, w.agree(c)
}

// threshold is how many of a party's keys sign.
func (w *World) threshold(name wire.ID) int { return (len(w.Keys[name]) + 1) / 2 }

func (w *World) party(name wire.ID) (*agreement.SignedParty, error) {
	data, err := seal.GenerateIdentity(seal.Data)
	if err != nil {
		return nil, err
	}
	results, err := seal.GenerateIdentity(seal.Result)
	if err != nil {
		return nil, err
	}
	_, log, err := ledger.GenerateKey(string(name) + ".example/log")
	if err != nil {
		return nil, err
	}
	release, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		return nil, err
	}
	w.Release[name] = release
	d := agreement.Descriptor{Name: name, Title: string(name), Domain: string(name) + ".example", Version: 1, Threshold: int64(w.threshold(name)),
		Broker:  &agreement.BrokerInfo{Address: string(name) + ".example:7443", Operator: "in house", ReleaseKey: release.Public(), LogKey: log, Data: []string{data.Recipient().String()}},
		Results: []string{results.Recipient().String()}}
	for _, k := range w.Keys[name] {
		d.Keys = append(d.Keys, agreement.PartyKey{Public: k.Public(), NotBefore: wire.At(time.Now().Add(-time.Hour)), NotAfter: wire.At(time.Now().AddDate(1, 0, 0))})
	}
	p, err := agreement.NewParty(d)
	if err != nil {
		return nil, err
	}
	return p, w.sign(p.Document, name)
}

func (w *World) sign(doc *keys.Document, name wire.ID) error {
	for _, k := range w.Keys[name][:w.threshold(name)] {
		if err := doc.Sign(k); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) agree(c Config) error {
	root, mean := w.Root.Public().ID(), wire.HashOf([]byte("disk"))
	work := agreement.Work{Name: "web", Kind: "container", Description: "A web server.", Tables: []string{}, Parameters: []agreement.Parameter{},
		MayRun: []wire.ID{"alpha"}, Keepers: []wire.ID{"alpha"}, Container: &agreement.Container{
			Image:       agreement.ContainerImage{Reference: "registry.example/web:1", Manifest: mean, Disk: agreement.VerityDisk{Blocks: 10, Salt: mean, Root: mean}},
			Argv:        []string{"/web"},
			User:        agreement.User{Groups: []int64{}},
			Directory:   "/",
			Environment: []agreement.Environment{}, Mounts: []agreement.Mount{}, Capabilities: []string{},
			Seccomp: agreement.Seccomp{Profile: "default", Deny: []string{}},
			Ports:   c.Ports, Egress: []agreement.Egress{},
			Logs:    agreement.Logs{Receivers: []wire.ID{}},
			Restart: agreement.Restart{Policy: "never"},
			Limits:  agreement.Limits{Memory: 1 << 28, Processes: 10, Files: 100},
		}}
	a := agreement.Agreement{ID: "service", Version: 1, Title: "A service", Purpose: "Serve.", LegalBasis: "Contract.", Retention: "None.", Contact: "alpha@alpha.example",
		Valid: agreement.Validity{From: wire.At(time.Now().Add(-time.Hour)), Until: wire.At(time.Now().AddDate(0, 1, 0))}, Protection: agreement.Software,
		Platforms: []agreement.Platform{{Kind: dev.Name, Root: &root, Machines: []string{}, Releases: []agreement.ReleaseLine{}, MayLack: []wire.ID{},
			Images: []agreement.Image{{Name: "room", Measurements: w.Image.Named()}}}},
		Inputs: []agreement.Input{}, Tables: []agreement.Table{}, Outputs: []agreement.Output{}, Work: []agreement.Work{work},
		Ledgers: agreement.Ledgers{Witnesses: []agreement.Witness{}}, LeaseMS: 60000}
	for _, p := range w.Parties {
		a.Parties = append(a.Parties, agreement.Party{ID: p.Name, Descriptor: p.Digest()})
	}
	if c.Change != nil {
		c.Change(&a)
	}
	var err error
	if w.Agreement, err = agreement.NewAgreement(a); err != nil {
		return err
	}
	return errors.Join(w.sign(w.Agreement.Document, "alpha"), w.sign(w.Agreement.Document, "beta"))
}

// Room is a room that serves.
type Room struct {
	*ingress.Server
	// Signing is the room's own key, Key that of its certificates.
	Signing *keys.SigningKey
	Key     *ingress.Key
	Run     wire.Digest
}

// Room starts a room whose container answers on connections that dial gives. change alters its
// configuration; nil: nothing.
func (w *World) Room(dial func(ctx context.Context, port wire.ID) (io.ReadWriteCloser, error), change func(*ingress.Config)) (*Room, error) {
	signing, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		return nil, err
	}
	hpke, err := keys.GenerateHPKEKey()
	if err != nil {
		return nil, err
	}
	tunnel, err := keys.GenerateHPKEKey()
	if err != nil {
		return nil, err
	}
	key, err := ingress.NewKey()
	if err != nil {
		return nil, err
	}
	shown, err := key.SelfSigned(nil, time.Now().Add(-time.Hour), time.Now().AddDate(0, 1, 0))
	if err != nil {
		return nil, err
	}
	r := &Room{Signing: signing, Key: key, Run: wire.DigestOf([]byte(signing.Public().String()))}
	c := ingress.Config{Agreement: w.Agreement, Parties: w.Parties, Run: r.Run, Work: "web", Signing: signing, HPKE: hpke.Public(), Tunnel: tunnel,
		Certificate: func(wire.ID) *tls.Certificate { return shown }, Dial: dial, Now: time.Now}
	c.Evidence = func(_ context.Context, nonce wire.Hash, _ []keys.KeyID) (attest.Evidence, error) {
		b := device.Connection{Nonce: nonce, Signing: signing.Public(), HPKE: hpke.Public(), Agreement: w.Agreement.Digest(), Run: r.Run}.Binding()
		return dev.Sign(w.Root, w.Image, attest.InitData(w.Agreement.Canonical()), b.ReportData())
	}
	if change != nil {
		change(&c)
	}
	r.Server, err = ingress.New(c)
	return r, err
}

// Listen serves a port of a room on a loopback address, as a host brings connections to it,
// until ctx ends. wrap alters each connection on its way; nil: nothing.
func (r *Room) Listen(ctx context.Context, port wire.ID, wrap func(net.Conn) net.Conn) (address string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if wrap != nil {
				conn = wrap(conn)
			}
			go r.Serve(ctx, port, conn)
		}
	}()
	return l.Addr().String(), nil
}

// Echo is a container that sends back what it gets, and ends when its client has.
func Echo(context.Context, wire.ID) (io.ReadWriteCloser, error) {
	inside, container := pipe()
	if inside == nil {
		return nil, fmt.Errorf("no socket pair")
	}
	go func() {
		io.Copy(container, container)
		container.Close()
	}()
	return inside, nil
}

// Pipe gives each connection's container end to others.
func Pipe(to chan<- net.Conn) func(context.Context, wire.ID) (io.ReadWriteCloser, error) {
	return func(context.Context, wire.ID) (io.ReadWriteCloser, error) {
		inside, container := pipe()
		if inside == nil {
			return nil, fmt.Errorf("no socket pair")
		}
		to <- container
		return inside, nil
	}
}

// pipe gives both ends of a TCP connection on the loopback: one that can end half.
func pipe() (a, b net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil
	}
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		c, err := l.Accept()
		if err != nil {
			c = nil
		}
		accepted <- c
	}()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		l.Close()
		<-accepted
		return nil, nil
	}
	return a, <-accepted
}

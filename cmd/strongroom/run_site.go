package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest/dev"
	"strongroom.dev/client"
	"strongroom.dev/host"
	"strongroom.dev/internal/folder"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// site is where a room is started: on this machine, or by a host.
type site interface {
	datasets(ctx context.Context) ([]host.Sealed, error)
	// ready looks whether a room could be started that the agreement accepts; it changes nothing.
	ready(ctx context.Context, under agreement.Agreement, work wire.ID) error
	// keep sees to results that could not be put where they belong, and adds to the error where
	// they are.
	keep(err error) error
	start(ctx context.Context, job host.Job, run *agreement.SignedRun) (startedRoom, error)
	// url is where the room goes on without this program; "" is nowhere.
	url() string
	close()
}

// startedRoom is a room under way.
type startedRoom interface {
	id() string
	events(ctx context.Context, from int) (events []room.Event, ended bool, err error)
	// wait gives the reason if the room stopped without a result. It is called after the end.
	wait(ctx context.Context) error
	// files gives the names of what the room let out, as the host tells them: not to be
	// believed, not to be printed as they are.
	files(ctx context.Context) ([]string, error)
	// ports are where a container's ports are reached.
	ports(ctx context.Context) (map[wire.ID]string, error)
	// fetch copies one of them.
	fetch(ctx context.Context, name string, dst io.Writer) error
}

// forgotHost refuses a call without --host that could not start a room here: no broker gives
// keys to a room whose root is not the agreement's.
func (r *running) forgotHost(h *home.Home, ag agreement.Agreement) error {
	if r.hostNamed || r.host != "dev" {
		return nil
	}
	got := "no host named, and this home directory has no development root"
	if own, err := h.DevRoot(false); err == nil {
		id := own.Public().ID()
		if slices.ContainsFunc(ag.Platforms, func(p agreement.Platform) bool { return p.Root != nil && *p.Root == id }) {
			return nil
		}
		got = "no host named, and the agreement accepts no rooms of this home directory's development root"
	}
	return verdict.Misuse("--host", "the URL of a host that the agreement accepts", got,
		"give --host URL; --host dev starts an insecure room on this machine, which only an agreement with the root of strongroom host root accepts")
}

// checkHost finds what is wrong with --host and the flags that go with it; given says which the
// call has.
func (r *running) checkHost(given func(flag string) bool) error {
	switch r.host {
	case "dev":
		if r.vm.image != "" {
			return verdict.Misuse("--host", "qemu, since there is an image", "dev", "give --host qemu")
		}
		if flag := firstGiven(given, append(machineFlags(), "platform")...); flag != "" {
			return verdict.Misuse(flag, "--host qemu with it", "--host dev, whose rooms are processes", "give --host qemu and --image, or leave "+flag+" out")
		}
	case "qemu":
		if r.vm.platform == string(dev.Name) {
			return verdict.Misuse("--platform", "the platform of a virtual machine: tpm, snp or tdx", "dev", "give --host dev instead")
		}
		if err := r.vm.check(given); err != nil {
			return err
		}
	default:
		if !strings.HasPrefix(r.host, "http://") && !strings.HasPrefix(r.host, "https://") {
			return verdict.Misuse("--host", "dev, qemu or a URL", verdict.Short(r.host), "as in --host http://127.0.0.1:7600")
		}
		if flag := firstGiven(given, append(machineFlags(), "platform", "data", "ledger")...); flag != "" {
			return verdict.Misuse(flag, "a room that this command starts: --host dev or qemu", "--host "+verdict.Short(r.host)+", a host that has its own", "leave "+flag+" out: it is for strongroom host serve there")
		}
	}
	_, err := r.urls()
	return err
}

func (a *app) site(r *running) site {
	switch r.host {
	case "dev":
		return &localSite{app: a, flags: r.hostFlags, container: r.containerFlags, vm: vmFlags{platform: string(dev.Name)}}
	case "qemu":
		return &localSite{app: a, flags: r.hostFlags, container: r.containerFlags, vm: r.vm}
	}
	return remoteSite{client.Host{URL: strings.TrimSuffix(r.host, "/"), HTTP: client.New()}}
}

// localSite starts rooms on this machine: on the INSECURE dev platform, or as virtual machines.
type localSite struct {
	app       *app
	flags     hostFlags
	container containerFlags
	vm        vmFlags
	config    host.Config
	log       *roomLog
	folder    *folder.Folder // of this run; nil before it starts, and once people have it

	mu   sync.Mutex // owns what follows
	room *host.Room
}

func (s *localSite) datasets(context.Context) ([]host.Sealed, error) { return host.List(s.flags.data) }

// ready makes no root: an agreement that names it was made with it.
func (s *localSite) ready(ctx context.Context, under agreement.Agreement, work wire.ID) error {
	if err := tempRoom(host.ResultSize(under, work)); err != nil {
		return err
	}
	h, err := home.Open(s.app.homeDir)
	if err != nil {
		return err
	}
	if s.config, err = s.app.hostConfig(ctx, h, s.flags, s.vm, false); err != nil {
		return err
	}
	if s.config.Egress, err = s.container.places(); err != nil {
		return err
	}
	p, err := s.app.planned(s.config, s.vm)
	if err != nil {
		return err
	}
	if err := p.suits(under); err != nil {
		return err
	}
	s.log = &roomLog{w: s.app.err}
	s.config.Log = s.log
	return s.app.accelerate(ctx, s.config, s.vm)
}

func (s *localSite) url() string { return "" }

func (s *localSite) start(ctx context.Context, job host.Job, run *agreement.SignedRun) (startedRoom, error) {
	var err error
	if job.Inputs, err = host.Find(s.flags.data, run.Run); err != nil {
		return nil, err
	}
	if err := s.enoughLedgers(job); err != nil {
		return nil, err
	}
	if s.folder, err = folder.New("", "strongroom-room-"); err != nil {
		return nil, fileError(os.TempDir(), "a place for the sealed result", err)
	}
	s.config.Dir = s.folder.Path()
	if text := insecurity(s.config); text != "" {
		s.app.say("%s", text)
	}
	random := keys.RandomID()
	id := hex.EncodeToString(random[:4])
	r, err := host.Start(ctx, s.config, id, job)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = r
	return localRoom{r, id, s.log}, nil
}

// finish asks a room that serves to end, and ends any other at once.
func (s *localSite) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.room == nil {
		return
	}
	if s.room.Serves() {
		s.app.say("  asking the room to end; once more ends it at once")
		s.room.Finish()
		return
	}
	go s.room.Stop()
}

// enoughLedgers looks for where the agreed shared ledgers are, before a run is paid for that
// could not be recorded.
func (s *localSite) enoughLedgers(job host.Job) error {
	a, err := agreement.ParseAgreement(job.Agreement)
	if err != nil {
		return err
	}
	var unknown []string
	for _, w := range a.Ledgers.Witnesses {
		origin, err := ledger.OriginOf(w.Key)
		if err != nil {
			return err
		}
		if _, found := s.config.Ledgers[origin]; !found {
			unknown = append(unknown, origin)
		}
	}
	if known := len(a.Ledgers.Witnesses) - len(unknown); int64(known) < a.Ledgers.Quorum {
		return verdict.Misuse("--ledger", fmt.Sprintf("where at least %d of the agreement's %d shared ledgers are", a.Ledgers.Quorum, len(a.Ledgers.Witnesses)),
			fmt.Sprintf("%d, and nothing of %s", known, strings.Join(unknown, ", ")), "give --ledger "+unknown[0]+"=URL")
	}
	return nil
}

// close ends the room, and takes away what it left on this machine.
func (s *localSite) close() {
	if s.room != nil {
		s.room.Stop()
	}
	if s.config.Programs != nil {
		s.config.Programs.Close()
	}
	if s.folder != nil {
		s.folder.Remove() //nolint:errcheck // the next run sweeps what is left
	}
}

type localRoom struct {
	*host.Room
	name string
	log  *roomLog
}

func (r localRoom) id() string { return r.name }

func (r localRoom) events(ctx context.Context, from int) ([]room.Event, bool, error) {
	events, ended := r.Events(ctx, from)
	return events, ended, ctx.Err()
}

func (r localRoom) wait(ctx context.Context) error {
	err := r.Wait(ctx)
	r.log.end(err)
	return err
}

func (r localRoom) ports(context.Context) (map[wire.ID]string, error) { return r.Ports(), nil }

func (r localRoom) files(context.Context) ([]string, error) { return r.Files(), nil }

func (r localRoom) fetch(_ context.Context, name string, dst io.Writer) error {
	f, err := os.Open(filepath.Join(r.Dir(), filepath.Base(name)))
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(dst, f)
	return err
}

// remoteSite asks a host.
type remoteSite struct{ client.Host }

func (s remoteSite) datasets(ctx context.Context) ([]host.Sealed, error) { return s.Datasets(ctx) }

func (s remoteSite) start(ctx context.Context, job host.Job, _ *agreement.SignedRun) (startedRoom, error) {
	info, err := s.Start(ctx, job)
	if err != nil {
		return nil, err
	}
	return remoteRoom{s.Host, info.ID}, nil
}

func (remoteSite) ready(context.Context, agreement.Agreement, wire.ID) error { return nil }

func (s remoteSite) url() string { return s.URL }

func (s remoteSite) close() { s.HTTP.CloseIdleConnections() }

type remoteRoom struct {
	client.Host
	name string
}

func (r remoteRoom) id() string { return r.name }

func (r remoteRoom) events(ctx context.Context, from int) ([]room.Event, bool, error) {
	return r.Events(ctx, r.name, from)
}

// wait reads the last event: the host's word for why there is no result.
func (r remoteRoom) wait(ctx context.Context) error {
	events, _, err := r.Events(ctx, r.name, 0)
	if err != nil {
		return err
	}
	for _, e := range events {
		switch e.Event {
		case room.Stopped:
			return verdict.Decode(e.Error)
		case room.Done:
			return nil
		}
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "room.ended", Expected: "a result or a reason", Got: "neither", Fix: "see the host's log"}
}

func (r remoteRoom) files(ctx context.Context) ([]string, error) {
	info, err := r.Room(ctx, r.name)
	return info.Files, err
}

func (r remoteRoom) ports(ctx context.Context) (map[wire.ID]string, error) {
	info, err := r.Room(ctx, r.name)
	return info.Ports, err
}

func (r remoteRoom) fetch(ctx context.Context, name string, dst io.Writer) error {
	return r.Fetch(ctx, r.name, name, dst)
}

// sayEvent shows what people want to know of an event.
func (a *app) sayEvent(e room.Event) {
	switch e.Event {
	case room.Progress:
		a.say("  %s", e.Step.Text())
	case room.Notice:
		a.say("  %s %s", verdict.Printable(verdict.Short(e.Name)), verdict.Printable(verdict.Short(e.Text)))
	case room.Waiting:
		who := "the " + strings.NewReplacer("broker/", "broker of ", "ledger/", "shared ledger ", "ledgers of broker/", "shared ledgers that must sign for the broker of ").Replace(e.For)
		a.say("  waiting for %s, trying again for up to %s", verdict.Printable(verdict.Short(who)), time.Duration(e.WaitMS)*time.Millisecond)
	}
}

// hostPatience is how long a host may be silent before its room is given up.
const hostPatience = 30 * time.Second

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// follow shows a room's steps until it ends, and gives the reason if it stopped. later says
// how to go on where this call can't see the end. serving, unless nil, is told once the
// container's ports are open, and by which key the room calls itself.
func (a *app) follow(ctx context.Context, r startedRoom, later string, serving func(ctx context.Context, room keys.KeyID) error) error {
	var key keys.KeyID
	silent := time.Time{} // since when
	for from := 0; ; {
		events, ended, err := r.events(ctx, from)
		if err != nil && ctx.Err() == nil && verdict.As(err).Check == "reachable" && (silent.IsZero() || a.now().Sub(silent) < hostPatience) {
			if silent.IsZero() {
				silent = a.now()
				a.say("  the host does not answer, trying again for up to %s", hostPatience)
			}
			wait(ctx, time.Second)
			continue
		}
		if err != nil {
			return unseen(ctx, err, r.id(), later)
		}
		silent = time.Time{}
		for _, e := range events {
			a.sayEvent(e)
			if e.Shown != nil {
				key = e.Shown.Room.Signing.ID()
			}
			if e.Step == room.Serving && serving != nil {
				if err := serving(ctx, key); err != nil {
					return err
				}
			}
		}
		from += len(events)
		if ended {
			return r.wait(ctx)
		}
	}
}

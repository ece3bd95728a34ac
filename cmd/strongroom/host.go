package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/attest/dev"
	"strongroom.dev/host"
	"strongroom.dev/host/qemu"
	"strongroom.dev/internal/home"
	"strongroom.dev/internal/version"
	"strongroom.dev/server"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func (a *app) hostCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "host",
		Short: "Start rooms for others, trusted with nothing",
	}
	return group(cmd, a.hostServe(), a.hostRoot())
}

// hostFlags are what starting rooms on this machine takes.
type hostFlags struct {
	data    string
	ledgers []string
}

func (f *hostFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.data, "data", ".", "`DIR` of sealed files: NAME.age and NAME.statement.json")
	cmd.Flags().StringArrayVar(&f.ledgers, "ledger", nil, "where a shared ledger is: `ORIGIN=URL` (repeat)")
}

func (f *hostFlags) urls() (map[string]string, error) {
	urls := map[string]string{}
	for _, text := range f.ledgers {
		origin, url, found := strings.Cut(text, "=")
		if !found || origin == "" || !strings.HasPrefix(url, "http") {
			return nil, verdict.Misuse("--ledger", "ORIGIN=URL", verdict.Short(text), "the origin is the first part of the ledger's key, as in ledger.example=http://127.0.0.1:7500")
		}
		urls[origin] = strings.TrimSuffix(url, "/")
	}
	return urls, nil
}

// hostConfig makes what starts rooms: virtual machines of an image, or the room image beside
// this program and the development root of a home.
func (a *app) hostConfig(ctx context.Context, h *home.Home, f hostFlags, vm vmFlags, makeRoot bool) (host.Config, error) {
	urls, err := f.urls()
	if err != nil {
		return host.Config{}, err
	}
	if vm.platform != string(dev.Name) {
		machine, err := a.vmConfig(ctx, h, vm, makeRoot)
		return host.Config{VM: machine, Ledgers: urls, Log: a.err}, err
	}
	programs, err := loadPrograms()
	if err != nil {
		return host.Config{}, err
	}
	root, err := h.DevRoot(makeRoot)
	if err != nil {
		programs.Close()
		return host.Config{}, err
	}
	return host.Config{Programs: programs, Root: root, Ledgers: urls, Log: a.err}, nil
}

// hostHome is a home that may hold nothing but a development root.
func (a *app) hostHome() (*home.Home, error) {
	if h, err := home.Open(a.homeDir); err == nil {
		return h, nil
	}
	return home.Create(a.homeDir)
}

// loadPrograms loads the agent and its helpers from beside this program, of the same build.
func loadPrograms() (*host.Programs, error) {
	agent, err := companion(agentProgram)
	if err != nil {
		return nil, err
	}
	sql, err := companion(sqlProgram)
	if err != nil {
		return nil, err
	}
	return host.Load(agent, map[wire.ID]string{sqlProgram: sql})
}

// companion gives the path of a program beside this one and refuses one of another build.
func companion(name string) (string, error) {
	path, err := beside(name)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", verdict.Misuse("program", name+" beside strongroom", "none there", "keep the programs of one archive in one folder; make build puts them into bin/")
	}
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return "", verdict.Misuse("program.version", name+" of build "+version.Version, "it does not run: "+err.Error(), "take all programs from one archive")
	}
	if got := strings.TrimSpace(string(out)); got != version.Version {
		return "", verdict.Misuse("program.version", name+" of build "+version.Version, verdict.Short(got), "take all programs from one archive")
	}
	return path, nil
}

func (a *app) hostRoot() *cobra.Command {
	platform := string(dev.Name)
	cmd := &cobra.Command{
		Use:   "root",
		Short: "Print the fingerprint of this user's root for software rooms, INSECURE",
		Long: `Prints the fingerprint that agreements pin to accept rooms of this user's hosts on a software
platform, making the root first if there is none: the key of the insecure dev platform, or on
platform tpm the authority that certifies the software TPMs of virtual machines. Whoever holds
it can forge such rooms.`,
		Example: "  strongroom host root\n  strongroom host root --platform tpm",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			root, err := a.softwareRoot(cmd.Context(), platform)
			if err != nil {
				return err
			}
			return a.print(map[string]any{"root": root, "platform": platform, "insecure": true}, func(w io.Writer) { fmt.Fprintln(w, root) })
		},
	}
	cmd.Flags().StringVar(&platform, "platform", platform, "dev or tpm")
	return cmd
}

// softwareRoot gives the root of this user's rooms on a software platform, made if need be.
func (a *app) softwareRoot(ctx context.Context, platform string) (wire.Hash, error) {
	if platform != string(dev.Name) && platform != string(qemu.TPM) {
		return wire.Hash{}, verdict.Misuse("--platform", "dev or tpm", strconv.Quote(verdict.Short(platform)), "the roots of other platforms are their makers'")
	}
	h, err := a.hostHome()
	if err != nil {
		return wire.Hash{}, err
	}
	if platform == string(qemu.TPM) {
		ca, err := a.tpmCA(ctx, h, true)
		if err != nil {
			return wire.Hash{}, err
		}
		return ca.Root(), nil
	}
	key, err := h.DevRoot(true)
	if err != nil {
		return wire.Hash{}, err
	}
	return key.Public().ID(), nil
}

// hosting is one call of `host serve`.
type hosting struct {
	hostFlags
	vm          vmFlags
	listen, dir string
	rooms       int
	agreements  []string
	containers  hostContainerFlags
}

func (a *app) hostServe() *cobra.Command {
	var s hosting
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Start rooms for whoever may run an agreement's work",
		Long: `Serves rooms over HTTP. A host keeps sealed files and starts rooms; it can delay and stop
them, and learns when they ran and how large files are, nothing more. On the software platforms,
dev and tpm, it can also read their memory: INSECURE. On tpm, snp and tdx each room is a virtual
machine of a room image; "strongroom doctor host" says what this machine lacks for them.

Without --agreement it serves every agreement that is signed by all its parties, over sealed
files in --data that their owners signed. A room's calls go to the broker addresses that the
parties' descriptors name: parties of an agreement choose addresses that this host calls.`,
		Example: `  strongroom host serve --listen 127.0.0.1:7600 --data sealed --ledger ledger.example=http://127.0.0.1:7500
  strongroom host serve --data sealed --agreement study.json
  strongroom host serve --platform tpm --image room --data sealed
  strongroom host serve --platform snp --image room --firmware OVMF.amdsev.fd --cpus 4 --memory 8G`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if err := s.vm.check(cmd.Flags().Changed); err != nil {
				return err
			}
			return a.serveHost(ctx, s)
		},
	}
	s.hostFlags.add(cmd)
	s.vm.add(cmd, string(dev.Name), "what rooms run on: dev, tpm, snp or tdx")
	f := cmd.Flags()
	f.StringVar(&s.listen, "listen", "127.0.0.1:7600", "`HOST:PORT` to listen on; port 0 chooses one")
	f.StringVar(&s.dir, "dir", "", "`DIR` for what rooms let out (default: rooms in the home directory)")
	f.IntVar(&s.rooms, "rooms", 4, "how many rooms may run at once")
	s.containers.add(cmd)
	f.StringArrayVar(&s.agreements, "agreement", nil, "serve only this agreement: `FILE|DIGEST` (repeat)")
	return cmd
}

// served gives the digests of agreements named by file or digest, and those agreements that are at
// hand. A host is party to none, so it need not hold them.
func (a *app) served(names []string) (digests []wire.Digest, known []agreement.Agreement, err error) {
	for _, name := range names {
		digest, err := wire.ParseDigest(name)
		if err != nil {
			ag, yaml, err := a.loadAgreement(name)
			if err != nil {
				return nil, nil, err
			}
			if yaml {
				return nil, nil, verdict.Misuse("--agreement", "a signed agreement or its digest", name+", a draft", "strongroom agreement sign makes the signed form")
			}
			digest, known = ag.Digest(), append(known, ag.Agreement)
		}
		digests = append(digests, digest)
	}
	return digests, known, nil
}

// serveHost finds everything that can be wrong in the call before anything is made.
func (a *app) serveHost(ctx context.Context, s hosting) error {
	serves, known, err := a.served(s.agreements)
	if err != nil {
		return err
	}
	if s.rooms < 1 {
		return verdict.Misuse("--rooms", "at least 1", fmt.Sprint(s.rooms), "give a number")
	}
	if _, err := s.urls(); err != nil {
		return err
	}
	if _, err := host.List(s.data); err != nil {
		return err
	}
	containers, egress, err := s.containers.config()
	if err != nil {
		return err
	}
	if s.vm.platform != string(dev.Name) {
		if err := tempRoom(0); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return noListener("--listen", err)
	}
	defer listener.Close()
	h, err := a.hostHome()
	if err != nil {
		return err
	}
	if s.dir == "" {
		s.dir = h.Path("rooms")
	}
	config, err := a.hostConfig(ctx, h, s.hostFlags, s.vm, true)
	if err != nil {
		return err
	}
	if config.Programs != nil {
		defer config.Programs.Close()
	}
	if err := a.plannedHost(&config, s.vm, known); err != nil {
		return err
	}
	config.Dir, config.Agreements, config.Containers, config.Egress = s.dir, serves, containers, egress
	return a.serveRooms(ctx, s, config, listener)
}

// serveRooms serves rooms until ctx ends.
func (a *app) serveRooms(ctx context.Context, s hosting, config host.Config, listener net.Listener) error {
	release, err := host.Own(config.Dir)
	if err != nil {
		return err
	}
	defer release()
	if err := a.accelerate(ctx, config, s.vm); err != nil {
		return err
	}
	manager, err := host.NewManager(config, s.data, s.rooms, a.now)
	if err != nil {
		return err
	}
	defer manager.Close()
	ready, err := a.hostReady(listener.Addr().String(), s.vm, config)
	if err != nil {
		return err
	}
	if err := a.print(ready, func(w io.Writer) {
		fmt.Fprintf(w, "Host listening on http://%s, data in %s\n", listener.Addr(), s.data)
		if text := insecurity(config); text != "" {
			fmt.Fprintln(w, text)
		}
	}); err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(a.err, nil))
	return server.Serve(ctx, listener, server.Host(ctx, manager, logger), logger)
}

// hostReady is what a host says once it serves.
func (a *app) hostReady(address string, vm vmFlags, c host.Config) (map[string]any, error) {
	ready := map[string]any{"address": address, "platform": vm.platform, "insecure": insecurity(c) != ""}
	if c.VM == nil {
		ready["root"], ready["measurements"] = c.Root.Public().ID(), c.Programs.Measurement().Named()
		return ready, nil
	}
	if c.VM.Launch.CA != nil {
		ready["root"] = c.VM.Launch.CA.Root()
	}
	measurements, err := a.expected(vm)
	ready["measurements"] = measurements
	return ready, err
}

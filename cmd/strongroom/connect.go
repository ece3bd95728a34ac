package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/client"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/policy"
	"strongroom.dev/reference"
	"strongroom.dev/relying"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// connectFlags are what `connect` is told.
type connectFlags struct {
	agreement, port, work, listen, via string
	as, token, certificate             string
	signingKeys, parties, activators   []string
	run                                string
	age, wait                          time.Duration
	check, stdio, share, allowSoftware bool
	endorsements                       endorsementFlags
	references                         referenceFlags
}

func (a *app) connectCommand() *cobra.Command {
	var f connectFlags
	cmd := &cobra.Command{
		Use:   "connect [HOST:PORT]",
		Short: "Reach a room with any client, once it has proven what it is",
		Long: `Listens on this machine and carries each connection to a port of a room, for any client: curl,
psql, a browser. Before a byte of yours leaves, the room proves by evidence for that very
connection that it is a genuine machine with the agreed image and this agreement, and you say
who you are: nobody (where the agreement lets in anyone), a party (--as), the holder of a token
(--token) or of a certificate (--certificate).

A container that does not listen yet is waited for (--wait), and where one starts again later
connections go on to it.

The connection ends in the room, not on its host. Between your client and this program it is
in the clear, so it listens on the loopback only. A certificate of a public authority proves a
name, not a room: a browser that goes to such a name directly has not checked what is there;
one that goes through this program has.

Where a proxy on the way ends TLS, give the URL of the host behind it with --via: the
connection is then carried in sealed requests.`,
		Example: `  strongroom connect rooms.example:8443 --agreement service.json --port web --listen 127.0.0.1:8080
  strongroom connect rooms.example:8443 --agreement service --port web --check
  psql -h 127.0.0.1 -p 5433     # with: connect rooms.example:8443 --agreement db --port sql --listen 127.0.0.1:5433 --as alpha
  ssh -o ProxyCommand='strongroom connect rooms.example:8443 --agreement box --port ssh --stdio' box
  strongroom connect --via https://rooms.example --agreement service --port web --listen 127.0.0.1:8080`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return a.connect(ctx, f, args)
		},
	}
	f.add(cmd)
	return cmd
}

func (f *connectFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.agreement, "agreement", "", "the agreement that you pin: a `FILE`, or the id or digest of one in your home")
	flags.StringVar(&f.port, "port", "", "the port's `NAME` in the agreement")
	flags.StringVar(&f.work, "work", "", "the work whose port it is, where several have one of that name")
	flags.StringVar(&f.listen, "listen", "", "`ADDR` to listen on, as in 127.0.0.1:8080 (0 as a port: any that is free)")
	flags.StringVar(&f.via, "via", "", "`URL` of a host that takes connections in sealed requests, instead of HOST:PORT")
	flags.StringVar(&f.as, "as", "", "the `PARTY` of the agreement to connect as, with your signing key")
	flags.StringArrayVar(&f.signingKeys, "signing-key", nil, "`FILE` of another signing key of that party, where several must sign (repeat)")
	flags.StringVar(&f.token, "token", "", "`FILE` with a token (JWT) that says who you are; read for each connection")
	flags.StringVar(&f.certificate, "certificate", "", "PEM `FILE` with a client certificate and its key")
	flags.StringArrayVar(&f.parties, "party", nil, "a party descriptor `FILE` you have compared with the party itself (repeat)")
	flags.StringArrayVar(&f.activators, "trust-broker", nil, "`PARTY` besides yourself whose broker's word you take for where a TPM's key lives (repeat)")
	flags.StringVar(&f.run, "run", "", "digest of the run whose room it must be")
	flags.DurationVar(&f.age, "age", time.Hour, "how long a room's evidence counts before it is asked for anew, at most 24h; 0s: for each connection")
	flags.DurationVar(&f.wait, "wait", 30*time.Second, "how long to wait for a container that does not listen yet, for each connection, at most 10m; 0s: not at all")
	flags.BoolVar(&f.check, "check", false, "say what is there, and end")
	flags.BoolVar(&f.stdio, "stdio", false, "carry one connection from standard input and to standard output (ProxyCommand)")
	flags.BoolVar(&f.share, "insecure-share", false, "listen on an address that others reach: they connect as you, in the clear up to here")
	flags.BoolVar(&f.allowSoftware, "insecure-allow-software", false, "accept rooms on machines that keep nobody out, where the agreement does")
	f.endorsements.add(cmd)
	f.references.addRooms(cmd)
}

// connecting is one call of `connect`, ready to go.
type connecting struct {
	connectFlags
	room  *client.Room
	judge *relying.Client
}

func (a *app) connect(ctx context.Context, f connectFlags, args []string) error {
	if err := f.whole(args); err != nil {
		return err
	}
	c, err := a.connectTo(f, args)
	if err != nil {
		return err
	}
	conn, found, err := c.reach(ctx, a.say)
	if err != nil {
		return c.inMyWords(err)
	}
	if f.stdio {
		a.sayRoom(c, found)
		return carry(conn, stdio{a.in, a.out})
	}
	conn.Close()
	if f.check {
		return a.printRoom(c, found, "")
	}
	return a.proxy(ctx, c, found)
}

// whole refuses calls that can't be meant.
func (f connectFlags) whole(args []string) error {
	ways := 0
	for _, set := range []bool{f.check, f.stdio, f.listen != ""} {
		if set {
			ways++
		}
	}
	switch {
	case f.agreement == "":
		return verdict.Misuse("--agreement", "the agreement that you pin", "none", "name it: without one no room is accepted")
	case f.port == "":
		return verdict.Misuse("--port", "the name of a port of the agreement", "none", "add --port NAME")
	case (len(args) == 1) == (f.via != ""):
		return verdict.Misuse("command line", "HOST:PORT, or --via URL", "neither or both", "give one of them")
	case ways != 1:
		return verdict.Misuse("command line", "one of --listen, --stdio and --check", fmt.Sprint(ways), "give one of them")
	case f.as == "" && len(f.signingKeys) > 0:
		return verdict.Misuse("--signing-key", "--as PARTY with it", "a key for nobody", "add --as")
	case f.as != "" && f.token != "":
		return verdict.Misuse("--token", "a party or a token", "both", "give one of them")
	case f.wait < 0 || f.wait > 10*time.Minute:
		return verdict.Misuse("--wait", "0s to 10m", f.wait.String(), "as in --wait 1m")
	case f.via != "" && !isURL(f.via):
		return verdict.Misuse("--via", "a URL like https://rooms.example", verdict.Short(f.via), "correct it")
	}
	return nil
}

// connectTo brings together what judges the room and who connects.
func (a *app) connectTo(f connectFlags, args []string) (*connecting, error) {
	h, err := a.homeIfThere()
	if err != nil {
		return nil, err
	}
	ag, _, err := a.loadAgreement(f.agreement)
	if err != nil {
		return nil, err
	}
	c := &connecting{connectFlags: f}
	if c.judge, err = a.judge(f, h, ag); err != nil {
		return nil, err
	}
	config := client.RoomConfig{Via: f.via, Judge: c.judge, Port: wire.ID(f.port), Work: wire.ID(f.work)}
	if len(args) == 1 {
		config.Address = args[0]
	}
	if err := a.whoConnects(&config, f, h, ag); err != nil {
		return nil, err
	}
	c.room, err = client.NewRoom(config)
	return c, err
}

// judge makes the judge of rooms, of what the flags name and the home holds.
func (a *app) judge(f connectFlags, h *home.Home, ag *agreement.SignedAgreement) (*relying.Client, error) {
	parties, err := a.pinnedParties(f.parties, h, ag)
	if err != nil {
		return nil, err
	}
	endorsed, err := a.endorsedNow(f.endorsements, h)
	if err != nil {
		return nil, err
	}
	config := relying.Config{Agreement: ag, Parties: parties, Platforms: endorsed.platforms(), InsecureAllowSoftware: f.allowSoftware, Age: f.age, Now: a.now}
	for _, id := range f.activators {
		config.Activators = append(config.Activators, wire.ID(id))
	}
	if h != nil { // one's own broker is believed
		if me, own, err := ownParty(h, ag, parties); err == nil && own.Broker != nil && !slices.Contains(config.Activators, me) {
			config.Activators = append(config.Activators, me)
		}
	}
	if f.run != "" {
		digest, err := wire.ParseDigest(f.run)
		if err != nil {
			return nil, verdict.Misuse("--run", "the digest of a run request", verdict.Short(err.Error()), "give it as `run` printed it")
		}
		config.Run = &digest
	}
	if len(releaseLines(ag.Agreement)) > 0 {
		if h == nil {
			return nil, verdict.Refuse("home", "a home that remembers which reference values were used, since the agreement names a release line", "none", "make one: strongroom party init, or --home DIR")
		}
		config.References = func() (map[wire.Digest]policy.Newest, error) {
			sets, err := a.roomReferences(f.references, h, ag.Agreement)
			return sets.Newest, err
		}
		config.Remember = func(n reference.Name) error { return h.SawReference(n) }
	}
	return relying.New(config)
}

// pinnedParties gives the descriptors of an agreement's parties, of files that were compared and of
// the home.
func (a *app) pinnedParties(files []string, h *home.Home, ag *agreement.SignedAgreement) (parties []*agreement.SignedParty, err error) {
	for _, file := range files {
		data, err := a.readDocument(file, "a party descriptor")
		if err != nil {
			return nil, err
		}
		p, err := agreement.ParseParty(data)
		if err != nil {
			return nil, inFile(file, err)
		}
		parties = append(parties, p)
	}
	for _, p := range ag.Parties {
		if h == nil || slices.ContainsFunc(parties, func(q *agreement.SignedParty) bool { return q.Digest() == p.Descriptor }) {
			continue
		}
		party, _, err := h.Party(p.Descriptor)
		if err != nil {
			return nil, inFile("party "+string(p.ID), err)
		}
		parties = append(parties, party)
	}
	return parties, nil
}

// whoConnects says as whom to connect.
func (a *app) whoConnects(c *client.RoomConfig, f connectFlags, h *home.Home, ag *agreement.SignedAgreement) (err error) {
	if f.as != "" {
		if c.Signers, err = a.signersOf(wire.ID(f.as), f.signingKeys, h, ag); err != nil {
			return err
		}
		c.Party = wire.ID(f.as)
	}
	if f.token != "" {
		c.Token = func(context.Context) (string, error) {
			data, err := a.readDocument(f.token, "a token")
			return strings.TrimSpace(string(data)), err
		}
		if _, err := c.Token(context.Background()); err != nil {
			return err
		}
	}
	if f.certificate != "" {
		pair, err := tls.LoadX509KeyPair(f.certificate, f.certificate)
		if err != nil {
			return verdict.Misuse("--certificate", "a PEM file with a certificate and its key", verdict.Short(err.Error()), "put both into one file")
		}
		c.Certificate = &pair
	}
	return nil
}

// signersOf gives the keys that sign for a party: the home's, and those of the files.
func (a *app) signersOf(id wire.ID, files []string, h *home.Home, ag *agreement.SignedAgreement) (signers []keys.Signer, err error) {
	party, found := ag.PartyByID(id)
	if !found {
		return nil, verdict.Misuse("--as", "a party of the agreement", verdict.Short(string(id)), "strongroom agreement explain lists them")
	}
	if h != nil {
		if own, _, err := h.Party(party.Descriptor); err == nil {
			if key, err := h.SigningKeyOf(own); err == nil {
				signers = append(signers, key)
			}
		}
	}
	for _, file := range files {
		data, err := a.readDocument(file, "a signing key")
		if err != nil {
			return nil, err
		}
		key, err := keys.ParseSigningKey(string(data))
		clear(data)
		if err != nil {
			return nil, inFile(file, err)
		}
		signers = append(signers, key)
	}
	if len(signers) == 0 {
		return nil, verdict.Misuse("--as", "a signing key of "+string(id), "none here", "give its home with --home, or a key with --signing-key")
	}
	return signers, nil
}

// stdio is one connection on standard input and output.
type stdio struct {
	io.Reader
	io.Writer
}

func (stdio) CloseWrite() error { return nil }
func (stdio) Close() error      { return nil }

package demo

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"strongroom.dev/attest/dev"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/verifier"
	"strongroom.dev/watch"
)

// gate is the world of a relying party that lets in whoever an attestation service found good.
type gate struct {
	*world
	report *Report

	root       *keys.SigningKey // the development root: on dev, whoever hosts holds it
	measured   dev.Measurement
	officers   [2]string // public keys of those who release images
	log        string    // verifier key of their log
	service    *server
	serviceURL string
	issuer     string
	attester   *attester
	door       *door
	doorURL    string
	roomURL    string
	nonce      []byte // of evidence.json
	token      string
}

// The folders and files of the world.
const (
	attesterHome = "attester"
	relyingHome  = "relying"
	setsDir      = "reference"
	serviceDir   = "attestation"
	setFile      = "room.set"
)

// audience is how the relying party names itself, and otherAudience another one.
const (
	audience      = "https://app.example.org"
	otherAudience = "https://other.example.org"
)

// Attestation tells the story of a relying party that knows no evidence: two officers sign what
// a good room measures, a service judges evidence by a policy and signs what it found, and the
// relying party lets in whoever has such a token and the key in it. The report is complete up
// to the point where an error stopped it.
func Attestation(ctx context.Context, c Config) (*Report, error) {
	w, err := newWorld(c)
	if err != nil {
		return nil, err
	}
	defer w.close()
	g := &gate{world: w, report: newReport()}
	g.tell("%s: evidence in this demo is signed with a key that whoever runs this machine holds.", dev.Insecure)
	g.tell("With hardware the root is the vendor's; everything else is real. The world is made in %s", g.Dir)
	return g.report, g.tellAll(ctx, g.report, []chapter{
		{"release", g.release}, {"policy", g.writePolicies}, {"service", g.startService}, {"verify", g.verifyOnce}, {"token", g.askToken},
		{"entry", g.enter}, {"fleet", g.watchFleet}, {"attacks", g.attacks}, {"redo", g.leave},
	})
}

// release has two officers say what a good room measures.
func (g *gate) release(ctx context.Context) error {
	g.chapter("Two release officers sign what a good room measures, and a log records it")
	for i, officer := range []string{"alice", "bob"} {
		public, err := g.field(ctx, "public", "keygen", "--purpose", "signing", "-o", g.path(officer+".key"))
		if err != nil {
			return err
		}
		g.officers[i] = public
	}
	var err error
	if g.measured, err = g.measureImage(ctx); err != nil {
		return err
	}
	g.tell("  agent %s, and its helper", g.measured.Agent.Short())
	if err := g.sign(ctx, g.do, 1, "room", "alice", "bob"); err != nil {
		return err
	}
	if g.log, err = g.field(ctx, "log", "reference", "publish", g.path("room.set"), "--log", g.path("releases"), "--origin", "releases.example"); err != nil {
		return err
	}
	return g.offer("room.set")
}

// sign drafts a version of the reference values as NAME.yaml and has officers sign it as NAME.set.
func (g *gate) sign(ctx context.Context, show shown, version int, name string, officers ...string) error {
	group := map[string]any{"name": "room", "platform": string(dev.Name), "measurements": g.measured.Named()}
	data, err := json.Marshal(map[string]any{"groups": []any{group}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(g.path(name+".json"), data, 0o644); err != nil {
		return err
	}
	if _, err := show(ctx, "reference", "import", g.path(name+".json"), "--product", "room", "--version", fmt.Sprint(version), "-o", g.path(name+".yaml")); err != nil {
		return err
	}
	from, out := name+".yaml", []string{"-o", g.path(name + ".set")}
	for _, officer := range officers {
		if _, err := show(ctx, append([]string{"reference", "sign", g.path(from), "--key", g.path(officer + ".key")}, out...)...); err != nil {
			return err
		}
		from, out = name+".set", nil
	}
	return nil
}

// offer makes a set the one that the service reads.
func (g *gate) offer(set string) error {
	data, err := os.ReadFile(g.path(set))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(g.path(setsDir), 0o700); err != nil {
		return err
	}
	return os.WriteFile(g.path(setsDir, setFile), data, 0o644)
}

// The policies: one for rooms on dev, one that names hardware only, one that pins the image.
const (
	roomsPolicy = `id: rooms
version: 1
title: Rooms of the demo, INSECURE
platforms:
  dev:                # INSECURE: a software platform, under one named root only
    roots: ["%s"]
    registers: [agent, helper/strongroom-sql]
    reference:
      product: room
      keys: ["%s", "%s"]
      threshold: 2
      least_security_version: 1
      log: "%s"
`
	hardwarePolicy = `id: hardware
version: 1
title: AMD machines only
platforms:
  snp: {}
`
	fleetPolicy = `id: fleet
version: 1
title: The rooms of the fleet, INSECURE
platforms:
  dev:
    roots: ["%s"]
    measurements:
      agent: ["%s"]
`
)

// writePolicies makes the development root and names it in the relying party's policies.
func (g *gate) writePolicies(ctx context.Context) error {
	g.chapter("The relying party says what is good enough: this platform, this root, these officers")
	if _, err := g.do(ctx, "--home", g.path(attesterHome), "host", "root"); err != nil {
		return err
	}
	h, err := home.Open(g.path(attesterHome))
	if err != nil {
		return err
	}
	if g.root, err = h.DevRoot(false); err != nil {
		return err
	}
	root := g.root.Public().ID()
	for name, text := range map[string]string{
		"rooms":       fmt.Sprintf(roomsPolicy, root, g.officers[0], g.officers[1], g.log),
		"hardware":    hardwarePolicy,
		"fleet-rooms": fmt.Sprintf(fleetPolicy, root, g.measured.Named()["agent"]),
	} {
		if err := os.WriteFile(g.path(name+".yaml"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if _, err := g.do(ctx, "--home", g.path(relyingHome), "reference", "check", g.path("room.set"), "--policy", g.path("rooms.yaml")); err != nil {
		return err
	}
	return g.letter(ctx, "policy", "explain", g.path("rooms.yaml"))
}

// letter shows a command with its words for people.
func (g *gate) letter(ctx context.Context, args ...string) error {
	g.showCommand(args)
	out, err := g.quiet(ctx, append(args, "--output", "text")...)
	if err != nil {
		return err
	}
	g.tellStart(string(out), 40)
	return nil
}

// startService starts the attestation service, and the attester that will ask it.
func (g *gate) startService(ctx context.Context) error {
	g.chapter("An attestation service judges evidence by that policy. Each challenge of its is good once")
	address, err := freePort()
	if err != nil {
		return err
	}
	g.serviceURL = "http://" + address
	if g.service, err = g.serve(ctx, serviceDir, "attestation", "serve", "--dir", g.path(serviceDir), "--listen", address, "--issuer", g.serviceURL,
		"--policy", g.path("rooms.yaml"), "--policy", g.path("hardware.yaml"), "--reference", g.path(setsDir), "--single-use"); err != nil {
		return err
	}
	g.issuer, _ = g.service.ready["issuer"].(string)
	if g.attester, err = newAttester(g.root, g.measured); err != nil {
		return err
	}
	if g.roomURL, err = g.listen(g.attester.handler()); err != nil {
		return err
	}
	g.door = newDoor(g.issuer)
	if g.doorURL, err = g.listen(g.door.handler()); err != nil {
		return err
	}
	g.tell("  The service is a process of its own. This program plays the attester, at %s, and the relying party, at %s.", g.roomURL, g.doorURL)
	return nil
}

// verifyOnce judges evidence without any service, and reads the letter.
func (g *gate) verifyOnce(ctx context.Context) error {
	g.chapter("Evidence can be judged without a service: who knows the nonce reads it as a letter")
	g.nonce = newNonce()
	evidence, err := g.attester.answer(g.nonce)
	if err != nil {
		return err
	}
	if err := os.WriteFile(g.path("evidence.json"), evidence, 0o644); err != nil {
		return err
	}
	return g.letter(ctx, g.verifying("--explain")...)
}

// verifying is the relying party's own call of verify.
func (g *gate) verifying(more ...string) []string {
	args := []string{"--home", g.path(relyingHome), "verify", g.path("evidence.json"), "--nonce", hex.EncodeToString(g.nonce),
		"--policy", g.path("rooms.yaml"), "--reference", g.path(setsDir)}
	return append(args, more...)
}

// askToken has the attester answer a challenge of the service.
func (g *gate) askToken(ctx context.Context) error {
	g.chapter("The attester answers a challenge of the service, and gets a token for one audience")
	answer, err := g.attest(ctx, nil)
	if err != nil {
		return err
	}
	g.token = answer.Token
	g.tell("  POST %s/v1/challenge, then /v1/attest: %s, platform %s (%s), audience %s", g.serviceURL, answer.Result.Verdict, answer.Result.Platform, dev.Insecure, audience)
	g.report.Results["token"] = map[string]any{"verdict": answer.Result.Verdict, "platform": answer.Result.Platform, "class": answer.Result.Class, "audience": audience}
	if err := os.WriteFile(g.path("token.jwt"), []byte(g.token), 0o600); err != nil {
		return err
	}
	g.tell("  The relying party takes such tokens only as long as it says so itself, with the flags that say INSECURE:")
	return g.letter(ctx, "attestation", "token", g.path("token.jwt"), "--issuer", g.issuer, "--audience", audience, "--accept-warning", "--insecure-allow-software")
}

// attest gets the attester's evidence judged, after change has spoiled it.
func (g *gate) attest(ctx context.Context, change func(*asked) error) (verifier.Answer, error) {
	return g.attester.attest(ctx, g.serviceURL, change)
}

// enter shows the token at the relying party's door.
func (g *gate) enter(ctx context.Context) error {
	g.chapter("The relying party checks the token with the service's key set, and who shows it")
	welcome, err := g.attester.enter(ctx, g.doorURL, g.token)
	if err != nil {
		return err
	}
	g.tell("  The holder of the token signed a challenge of the door with the key that its evidence binds: %s", welcome)
	g.report.Results["entry"] = welcome
	return nil
}

// watchFleet looks after rooms that run.
func (g *gate) watchFleet(ctx context.Context) error {
	g.chapter("A watcher asks the fleet again and again, each time with a nonce of its own")
	if err := g.writeFleet("fleet.yaml", "room-a", "room-b"); err != nil {
		return err
	}
	out, err := g.do(ctx, g.watching("fleet.yaml")...)
	if err != nil {
		return err
	}
	var fleet watched
	if err := json.Unmarshal(out, &fleet); err != nil {
		return err
	}
	standing := map[string]watch.Standing{}
	for _, t := range fleet.Targets {
		standing[t.Name] = t.Standing
		g.tell("  %s: %s, since dev is INSECURE", t.Name, t.Standing)
	}
	g.report.Results["fleet"] = standing
	return nil
}

// watched is what `attestation watch --once` prints.
type watched struct {
	Targets []struct {
		Name     string
		Standing watch.Standing
		Says     string
	}
}

func (g *gate) watching(fleet string) []string {
	return []string{"attestation", "watch", "--fleet", g.path(fleet), "--dir", g.path("watch"), "--once"}
}

// writeFleet lists rooms by the names under which the attester answers for them.
func (g *gate) writeFleet(file string, rooms ...string) error {
	var text strings.Builder
	text.WriteString("every_seconds: 60\ntargets:\n")
	for _, room := range rooms {
		fmt.Fprintf(&text, "- name: %s\n  url: %s/%s?nonce={nonce}\n  policy: fleet-rooms.yaml\n", room, g.roomURL, room)
	}
	return os.WriteFile(g.path(file), []byte(text.String()), 0o644)
}

// leave says how to go on by hand.
func (g *gate) leave(context.Context) error {
	g.chapter("To do it again by hand")
	g.tell("  This world stays. Its service has stopped; start it again, and ask it anything in %s/openapi.json:", g.serviceURL)
	g.tell("  $ cd '%s' && PATH='%s':$PATH", quoteInside(g.Dir), quoteInside(filepath.Dir(g.Command)))
	g.showCommand(append(append([]string{}, g.service.args...), "&"))
	g.tell("  The letter again, and what the policy in force says of the same evidence:")
	g.showCommand(g.verifying("--explain"))
	g.showCommand([]string{"attestation", "policy", "try", "rooms.yaml", "evidence.json", "--dir", serviceDir})
	return nil
}

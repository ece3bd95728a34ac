package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/client"
	"strongroom.dev/internal/debianimage"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/relying"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// site is the world of an operator that has a web server's image and a secret page, and of a
// customer that may read it.
type site struct {
	*world
	report *Report

	brokers  map[string]string // addresses by party folder
	parties  []*agreement.SignedParty
	root     *keys.SigningKey // the development root: on dev, whoever hosts holds it
	page     string           // where the image's page lies
	port     wire.ID          // of the agreement
	web      *agreement.SignedAgreement
	other    *agreement.SignedAgreement // the same under another id
	address  string                     // where the host publishes the port
	local    string                     // where the customer's proxy listens
	accepted relying.Accepted
	again    []*server // what it takes to do it again, in order
}

// The files of the world.
const (
	imageDir  = "web"
	sealedDir = "sealed"
	webFile   = "web.json"
	otherFile = "other.json"
)

// secretPage is what only the customer may read: its operator's host must not.
const secretPage = "<h1>Price list for beta: 42.17 per unit</h1>\n"

// debianPage is where Debian's nginx has its page, and officialPage where nginx's own image has.
const (
	debianPage   = "/var/www/html/index.nginx-debian.html"
	officialPage = "/usr/share/nginx/html/index.html"
)

// Container tells the story of an image that a team has already, unchanged, in a room: its
// operator adds a secret page, a customer reads it over a connection whose far end is proven,
// and every attempt to change what runs, or to stand between, is refused. The report is
// complete up to the point where an error stopped it.
func Container(ctx context.Context, c Config) (*Report, error) {
	w, err := newWorld(c)
	if err != nil {
		return nil, err
	}
	defer w.close()
	s := &site{world: w, report: newReport(), brokers: map[string]string{}}
	s.tell("%s: rooms in this demo are processes of this machine, and whoever runs it can read them.", dev.Insecure)
	s.tell("What is real is what runs, who may reach it, and that no key comes for anything else. The world is made in %s", s.Dir)
	return s.report, s.tellAll(ctx, s.report, []chapter{
		{"image", s.prepareImage}, {"parties", s.makeParties}, {"agreement", s.agreeAll}, {"data", s.sealPage}, {"brokers", s.startBrokers},
		{"room", s.startRoom}, {"connect", s.fetch}, {"attacks", s.attacks}, {"redo", s.leave},
	})
}

func (s *site) as(folder string, args ...string) []string {
	return append([]string{"--home", s.path(folder)}, args...)
}

// prepareImage makes the disk and the agreement's section of an image, and mounts the secret
// page over the image's own.
func (s *site) prepareImage(ctx context.Context) error {
	s.chapter("The operator takes an image it has, and writes what runs: its disk by hash tree, argv, user, rights")
	image := s.Image
	args := []string{"-o", s.path(imageDir)}
	if image == "" {
		s.tell("  (Debian's nginx, unchanged: made of its packages, which takes a minute the first time)")
		dir, err := debianimage.Nginx().Layout(ctx, io.Discard)
		if err != nil {
			return err
		}
		image = "oci:" + dir
	} else if info, err := os.Stat(image); err == nil && info.IsDir() {
		image = "oci:" + image
	}
	if s.Image != "" {
		args = append(args, "--writable", "/var/cache/nginx")
	}
	if _, err := s.do(ctx, append([]string{"container", "prepare", image}, args...)...); err != nil {
		return err
	}
	section := s.path(imageDir, "container.yaml")
	text, err := os.ReadFile(section)
	if err != nil {
		return err
	}
	s.page = debianPage
	if bytes.Contains(text, []byte("docker-entrypoint.sh")) {
		s.page = officialPage
	}
	mounted := fmt.Sprintf("mounts:\n  - path: %s\n    kind: file\n    bytes: 0\n    mode: 0o444\n    uid: 0\n    gid: 0\n    input: page\n", s.page)
	s.tell("  To container.yaml it adds a file that only the room can open: %s, input page", s.page)
	return os.WriteFile(section, []byte(strings.Replace(string(text), "mounts:\n", mounted, 1)), 0o644)
}

// makeParties makes the operator and the customer, who pin each other's descriptors.
func (s *site) makeParties(ctx context.Context) error {
	s.chapter("The operator and its customer make themselves known and check each other's fingerprints")
	for _, folder := range []string{alpha, beta} {
		address, err := freePort()
		if err != nil {
			return err
		}
		s.brokers[folder] = address
		if _, err := s.do(ctx, s.as(folder, "party", "init", "--name", folder, "--title", folder, "--operator", "in house", "--broker-address", address)...); err != nil {
			return err
		}
		if _, err := s.do(ctx, s.as(folder, "party", "show", "--out", s.path(folder+".party.json"))...); err != nil {
			return err
		}
	}
	for reader, other := range map[string]string{alpha: beta, beta: alpha} {
		if _, err := s.do(ctx, s.as(reader, "party", "add", s.path(other+".party.json"), "--checked", "fingerprint read out on the telephone")...); err != nil {
			return err
		}
	}
	for _, folder := range []string{alpha, beta} {
		data, err := os.ReadFile(s.path(folder + ".party.json"))
		if err != nil {
			return err
		}
		p, err := agreement.ParseParty(data)
		if err != nil {
			return err
		}
		s.parties = append(s.parties, p)
	}
	if _, err := s.do(ctx, s.as(alpha, "host", "root")...); err != nil {
		return err
	}
	h, err := home.Open(s.path(alpha))
	if err != nil {
		return err
	}
	s.root, err = h.DevRoot(false)
	return err
}

// agreeAll signs the agreement, and quietly a second one for an attack.
func (s *site) agreeAll(ctx context.Context) (err error) {
	s.chapter("Both sign one agreement: this image, this page, these rights, and only beta may connect")
	if s.web, err = s.agree(ctx, s.do, imageDir, webFile); err != nil {
		return err
	}
	if s.other, err = s.agree(ctx, s.quiet, imageDir, otherFile); err != nil {
		return err
	}
	work, found := s.web.WorkByName("web")
	if !found || work.Container == nil || len(work.Container.Ports) == 0 {
		return broken("demo.agreement", "work web with a port", "none")
	}
	s.port = work.Container.Ports[0].Name
	return nil
}

// blanks are what an agreement's draft leaves to people.
var blanks = regexp.MustCompile(`<[A-Z][^>]*>`)

func (s *site) agree(ctx context.Context, show shown, dir, file string) (*agreement.SignedAgreement, error) {
	id := strings.TrimSuffix(file, ".json")
	yaml := s.path(id + ".yaml")
	if _, err := show(ctx, s.as(alpha, "agreement", "init", "--insecure-software", "--container", s.path(dir), "--party", alpha, "--party", beta, "--runs", alpha, "--connects", beta,
		"--id", id, "--work", "web", "--title", "A price list", "-o", yaml)...); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(yaml)
	if err != nil {
		return nil, err
	}
	text = blanks.ReplaceAll(text, []byte("As agreed for this demo."))
	if err := os.WriteFile(yaml, text, 0o644); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		s.as(alpha, "agreement", "sign", yaml, "--out", s.path(file), "--yes"), s.as(beta, "agreement", "sign", s.path(file), "--yes"),
		s.as(alpha, "agreement", "activate", s.path(file)), s.as(beta, "agreement", "activate", s.path(file)),
	} {
		if _, err := show(ctx, args...); err != nil {
			return nil, err
		}
	}
	data, err := os.ReadFile(s.path(file))
	if err != nil {
		return nil, err
	}
	return agreement.ParseAgreement(data)
}

// sealPage seals the page; the host gets it so and in no other way.
func (s *site) sealPage(ctx context.Context) error {
	s.chapter("The operator's own office seals the page. Its machines get the sealed file")
	plain := s.path(alpha, "page.html")
	if err := os.WriteFile(plain, []byte(secretPage), 0o600); err != nil {
		return err
	}
	_, err := s.do(ctx, s.as(alpha, "dataset", "publish", plain, "--dataset", "page", "--format", "file", "--out", s.path(sealedDir))...)
	return err
}

func (s *site) startBrokers(ctx context.Context) error {
	s.chapter("Each runs its broker: alpha's releases the page's key, and both admit a room or end it")
	for _, folder := range []string{alpha, beta} {
		if _, err := s.serve(ctx, folder+"-broker", s.as(folder, "broker", "serve", "--listen", s.brokers[folder], "--insecure-allow-software")...); err != nil {
			return err
		}
	}
	return nil
}

// startRoom runs the container until the demo ends.
func (s *site) startRoom(ctx context.Context) (err error) {
	s.chapter("The operator runs the container in a room")
	if s.address, err = freePort(); err != nil {
		return err
	}
	args := s.runArgs(webFile, s.address)
	s.showCommand(append(args, "&"))
	_, s.accepted, err = s.runRoom(ctx, "room", s.web, s.address, args)
	return err
}

func (s *site) runArgs(file, address string, more ...string) []string {
	return append(s.as(alpha, "run", s.path(file), "--work", "web", "--disk", "image="+s.path(imageDir, "image.disk"), "--publish", string(s.port)+"="+address, "--data", s.path(sealedDir)), more...)
}

// runRoom starts a room and connects as the customer until it answers.
func (s *site) runRoom(ctx context.Context, name string, a *agreement.SignedAgreement, address string, args []string) (*server, relying.Accepted, error) {
	way, err := s.way(a, address, beta, beta)
	if err != nil {
		return nil, relying.Accepted{}, err
	}
	room, told, err := s.launch(name, args)
	if err != nil {
		return nil, relying.Accepted{}, err
	}
	s.servers = append(s.servers, room)
	for until := time.Now().Add(time.Minute); ; {
		conn, accepted, err := way.Connect(ctx)
		if err == nil {
			conn.Close()
			return room, accepted, nil
		}
		select {
		case _, serves := <-told:
			if !serves {
				return nil, accepted, broken("demo.room", "a room that serves", "it ended: see "+name+".log")
			}
			told = nil // it serves: the next connection finds it
		case <-ctx.Done():
			return nil, accepted, interrupted(ctx)
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(until) {
			return nil, accepted, err
		}
	}
}

// way makes a customer's way to a room, which pins an agreement and connects as a party with
// the key of a folder.
func (s *site) way(pinned *agreement.SignedAgreement, address string, party wire.ID, folder string) (*client.Room, error) {
	h, err := home.Open(s.path(folder))
	if err != nil {
		return nil, err
	}
	key, err := h.SigningKey()
	if err != nil {
		return nil, err
	}
	judge, err := relying.New(relying.Config{Agreement: pinned, Parties: s.parties, Platforms: []attest.Platform{dev.New()}, InsecureAllowSoftware: true, Now: time.Now})
	if err != nil {
		return nil, err
	}
	return client.NewRoom(client.RoomConfig{Address: address, Judge: judge, Port: s.port, Party: party, Signers: []keys.Signer{key}})
}

// served is what came through a room's port.
type served struct {
	Page     string           `json:"page"`
	Verified relying.Accepted `json:"verified"`
}

// fetch reads the page through strongroom connect, as a browser would.
func (s *site) fetch(ctx context.Context) error {
	s.chapter("The customer connects: its own proxy checks what is there before a byte leaves")
	local, err := freePort()
	if err != nil {
		return err
	}
	s.local = local
	if _, err := s.serve(ctx, "connect", s.as(beta, "connect", s.address, "--agreement", s.path(webFile), "--port", string(s.port), "--listen", local,
		"--as", beta, "--insecure-allow-software")...); err != nil {
		return err
	}
	s.tell("  $ curl http://%s/", local)
	page, err := get(ctx, "http://"+local+"/")
	if err != nil {
		return err
	}
	s.tellStart(page, 3)
	if page != secretPage {
		return broken("demo.page", "the secret page", verdict.Short(page))
	}
	a := s.accepted
	s.tell("  verified: platform %s, class %s, agreement %s, run %s", a.Platform, a.Class, a.Agreement.Short(), a.Run.Short())
	for _, check := range a.Checks {
		s.tell("    %s: %s", check.ID, check.Got)
	}
	s.again = slices.Clone(s.servers)
	s.report.Results["web"] = served{page, a}
	doc, err := json.Marshal(a)
	s.report.Receipts = append(s.report.Receipts, doc)
	return err
}

// leave says how to run the room again in this world.
func (s *site) leave(context.Context) error {
	s.chapter("To do it again by hand")
	s.tell("  This world stays; its processes have stopped. Start them again, the last once the room serves:")
	s.tell("  $ cd '%s' && PATH='%s':$PATH", quoteInside(s.Dir), quoteInside(filepath.Dir(s.Command)))
	for _, again := range s.again {
		s.showCommand(append(append([]string{}, again.args...), "&"))
	}
	s.tell("  $ curl http://%s/", s.local)
	return nil
}

func get(ctx context.Context, url string) (string, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := client.New().Do(q)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	return string(data), err
}

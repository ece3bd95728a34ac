package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/client"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/relying"
	"strongroom.dev/wire"
)

// containerParty is the one party of the bench's agreements: it prepares, hosts and connects.
const containerParty = "alpha"

// containerConfig says what runs in a room of the bench.
type containerConfig struct {
	Command string // the strongroom command; the agent stands beside it
	Dir     string // of this room: made anew
	Layout  string // the image's OCI layout
	// Edit changes what container prepare wrote.
	Edit func(c *agreement.Container)
	// Volume is the path of a mount of kind volume, whose key's dataset is volumeKey; "": none.
	Volume string
}

const volumeKey = "volume-key"

// containerRoom is a room of the dev platform that runs a container, made by the command as a
// user would.
type containerRoom struct {
	cfg       containerConfig
	processes []process
	addresses map[wire.ID]string // of ports, by name
	signed    *agreement.SignedAgreement
	party     *agreement.SignedParty
	key       *keys.SigningKey
}

// startContainer prepares the image, agrees with itself and runs the room. It returns when
// the first port answers.
func startContainer(ctx context.Context, cfg containerConfig) (_ *containerRoom, err error) {
	command, err := filepath.Abs(cfg.Command)
	if err != nil {
		return nil, err
	}
	cfg.Command = command
	r := &containerRoom{cfg: cfg, addresses: map[wire.ID]string{}}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	ports, err := r.prepare(ctx)
	if err != nil {
		return nil, err
	}
	broker, err := freeAddress()
	if err != nil {
		return nil, err
	}
	if err := r.agree(ctx, broker); err != nil {
		return nil, err
	}
	if err := r.launch("broker", "broker", "serve", "--listen", broker, "--insecure-allow-software"); err != nil {
		return nil, err
	}
	if err := listening(ctx, broker); err != nil {
		return nil, err
	}
	args := []string{"run", "agreed.json", "--work", "bench", "--data", "sealed", "--disk", "image=image/image.disk"}
	if cfg.Volume != "" {
		args = append(args, "--disk", cfg.Volume+"=volume")
	}
	for _, p := range ports {
		if r.addresses[p.Name], err = freeAddress(); err != nil {
			return nil, err
		}
		args = append(args, "--publish", string(p.Name)+"="+r.addresses[p.Name])
	}
	if err := r.launch("room", args...); err != nil {
		return nil, err
	}
	return r, r.answers(ctx, ports[0].Name)
}

func (r *containerRoom) prepare(ctx context.Context) ([]agreement.Port, error) {
	if err := r.do(ctx, "container", "prepare", "oci:"+r.cfg.Layout, "-o", "image"); err != nil {
		return nil, err
	}
	path := filepath.Join(r.cfg.Dir, "image", "container.yaml")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := draft.ParseContainer(path, data)
	if err != nil {
		return nil, err
	}
	r.cfg.Edit(&c)
	if len(c.Ports) == 0 {
		return nil, errors.New("the image has no port")
	}
	return c.Ports, os.WriteFile(path, []byte(draft.Container(c)), 0o600)
}

// draftBlanks are what an agreement's draft leaves to people.
var draftBlanks = regexp.MustCompile(`<[A-Z][^>]*>`)

func (r *containerRoom) agree(ctx context.Context, broker string) error {
	if err := r.do(ctx, "party", "init", "--name", containerParty, "--title", "Alpha", "--operator", "in house", "--broker-address", broker); err != nil {
		return err
	}
	if err := r.do(ctx, "party", "show", "--out", "party.json"); err != nil {
		return err
	}
	if err := r.do(ctx, "agreement", "init", "--insecure-software", "--container", "image", "--party", containerParty, "--runs", containerParty, "--connects", containerParty, "--id", "bench", "--work", "bench", "--title", "A measurement", "-o", "agreed.yaml"); err != nil {
		return err
	}
	path := filepath.Join(r.cfg.Dir, "agreed.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, draftBlanks.ReplaceAll(text, []byte("A measurement.")), 0o600); err != nil {
		return err
	}
	if err := r.do(ctx, "agreement", "sign", "agreed.yaml", "--yes", "-o", "agreed.json"); err != nil {
		return err
	}
	if err := r.do(ctx, "agreement", "activate", "agreed.json"); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(r.cfg.Dir, "sealed"), 0o700); err != nil {
		return err
	}
	if r.cfg.Volume != "" {
		if err := os.WriteFile(filepath.Join(r.cfg.Dir, "key"), bytes.Repeat([]byte{7}, 32), 0o600); err != nil {
			return err
		}
		if err := r.do(ctx, "dataset", "publish", "key", "--dataset", volumeKey, "--format", "file", "--out", "sealed"); err != nil {
			return err
		}
	}
	return r.remember()
}

// remember reads what clients of the room need.
func (r *containerRoom) remember() error {
	data, err := os.ReadFile(filepath.Join(r.cfg.Dir, "agreed.json"))
	if err != nil {
		return err
	}
	if r.signed, err = agreement.ParseAgreement(data); err != nil {
		return err
	}
	if data, err = os.ReadFile(filepath.Join(r.cfg.Dir, "party.json")); err != nil {
		return err
	}
	if r.party, err = agreement.ParseParty(data); err != nil {
		return err
	}
	h, err := home.Open(filepath.Join(r.cfg.Dir, "home"))
	if err != nil {
		return err
	}
	r.key, err = h.SigningKey()
	return err
}

// way gives a way to a port that takes evidence accepted before for age long.
func (r *containerRoom) way(port wire.ID, age time.Duration) (*client.Room, error) {
	judge, err := relying.New(relying.Config{Agreement: r.signed, Parties: []*agreement.SignedParty{r.party}, Platforms: []attest.Platform{dev.New()}, InsecureAllowSoftware: true, Age: age, Now: time.Now})
	if err != nil {
		return nil, err
	}
	return client.NewRoom(client.RoomConfig{Address: r.addresses[port], Judge: judge, Port: port, Party: containerParty, Signers: []keys.Signer{r.key}})
}

// connect runs strongroom connect for a port and gives the address where it listens.
func (r *containerRoom) connect(ctx context.Context, port wire.ID) (string, error) {
	local, err := freeAddress()
	if err != nil {
		return "", err
	}
	if err := r.launch("connect", "connect", r.addresses[port], "--agreement", "agreed.json", "--port", string(port), "--listen", local, "--as", containerParty, "--insecure-allow-software"); err != nil {
		return "", err
	}
	return local, listening(ctx, local)
}

// answers waits until the container behind a port takes connections.
func (r *containerRoom) answers(ctx context.Context, port wire.ID) error {
	way, err := r.way(port, time.Hour)
	if err != nil {
		return err
	}
	var last error
	err = eventually(ctx, func() bool {
		conn, _, err := way.Connect(ctx)
		if last = err; err == nil {
			conn.Close()
		}
		return err == nil || gone(r.processes)
	})
	if err == nil && last == nil {
		return nil
	}
	said, _ := os.ReadFile(filepath.Join(r.cfg.Dir, "room.log"))
	return fmt.Errorf("no room: %w\n%s", errors.Join(err, last), said)
}

func (r *containerRoom) args(args []string) []string {
	return append([]string{"--home", filepath.Join(r.cfg.Dir, "home")}, args...)
}

func (r *containerRoom) do(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, r.cfg.Command, r.args(args)...)
	cmd.Dir = r.cfg.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("strongroom %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// launch starts a command that runs until Close; what it says is kept in NAME.log.
func (r *containerRoom) launch(name string, args ...string) error {
	cmd := exec.Command(r.cfg.Command, r.args(args)...)
	cmd.Dir = r.cfg.Dir
	return begin(cmd, filepath.Join(r.cfg.Dir, name+".log"), &r.processes)
}

// Close ends the room and its broker.
func (r *containerRoom) Close() { endAll(r.processes) }

// process runs until it ends or endAll ends it.
type process struct {
	*exec.Cmd
	ended chan struct{} // closed then
}

// gone reports whether one of the processes has ended, which none should.
func gone(processes []process) bool {
	return slices.ContainsFunc(processes, func(p process) bool {
		select {
		case <-p.ended:
			return true
		default:
			return false
		}
	})
}

// begin starts a process whose output is kept in a file.
func begin(cmd *exec.Cmd, log string, processes *[]process) error {
	f, err := os.Create(log)
	if err != nil {
		return err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a session is what the scheduler shares the machine among
	if err := cmd.Start(); err != nil {
		return err
	}
	p := process{cmd, make(chan struct{})}
	go func() { cmd.Wait(); close(p.ended) }()
	*processes = append(*processes, p)
	return nil
}

// endAll interrupts processes, the last first, and waits for each; one that does not end in a
// while is killed.
func endAll(processes []process) {
	for _, p := range slices.Backward(processes) {
		p.Process.Signal(os.Interrupt)
		timer := time.AfterFunc(30*time.Second, func() { p.Process.Kill() })
		<-p.ended
		timer.Stop()
	}
}

// freeAddress gives an address of the loopback where nobody listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// listening waits until somebody listens at an address.
func listening(ctx context.Context, address string) error {
	err := eventually(ctx, func() bool {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	if err != nil {
		return fmt.Errorf("nobody listens at %s: %w", address, err)
	}
	return nil
}

// eventually asks again and again for a minute.
func eventually(ctx context.Context, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// outsideConfig says what runs outside of any room: the same files, in a root of its own.
type outsideConfig struct {
	Dir    string // of this process: made anew
	Layout string // the image's OCI layout
	// Files are written into the root first, by path, and belong to User.
	Files map[string]string
	// Data is a folder of the machine that stands at DataPath; "": memory, as everything else.
	Data, DataPath string
	Writable       []string // folders made for UID, besides DataPath
	UID, GID       int64
	Env, Argv      []string
}

// outsideScript makes a root in memory that nobody else sees and that ends with its process.
const outsideScript = `set -e
mount -t tmpfs tmpfs root
tar -xf "$LAYER" -C root
mount --rbind /dev root/dev
mount -t proc proc root/proc
cp -a files/. root/
for dir in $WRITABLE "$DATA_PATH"; do mkdir -p "root$dir"; done
if [ -n "$DATA" ]; then mount --bind "$DATA" "root$DATA_PATH"; fi
for dir in $WRITABLE "$DATA_PATH"; do chown "$OWNER" "root$dir"; done
exec env -i $ENVIRONMENT chroot --userspec="$OWNER" root "$@"
`

// startOutside runs an image's files beside the room, as the same user, in a chroot.
func startOutside(cfg outsideConfig, processes *[]process) error {
	layer, err := onlyLayer(cfg.Layout)
	if err != nil {
		return err
	}
	for _, dir := range []string{"root", "files"} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	for path, text := range cfg.Files {
		file := filepath.Join(cfg.Dir, "files", path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
		if err := os.Chown(file, int(cfg.UID), int(cfg.GID)); err != nil {
			return err
		}
	}
	owner := strconv.FormatInt(cfg.UID, 10) + ":" + strconv.FormatInt(cfg.GID, 10)
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-c", outsideScript, "outside"}, cfg.Argv...)...)
	cmd.Dir = cfg.Dir
	cmd.Env = append(os.Environ(), "LAYER="+layer, "DATA="+cfg.Data, "DATA_PATH="+cfg.DataPath, "WRITABLE="+strings.Join(cfg.Writable, " "), "OWNER="+owner, "ENVIRONMENT="+strings.Join(cfg.Env, " "))
	return begin(cmd, filepath.Join(cfg.Dir, "log"), processes)
}

// onlyLayer finds the one layer of a layout that debianimage made: its largest blob.
func onlyLayer(layout string) (path string, err error) {
	blobs := filepath.Join(layout, "blobs", "sha256")
	entries, err := os.ReadDir(blobs)
	if err != nil {
		return "", err
	}
	var most int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return "", err
		}
		if info.Size() > most {
			most, path = info.Size(), filepath.Join(blobs, e.Name())
		}
	}
	return path, nil
}

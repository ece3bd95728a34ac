package room

import (
	"encoding/json"
	"fmt"
	"io"

	"strongroom.dev/attest"
	"strongroom.dev/channel"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Start is what a host sends first, on the control stream: what to run on what. Nothing in
// it is believed; every document is signed by whom it concerns (spec/room.md, section 3).
type Start struct {
	Format    string            `json:"format"` // StartFormat
	Agreement json.RawMessage   `json:"agreement"`
	Parties   []json.RawMessage `json:"parties"`
	Run       json.RawMessage   `json:"run"`
	Inputs    []StartInput      `json:"inputs"` // one for each dataset of the run
	Helpers   []StartHelper     `json:"helpers"`
	// Disks are what a container needs besides its inputs; none for other work.
	Disks []StartDisk `json:"disks,omitempty"`
	// Connections is a descriptor by which a host that shares a kernel with the room hands over
	// connections to its ports (SOCK_SEQPACKET: the port's name, with the connection); 0: none.
	Connections int `json:"connections,omitempty"`
}

// StartFormat names the form of a start message.
const StartFormat = "strongroom/room-start/v1"

// StartInput says where the sealed file of an input is.
type StartInput struct {
	Input     wire.ID         `json:"input"`
	Statement json.RawMessage `json:"statement"` // signed dataset statement
	FD        int             `json:"fd"`        // open for reading, from the agent's start
}

// StartHelper says where a helper program is: a sealed memory file, which the evidence measures.
type StartHelper struct {
	Name wire.ID `json:"name"`
	FD   int     `json:"fd"`
}

// StartDisk says where a disk of a container is: "image", or "mount-N", the mount's place in
// the agreement. Its blocks are checked against the agreed root, or are the container's to
// write.
type StartDisk struct {
	Disk string `json:"disk"`
	FD   int    `json:"fd"`
}

// Command is what a host may say on the control stream while a room serves.
type Command struct {
	// Command is "stop": the container is told to end, its volumes are closed, and the room ends.
	Command string `json:"command"`
}

// Stop is the one command there is.
const Stop = "stop"

// maxCommand bounds a command.
const maxCommand = 256

// ReadCommand reads a host's next command; io.EOF if the host says no more.
func ReadCommand(r io.Reader) (Command, error) {
	data, err := channel.ReadMessage(r, maxCommand)
	if err != nil {
		return Command{}, err
	}
	var c Command
	if err := wire.Unmarshal(data, &c); err != nil || c.Command != Stop {
		return Command{}, &verdict.Error{Kind: verdict.Usage, Check: "room.command", Expected: "the command stop", Got: verdict.Short(string(data)), Fix: "host and agent must be of the same version"}
	}
	return c, nil
}

// WriteCommand sends a command.
func WriteCommand(w io.Writer, c Command) error {
	data, err := wire.Marshal(c)
	if err != nil {
		return err
	}
	return channel.WriteMessage(w, data)
}

// ParseStart reads a start message: form and limits.
func ParseStart(data []byte) (Start, error) {
	var s Start
	err := wire.Unmarshal(data, &s)
	if err == nil && s.Format != StartFormat {
		err = fmt.Errorf("format %.60q", s.Format)
	}
	if err == nil {
		err = s.check()
	}
	if err != nil {
		return Start{}, &verdict.Error{Kind: verdict.Usage, Check: "room.start", Expected: "a start message of format " + StartFormat,
			Got: verdict.Short(err.Error()), Fix: "host and agent must be of the same version", Err: err}
	}
	return s, nil
}

func (s Start) check() error {
	seen := map[int]bool{}
	take := func(fd int) error {
		if fd < 5 || fd > MaxFD || seen[fd] {
			return fmt.Errorf("descriptor %d is out of range or named twice", fd)
		}
		seen[fd] = true
		return nil
	}
	for _, in := range s.Inputs {
		if err := take(in.FD); err != nil {
			return err
		}
	}
	for _, h := range s.Helpers {
		if err := take(h.FD); err != nil {
			return err
		}
	}
	names := map[string]bool{}
	for _, d := range s.Disks {
		if err := take(d.FD); err != nil {
			return err
		}
		if names[d.Disk] || len(d.Disk) > MaxName {
			return fmt.Errorf("disk %.60q is named twice, or too long", d.Disk)
		}
		names[d.Disk] = true
	}
	if s.Connections != 0 {
		return take(s.Connections)
	}
	return nil
}

// Event is one thing a room tells its host (spec/room.md, section 4). A host shows it and
// believes none of it.
type Event struct {
	Event EventKind `json:"event"`
	// Step is where a run is: see the steps.
	Step Step `json:"step,omitempty"`
	// Shown is what anybody may verify of the room.
	Shown *Shown `json:"shown,omitempty"`
	// Name and Size announce a file, whose bytes follow in messages of at most MaxChunk.
	Name string `json:"name,omitempty"`
	Size int64  `json:"size,omitempty"`
	// For says whom a room waits for, a stream's name or "ledgers of" one, and WaitMS for how
	// long at most.
	For    string `json:"for,omitempty"`
	WaitMS int64  `json:"wait_ms,omitempty"`
	// Text is what a notice named Name says.
	Text string `json:"text,omitempty"`
	// Error says why a room stopped, as verdict.Encode writes it.
	Error json.RawMessage `json:"error,omitempty"`
}

// EventKind is what sort of event it is.
type EventKind string

// The kinds of events. Done or Stopped is the last.
const (
	Progress EventKind = "progress"
	Evidence EventKind = "evidence"
	Waiting  EventKind = "waiting"
	File     EventKind = "file"
	Notice   EventKind = "notice"
	Done     EventKind = "done"
	Stopped  EventKind = "stopped"
)

// Step is a stage of a run.
type Step string

// The steps, in order.
const (
	Started    Step = "started"    // inside the sandbox, keys made
	Verified   Step = "verified"   // agreement, request, statements, headers and query are good
	Challenged Step = "challenged" // every owner's broker set a challenge
	Released   Step = "released"   // every owner's broker gave its keys
	Opened     Step = "opened"     // every input is decrypted, in memory
	Computed   Step = "computed"   // the work has ended
	Allowed    Step = "allowed"    // every owner's broker let the output out
	Recorded   Step = "recorded"   // the record is in the shared ledgers
	Serving    Step = "serving"    // the container runs, and its ports may be reached
	Ended      Step = "ended"      // the container has ended, and its volumes are closed
)

// Text gives the step in words.
func (s Step) Text() string {
	switch s {
	case Started:
		return "the room is closed and has made its keys"
	case Verified:
		return "agreement, request, data and query are as signed"
	case Challenged:
		return "every owner's broker has set a challenge"
	case Released:
		return "every owner's broker has released its key to this room"
	case Opened:
		return "the data is open, inside, in memory only"
	case Computed:
		return "the work is done"
	case Allowed:
		return "every owner's broker lets the result out"
	case Recorded:
		return "the run is recorded in the ledgers"
	case Serving:
		return "the container runs: its ports may be reached"
	case Ended:
		return "the container has ended"
	}
	return verdict.Short(string(s))
}

// Shown is a room's evidence for one broker, for whoever asks the host what runs there.
type Shown struct {
	Broker    wire.ID          `json:"broker"`
	Challenge wire.Bytes       `json:"challenge"`
	Evidence  attest.Evidence  `json:"evidence"`
	Room      release.RoomKeys `json:"room"`
	Agreement wire.Digest      `json:"agreement"`
	Run       wire.Digest      `json:"run"`
}

// WriteEvent sends an event.
func WriteEvent(w io.Writer, e Event) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return channel.WriteMessage(w, data)
}

// ReadEvent receives one; io.EOF after the last.
func ReadEvent(r io.Reader) (Event, error) {
	data, err := channel.ReadMessage(r, MaxEvent)
	if err != nil {
		return Event{}, err
	}
	var e Event
	if err := json.Unmarshal(data, &e); err != nil {
		return Event{}, badEvent(err)
	}
	switch {
	case e.Event == File && (!validName(e.Name) || e.Size < 0 || e.Size > wire.MaxInteger):
		return Event{}, badEvent(fmt.Errorf("a file %.80q of %d bytes", e.Name, e.Size))
	case e.Event == Evidence && e.Shown == nil:
		return Event{}, badEvent(fmt.Errorf("no evidence"))
	}
	return e, nil
}

func badEvent(err error) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "room.event", Expected: "an event of a room", Got: verdict.Short(err.Error()),
		Fix: "host and agent must be of the same version", Err: err}
}

// validName: a name that is safe as a file's on every system.
func validName(name string) bool {
	if name == "" || len(name) > MaxName || name[0] == '.' || name[0] == '-' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// WriteFile sends a file: its announcement, then its bytes.
func WriteFile(w io.Writer, name string, data io.Reader, size int64) error {
	if err := WriteEvent(w, Event{Event: File, Name: name, Size: size}); err != nil {
		return err
	}
	buffer := make([]byte, MaxChunk)
	for size > 0 {
		n, err := io.ReadFull(data, buffer[:min(size, MaxChunk)])
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		if err := channel.WriteMessage(w, buffer[:n]); err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

// ReadFile receives the bytes of a file that an event announced.
func ReadFile(dst io.Writer, r io.Reader, size int64) error {
	for size > 0 {
		chunk, err := channel.ReadMessage(r, MaxChunk)
		if err == nil && (len(chunk) == 0 || int64(len(chunk)) > size) {
			err = badEvent(fmt.Errorf("a piece of %d bytes where %d remain", len(chunk), size))
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if _, err := dst.Write(chunk); err != nil {
			return err
		}
		size -= int64(len(chunk))
	}
	return nil
}

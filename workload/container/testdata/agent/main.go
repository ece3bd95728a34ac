// Command agent shuts itself in as an agent does, runs one container, and tells how it went;
// inside the container it is what runs. The test of package container builds it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/agreement"
	"strongroom.dev/release"
	"strongroom.dev/sandbox"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container"
	"strongroom.dev/workload/container/volume"
)

// Descriptors that the test hands over: after the scenario the disks in its order, then the
// far end of egress if there is one.
const reportFD, scenarioFD, firstFD = 3, 4, 5

// scenario is what the test asks for.
type scenario struct {
	Container   agreement.Container
	Environment map[string]string
	Inputs      map[wire.ID][]byte
	Disks       []string
	Egress      bool
	// Given is what the broker answers to the opening of a volume.
	Given given
	// Stop has the container told to end; Kill ends the room.
	Stop, Kill bool
	MaxResult  int64
}

type given struct {
	Generation int64
	Previous   *release.VolumeState
}

// report is how it went.
type report struct {
	Error    json.RawMessage
	Ending   container.Ending
	Logs     string
	Dropped  int64
	Result   []byte
	States   []container.VolumeState
	Events   []string
	Steps    []string
	Root     *wire.Hash
	Override []string
	Keeper   string
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "work" {
		work(os.Args[2], os.Args[3:])
		return
	}
	keeper := &volume.Keeper{Place: sandbox.KeeperPlace}
	in, err := sandbox.Main(0, 1, func(request []byte, files []*os.File) ([]byte, *os.File) {
		if string(request) == "what are you" {
			return inspect(), nil
		}
		return keeper.Do(request, files)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	data, _ := io.ReadAll(os.NewFile(scenarioFD, "scenario"))
	a := &agent{in: in}
	if err := json.Unmarshal(data, &a.s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	answer, _, err := in.Keep(context.Background(), []byte("what are you"))
	if err != nil {
		answer = []byte(err.Error())
	}
	a.r.Keeper = string(answer)
	if err := a.run(); err != nil {
		a.r.Error = verdict.Encode(err)
	}
	in.Close()
	out, _ := json.Marshal(a.r)
	os.NewFile(reportFD, "report").Write(out)
	os.Exit(7)
}

type agent struct {
	in *sandbox.Inside
	s  scenario
	r  report

	mu      sync.Mutex
	running *container.Running
}

func (a *agent) run() error {
	inputs := map[wire.ID]container.Plaintext{}
	for name, data := range a.s.Inputs {
		fd, err := unix.MemfdCreate(string(name), unix.MFD_CLOEXEC)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), string(name))
		if _, err := f.Write(data); err != nil {
			return err
		}
		inputs[name] = container.Plaintext{File: f, Size: int64(len(data))}
	}
	plan, err := container.NewPlan(a.s.Container, a.s.Environment, inputs)
	if err != nil {
		return err
	}
	a.r.Override = plan.Overrides()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	running, err := container.Start(ctx, plan, a.machine())
	if err != nil {
		return err
	}
	if a.s.Stop {
		time.AfterFunc(500*time.Millisecond, running.Stop)
	}
	if a.s.Kill {
		time.AfterFunc(500*time.Millisecond, cancel)
	}
	ending, err := running.Wait(ctx)
	a.r.Ending = ending
	if err == nil && a.s.MaxResult > 0 {
		err = a.result(ctx, running)
	}
	states, closing := running.Close(ctx)
	a.r.States, a.r.Dropped = states, running.Dropped()
	return errors.Join(err, closing)
}

func (a *agent) result(ctx context.Context, running *container.Running) error {
	f, size, err := running.Result(ctx, a.s.MaxResult)
	if err != nil {
		return err
	}
	a.r.Result, err = io.ReadAll(io.NewSectionReader(f, 0, size))
	return err
}

func (a *agent) machine() container.Machine {
	return container.Machine{
		Cell: container.Cells(a.in),
		Disk: func(name string) (*os.File, error) {
			for i, d := range a.s.Disks {
				if d == name {
					return os.NewFile(uintptr(firstFD+i), name), nil
				}
			}
			return nil, errors.New("no disk " + name)
		},
		Volumes: &container.Volumes{Broker: a.broker, Keep: a.in.Keep},
		Egress:  a.egress,
		Now:     time.Now,
		Logs:    func(_ context.Context, piece container.Printed) { a.r.Logs += string(piece.Text) },
		Event: func(name, text string) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.r.Events = append(a.r.Events, name+" "+text)
		},
	}
}

func (a *agent) broker(_ context.Context, input wire.ID, step release.VolumeStep, generation int64, root *wire.Hash) (release.VolumeAnswer, error) {
	a.r.Steps = append(a.r.Steps, fmt.Sprint(step, " ", input, " ", generation))
	a.r.Root = root
	if step == release.VolumeOpen {
		return release.VolumeAnswer{Generation: a.s.Given.Generation, Previous: a.s.Given.Previous}, nil
	}
	return release.VolumeAnswer{Generation: generation}, nil
}

func (a *agent) egress(context.Context, wire.ID) (container.Stream, error) {
	if !a.s.Egress {
		return nil, errors.New("nowhere")
	}
	fd := firstFD + len(a.s.Disks)
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	return &sandbox.Conn{File: os.NewFile(uintptr(fd), "far end")}, nil
}

// inspect is what a keeper finds out about itself.
func inspect() []byte {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return []byte(err.Error())
	}
	var out []string
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "NoNewPrivs") || strings.HasPrefix(line, "Seccomp:") {
			out = append(out, strings.Join(strings.Fields(line), " "))
		}
	}
	root, _ := os.ReadDir("/")
	for _, e := range root {
		out = append(out, "/"+e.Name())
	}
	_, err = os.ReadDir(sandbox.KeeperPlace)
	for name, number := range map[string]uintptr{"socket": unix.SYS_SOCKET, "execve": unix.SYS_EXECVE, "unshare": unix.SYS_UNSHARE, "mount": unix.SYS_MOUNT, "ptrace": unix.SYS_PTRACE, "setns": unix.SYS_SETNS, "ioctl": unix.SYS_IOCTL} {
		if _, _, errno := unix.RawSyscall6(number, 0, 0, 0, 0, 0, 0); errno != unix.EPERM {
			out = append(out, name+" is allowed: "+errno.Error())
		}
	}
	return []byte(strings.Join(append(out, fmt.Sprint("place ", err)), "\n"))
}

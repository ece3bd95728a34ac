package broker_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/broker"
	"strongroom.dev/client"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/release/file"
	"strongroom.dev/server"
	"strongroom.dev/store/state"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// The test binary is the broker that TestKill kills, when these are set.
const (
	childDir   = "STRONGROOM_TEST_BROKER_DIR"
	childEpoch = "STRONGROOM_TEST_BROKER_EPOCH" // wall time that start stands for, Unix ms
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := serveChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serveChild(dir string) error {
	epoch, err := strconv.ParseInt(os.Getenv(childEpoch), 10, 64)
	if err != nil {
		return err
	}
	keys, err := file.Open(filepath.Join(dir, "keys"))
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(dir, "own.json"))
	if err != nil {
		return err
	}
	own, err := agreement.ParseParty(data)
	if err != nil {
		return err
	}
	log, err := tilelog.Open(filepath.Join(dir, "alpha"), keys.LogKey())
	if err != nil {
		return err
	}
	s, err := state.Open(filepath.Join(dir, "state.db"), 5*time.Second)
	if err != nil {
		return err
	}
	b, err := broker.Open(ctx, broker.Config{Own: []*agreement.SignedParty{own}, State: s, Log: log, Keys: keys, Platforms: []attest.Platform{dev.New()},
		InsecureAllowSoftware: true, NeverServed: true /* it has nobody to ask */, Now: func() time.Time { return start.Add(time.Since(time.UnixMilli(epoch))) }})
	if err != nil {
		return err
	}
	socket := filepath.Join(dir, "s")
	if err := os.RemoveAll(socket); err != nil {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return server.Serve(ctx, listener, server.Broker(b, nil), nil)
}

// errand is one run under way: what a room would still have to ask after a broker's death.
type errand struct {
	*room
	message []byte // the release request
	answer  []byte
	output  *wire.Digest
	receipt *ledger.Receipt
	// more is what else the room asks; done says that it is over.
	more func(*client.Broker) error
	done bool
}

// advance does the rest of an errand, as far as the broker lives.
func (e *errand) advance(c *client.Broker) error {
	if e.message == nil {
		asked := release.ChallengeRequest{Version: release.Version, Purpose: attest.ForRelease, Agreement: e.agreement.Digest(), Nonce: wire.HashOf([]byte(randomID()))}
		data, err := release.NewChallengeRequest(asked)
		if err != nil {
			return err
		}
		answer, err := c.Challenge(ctx, data)
		if err != nil {
			return err
		}
		if e.challenge, err = release.VerifyChallenge(answer, e.w.descriptors["alpha"].Broker.ReleaseKey, "alpha-org", asked); err != nil {
			return err
		}
		e.message = e.request()
	}
	if e.answer == nil {
		answer, err := c.Release(ctx, e.message)
		if err != nil {
			return err
		}
		e.answer = answer
	}
	if e.receipt == nil {
		e.counter++
		asked := release.LiveRequest{Version: release.Version, Broker: "alpha-org", Agreement: e.agreement.Digest(), Run: e.run.Digest(), RunID: e.run.RunID,
			ReleaseID: e.releaseID, Counter: e.counter, AfterMS: e.w.now().UnixMilli(), Nonce: wire.HashOf([]byte(randomID())), Commitment: e.output}
		e.sealShown(&asked)
		data, err := release.NewLiveRequest(e.signing, asked)
		if err != nil {
			return err
		}
		answer, err := c.Live(ctx, data)
		if err != nil && verdict.As(err).Check == "differences.overtaken" {
			e.done = true // another room was quicker: that is an end too
			return nil
		}
		if err != nil {
			return err
		}
		l, err := release.VerifyLive(answer, e.w.descriptors["alpha"].Broker.ReleaseKey, asked, e.agreement.LeaseMS)
		if err != nil {
			return err
		}
		e.receipt = l.Receipt
	}
	if e.more != nil {
		if err := e.more(c); err != nil {
			return err
		}
	}
	e.done = true
	return nil
}

// TestKill kills a real broker at random moments of a stream of releases, and then holds
// what it left against what it promised: nothing released unrecorded, no record lost, nothing
// spent twice.
func TestKill(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	w := newWorld(t)
	w.agreement.Inputs[0].RunsPerDay = 100000
	all := w.liveThrough(t, rounds)
	h, b := w.checkAfterDeaths(t, all)
	w.checkHistory(t, h, b, all)
}

// liveThrough has rooms run errands with a broker that is killed again and again.
func (w *world) liveThrough(t *testing.T, rounds int) []*errand {
	t.Helper()
	w.agreement.LeaseMS = 120_000
	h := w.newHouse()
	_, a := h.ready()
	h.close()
	must(t, os.WriteFile(filepath.Join(w.dir, "own.json"), encoded(t, w.descriptors["alpha"].Document), 0o600))

	epoch := strconv.FormatInt(time.Now().UnixMilli(), 10)
	var all, open []*errand
	cut := 0
	for range rounds {
		for _, e := range w.killedBroker(t, epoch, open, a, &all) {
			if e.message != nil {
				cut++
			}
		}
		open = nil
		for _, e := range all {
			if !e.done {
				open = append(open, e)
			}
		}
	}
	t.Logf("%d runs; %d times a death cut one off", len(all), cut)
	return all
}

// killedBroker starts a broker, has two rooms at a time finish what was left open and then
// start new errands, and kills it some moments after the first of them was done. New errands
// are added to all.
func (w *world) killedBroker(t *testing.T, epoch string, open []*errand, a *agreement.SignedAgreement, all *[]*errand) (cut []*errand) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+w.dir, childEpoch+"="+epoch)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		cmd.Wait()
		t.Fatalf("the broker did not start again: %q %v\n%s", line, err, stderr.String())
	}
	var mu sync.Mutex
	next := func() *errand {
		mu.Lock()
		defer mu.Unlock()
		if len(open) > 0 {
			e := open[0]
			open = open[1:]
			return e
		}
		e := &errand{room: w.newRoom(a, w.anyRun(a)), output: commitment(randomID())}
		if w.more != nil {
			e.more = w.more(e)
		}
		*all = append(*all, e)
		return e
	}
	var wg sync.WaitGroup
	done := make(chan bool, 1000)
	for range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c := client.NewBroker("http://broker", client.NewUnix(filepath.Join(w.dir, "s")))
			for {
				e := next()
				err := e.advance(c)
				if err == nil {
					done <- true
					continue
				}
				if verdict.As(err).Kind != verdict.Broken {
					t.Errorf("refused: %v", err)
				}
				mu.Lock()
				cut = append(cut, e)
				mu.Unlock()
				return
			}
		}()
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
	}
	time.Sleep(time.Duration(rand.Int64N(int64(60 * time.Millisecond))))
	must(t, cmd.Process.Kill())
	cmd.Wait() //nolint:errcheck // killed
	wg.Wait()
	return cut
}

func (w *world) checkAfterDeaths(t *testing.T, all []*errand) (*house, *broker.Broker) {
	t.Helper()
	h := w.newHouse()
	b := h.open()
	s := must1(b.Status(ctx))
	if !s.Serving || s.Queued != 0 {
		t.Fatalf("after the deaths: lock %+v, %d queued", s.Lock, s.Queued)
	}
	logged := logOf(t, h.log)
	for _, e := range all {
		if e.answer != nil {
			// One record, and the receipt that left is of it.
			g := must1(e.open(e.answer))
			if len(logged.grants[e.run.RunID]) != 1 || logged.grants[e.run.RunID][0] != g.Receipt.Index {
				t.Errorf("run %s: receipt of entry %d, grants at %v", e.run.RunID, g.Receipt.Index, logged.grants[e.run.RunID])
			}
		}
		if e.message != nil {
			again, err := b.Release(ctx, e.message)
			must(t, err)
			if e.answer != nil && !bytes.Equal(again, e.answer) {
				t.Errorf("run %s was answered twice, differently", e.run.RunID)
			}
		}
		if e.receipt != nil && (len(logged.outputs[e.run.RunID]) != 1 || logged.outputs[e.run.RunID][0] != e.receipt.Index) {
			t.Errorf("run %s: receipt of output %d, outputs at %v", e.run.RunID, e.receipt.Index, logged.outputs[e.run.RunID])
		}
	}
	logged = logOf(t, h.log)
	s = must1(b.Status(ctx))
	if int64(len(logged.grants)) != s.Datasets[0].Runs || s.Recorded["grant"] != int64(len(logged.grants)) || s.Recorded["output"] != int64(len(logged.outputs)) {
		t.Errorf("the log has grants for %d runs and %d outputs; %d runs were counted, %v recorded", len(logged.grants), len(logged.outputs), s.Datasets[0].Runs, s.Recorded)
	}
	return h, b
}

// entries are the places of grants and outputs in a log, by run id.
type entries struct{ grants, outputs map[string][]int64 }

func logOf(t testing.TB, log broker.Log) entries {
	t.Helper()
	found := entries{map[string][]int64{}, map[string][]int64{}}
	for i := range log.Size() {
		e, err := ledger.ParseEntry(must1(log.Entry(i)))
		must(t, err)
		switch e.Kind {
		case "grant":
			found.grants[e.RunID] = append(found.grants[e.RunID], i)
		case "output":
			found.outputs[e.RunID] = append(found.outputs[e.RunID], i)
		}
	}
	return found
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"strongroom.dev/attest"
	"strongroom.dev/attest/snp"
	"strongroom.dev/ear"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/server"
	"strongroom.dev/store/attestation"
	"strongroom.dev/verifier"
)

// The rows about attestation. All of it is done with recorded genuine evidence, at a time when
// its certificates and lists were valid.
const (
	snpBare      = "SNP: reports a second, chain known, against bare P-384 verification"
	snpPeer      = "SNP: reports a second, chain known, against go-sev-guest"
	tdxPeer      = "TDX: quotes a second, collateral known, against go-tdx-guest"
	serviceRate  = "attestation service: SNP, challenge to token, 4 clients"
	serviceHalf  = "attestation service: the same, median"
	serviceTail  = "attestation service: the same, 99th percentile"
	serviceCPU   = "attestation service: processor time of one, its client's included"
	serviceCosts = "attestation service: cost of one"

	serviceClients = 4
	serviceEach    = 100
	serviceBatches = 9
)

// endorsements reads files of endorsements.
func endorsements(names ...string) (endorse.Set, error) {
	var items []endorse.Item
	for _, name := range names {
		data, err := evidencetest.Load(name)
		if err != nil {
			return endorse.Set{}, err
		}
		items = append(items, endorse.Parse(name, data)...)
	}
	return endorse.NewSet(items...)
}

// attestBench measures verification beside the peers, and the service end to end.
func attestBench(match func(name string) bool) ([]row, error) {
	var rows []row
	for _, part := range []struct {
		names []string
		run   func() ([]row, error)
	}{
		{[]string{snpBare, snpPeer}, snpRows}, {[]string{tdxPeer}, tdxRows}, {[]string{serviceRate, serviceHalf, serviceTail, serviceCPU, serviceCosts}, serviceRows},
	} {
		if !slices.ContainsFunc(part.names, match) {
			continue
		}
		more, err := part.run()
		if errors.Is(err, evidencetest.ErrNone) && !evidencetest.Required() {
			fmt.Fprintln(os.Stderr, "bench:", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// snpWorld is a recorded report with all that it is judged by.
type snpWorld struct {
	report []byte
	vcek   []byte
	set    endorse.Set
	at     time.Time
}

const (
	snpCaptures = "snp/confidential-containers+trustee/deps/verifier/test_data/snp/"
	snpLists    = "snp/openpcc+openpcc/attestation/attest/testdata/sev_certificates.txt"
	snpPeers    = "snp/google+go-sev-guest/verify/"
)

func newSNPWorld() (w snpWorld, err error) {
	w.at = time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)
	if w.report, err = evidencetest.Load(snpCaptures + "test-report.bin"); err != nil {
		return w, err
	}
	if w.vcek, err = evidencetest.Load(snpCaptures + "test-vcek.der"); err != nil {
		return w, err
	}
	w.set, err = endorsements(snpCaptures+"test-vcek.der", snpLists)
	return w, err
}

// answering is the SNP platform as it is, over the recorded report with 64 bytes behind it: a
// recorded report can't answer a fresh challenge, so those bytes are taken for its report data.
// Everything else, the verification of the report's signature above all, is done as always.
func (w snpWorld) answering(set endorse.Set) attest.Examiner {
	v := snp.New(set)
	return attest.Examiner{
		Name:   snp.Name,
		Detect: func(data []byte) bool { return snp.Detect(data[:min(len(data), len(w.report))]) },
		Examine: func(data []byte, now time.Time) (attest.Finding, error) {
			if len(data) != len(w.report)+64 {
				return attest.Finding{}, fmt.Errorf("evidence of %d bytes", len(data))
			}
			f, err := v.Examine(data[:len(w.report)], now)
			f.Facts.ReportData = data[len(w.report):]
			return f, err
		},
	}
}

const benchPolicy = `id: bench
version: 1
platforms:
  snp:
    generations: {never: [Naples]}
    minimum_tcb: {reported_tcb.snp: 1}
    claims: {policy_debug_allowed: "false"}
rules:
  - id: vmpl
    require: claims.vmpl == 0
    expected: evidence of the most privileged level
`

const benchKey = `{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`

// attestationService is a whole service on a loopback port.
type attestationService struct {
	world   snpWorld
	service *verifier.Service
	url     string
	key     ear.Confirmation
	close   func()
}

func newAttestationService(w snpWorld) (s *attestationService, err error) {
	dir, err := os.MkdirTemp("", "attestbench")
	if err != nil {
		return nil, err
	}
	store, err := attestation.Open(filepath.Join(dir, "state.db"), time.Second)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	ctx, stop := context.WithCancel(context.Background())
	s = &attestationService{world: w, close: func() { stop(); store.Close(); os.RemoveAll(dir) }}
	began := time.Now()
	s.service, err = verifier.Open(ctx, verifier.Config{
		Base: "https://attest.example.org", Store: store, Endorsements: w.set, Policy: "bench", EAR: ear.ES256, Rotation: ear.Usual(), Build: "bench",
		Table: func(set endorse.Set) []attest.Examiner { return []attest.Examiner{w.answering(set)} },
		Now:   func() time.Time { return w.at.Add(time.Since(began)) },
	})
	if err == nil {
		_, err = s.service.AddPolicy(ctx, "bench", []byte(benchPolicy))
	}
	if err == nil {
		_, err = s.service.Activate(ctx, "bench", 1)
	}
	if err == nil {
		s.key, err = ear.ConfirmJWK([]byte(benchKey))
	}
	var listener net.Listener
	if err == nil {
		listener, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		s.close()
		return nil, err
	}
	s.url = "http://" + listener.Addr().String()
	api := server.NewAttestation(s.service, server.AttestationLimits{}, slog.New(slog.DiscardHandler))
	go server.Serve(ctx, listener, api.Handler(), nil)
	return s, nil
}

// request answers a challenge.
func (s *attestationService) request(c verifier.Challenge) ([]byte, error) {
	binding := ear.Binding{Nonce: attest.NonceOf(c.Challenge), Key: s.key}
	data, err := binding.ReportData()
	if err != nil {
		return nil, err
	}
	return json.Marshal(verifier.Request{Evidence: append(bytes.Clone(s.world.report), data[:]...), Challenge: c.Challenge, Key: []byte(benchKey), Audience: "bench"})
}

// attest is one attestation as its client sees it: challenge, evidence, token.
func (s *attestationService) attest(h *http.Client) error {
	var c verifier.Challenge
	if err := exchange(h, s.url+"/v1/challenge", []byte(`{"audience":"bench"}`), &c); err != nil {
		return err
	}
	body, err := s.request(c)
	if err != nil {
		return err
	}
	var answer struct{ Token string }
	if err := exchange(h, s.url+"/v1/attest", body, &answer); err != nil {
		return err
	}
	if answer.Token == "" {
		return errors.New("no token")
	}
	return nil
}

func exchange(h *http.Client, url string, body []byte, into any) error {
	resp, err := h.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d: %.300s", url, resp.StatusCode, data)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// serviceRows has clients attest one after the other, several at a time, in batches of which the
// median counts. They are in the same process: the cores are shared with them.
func serviceRows() ([]row, error) {
	w, err := newSNPWorld()
	if err != nil {
		return nil, err
	}
	s, err := newAttestationService(w)
	if err != nil {
		return nil, err
	}
	defer s.close()
	h := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: serviceClients}}
	defer h.CloseIdleConnections()
	if err := s.attest(h); err != nil {
		return nil, err
	}
	var rates, halves, tails []float64
	before, err := processTime()
	if err != nil {
		return nil, err
	}
	for range serviceBatches {
		times, took, err := s.batch(h)
		if err != nil {
			return nil, err
		}
		rates = append(rates, float64(len(times))/took.Seconds())
		halves, tails = append(halves, milliseconds(times[len(times)/2])), append(tails, milliseconds(times[len(times)*99/100]))
	}
	after, err := processTime()
	if err != nil {
		return nil, err
	}
	rate, tail := median(rates), median(tails)
	costs, err := s.costs()
	return append([]row{
		{Name: serviceRate, Value: rate, Unit: "1/s", Goal: "at least 700", Met: rate >= 700},
		{Name: serviceHalf, Value: median(halves), Unit: "ms"},
		{Name: serviceTail, Value: tail, Unit: "ms", Goal: "below 25", Met: tail < 25},
		{Name: serviceCPU, Value: milliseconds(after-before) / (serviceBatches * serviceClients * serviceEach), Unit: "ms"},
	}, costs...), err
}

// batch has every client attest serviceEach times, and gives how long each took, sorted.
func (s *attestationService) batch(h *http.Client) ([]time.Duration, time.Duration, error) {
	times := make([]time.Duration, serviceClients*serviceEach)
	var next atomic.Int64
	errs := make([]error, serviceClients)
	var clients sync.WaitGroup
	began := time.Now()
	for i := range errs {
		clients.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(times)) && errs[i] == nil; n = next.Add(1) - 1 {
				start := time.Now()
				errs[i] = s.attest(h)
				times[n] = time.Since(start)
			}
		})
	}
	clients.Wait()
	took := time.Since(began)
	slices.Sort(times)
	return times, took, errors.Join(errs...)
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// processTime is how much of the processors this process has used.
func processTime() (time.Duration, error) {
	var u unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

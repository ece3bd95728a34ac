package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/broker"
	"strongroom.dev/internal/world"
	"strongroom.dev/keys"
	"strongroom.dev/release"
	"strongroom.dev/seal"
	"strongroom.dev/wire"
)

// The rows about a broker alone: from a request with its evidence to the sealed key, on the
// disk of the temporary directory, with one shared ledger cosigning every release.
const (
	releaseLatency = "broker: evidence to sealed key, median"
	releaseTail    = "broker: evidence to sealed key, 99th percentile"
	releaseRate    = "broker: releases per second, 8 rooms at once"
	// releaseRuns are made one after the other, and as many again at once.
	releaseRuns = 200
	releaseAt   = 8
)

// releaseBench measures releases by one broker.
func releaseBench(match func(name string) bool) ([]row, error) {
	if !match(releaseLatency) && !match(releaseTail) && !match(releaseRate) {
		return nil, nil
	}
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "releasebench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	image := dev.Measurement{Agent: wire.DigestOf([]byte("agent")), Helpers: map[string]wire.Digest{"strongroom-sql": wire.DigestOf([]byte("sql"))}}
	w, err := world.New(ctx, world.Config{Dir: dir, Image: image, MinGroup: 10, MaxRows: 100, MaxBytes: 10_000, LeaseMS: 3000,
		Owners: []world.Owner{{ID: "alpha", Plain: bytes.NewReader([]byte("patient,radius\n1,2\n")), Format: agreement.CSV}},
		Schema: []agreement.Column{{Name: "patient", Type: "integer", Unit: true}, {Name: "radius", Type: "integer"}},
		Work: []agreement.Work{{Name: "count", Kind: "sql", Description: "how many", Query: "SELECT count(*) AS n FROM rows",
			Parameters: []agreement.Parameter{}}}})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	requests, err := releaseRequests(ctx, w, 2*releaseRuns)
	if err != nil {
		return nil, err
	}
	b := w.Brokers["alpha"]
	var each []float64
	for _, r := range requests[:releaseRuns] {
		began := time.Now()
		if _, err := b.Release(ctx, r); err != nil {
			return nil, err
		}
		each = append(each, float64(time.Since(began))/float64(time.Millisecond))
	}
	slices.Sort(each)
	took, err := releaseAtOnce(ctx, b, requests[releaseRuns:])
	if err != nil {
		return nil, err
	}
	return []row{
		{Name: releaseLatency, Value: each[len(each)/2], Unit: "ms"},
		{Name: releaseTail, Value: each[len(each)*99/100], Unit: "ms"},
		{Name: releaseRate, Value: float64(releaseRuns) / took.Seconds(), Unit: "1/s"},
	}, nil
}

// releaseAtOnce has several rooms ask at the same time.
func releaseAtOnce(ctx context.Context, b *broker.Broker, requests [][]byte) (time.Duration, error) {
	var next atomic.Int64
	errs := make([]error, releaseAt)
	var rooms sync.WaitGroup
	began := time.Now()
	for i := range errs {
		rooms.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(requests)) && errs[i] == nil; n = next.Add(1) - 1 {
				_, errs[i] = b.Release(ctx, requests[n])
			}
		})
	}
	rooms.Wait()
	return time.Since(began), errors.Join(errs...)
}

// releaseRequests has as many rooms sign a request, each for a run of its own.
func releaseRequests(ctx context.Context, w *world.World, n int) ([][]byte, error) {
	requests := make([][]byte, n)
	for i := range requests {
		var err error
		if requests[i], err = releaseRequest(ctx, w); err != nil {
			return nil, err
		}
	}
	return requests, nil
}

func releaseRequest(ctx context.Context, w *world.World) ([]byte, error) {
	job, run, err := w.Job("count", map[string]string{})
	if err != nil {
		return nil, err
	}
	f, err := os.Open(job.Inputs[0].Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	header, err := seal.ReadHeader(f)
	if err != nil {
		return nil, err
	}
	signing, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		return nil, err
	}
	hpke, err := keys.GenerateHPKEKey()
	if err != nil {
		return nil, err
	}
	b, id := w.Brokers["alpha"], keys.RandomID()
	token, err := releaseToken(ctx, w, b)
	if err != nil {
		return nil, err
	}
	binding := attest.Binding{Purpose: attest.ForRelease, Nonce: attest.NonceOf(token), Signing: signing.Public(), HPKE: hpke.Public(), Agreement: w.Agreement.Digest(), Run: run.Digest()}
	evidence, err := dev.Sign(w.Root, w.Image, attest.InitData(w.Agreement.Canonical()), binding.ReportData())
	if err != nil {
		return nil, err
	}
	data, _, err := release.NewRequest(signing, release.Request{Broker: b.Name(), Challenge: token, ReleaseID: hex.EncodeToString(id[:]), Evidence: evidence,
		Room: release.RoomKeys{Signing: signing.Public(), HPKE: hpke.Public()}, Agreement: job.Agreement, Parties: job.Parties, Run: job.Run,
		Inputs: []release.InputRequest{{Input: job.Inputs[0].Name, Statement: job.Inputs[0].Statement, Header: header}}})
	return data, err
}

func releaseToken(ctx context.Context, w *world.World, b *broker.Broker) ([]byte, error) {
	asked, err := release.NewChallengeRequest(release.ChallengeRequest{Purpose: attest.ForRelease, Agreement: w.Agreement.Digest(), Nonce: wire.HashOf([]byte("bench"))})
	if err != nil {
		return nil, err
	}
	answer, err := b.Challenge(ctx, asked)
	if err != nil {
		return nil, err
	}
	var c release.Challenge
	_, err = keys.ParseDocument(answer, release.ChallengeType, &c)
	return c.Token, err
}

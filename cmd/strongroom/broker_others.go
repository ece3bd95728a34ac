package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"strongroom.dev/broker"
	"strongroom.dev/client"
	"strongroom.dev/internal/durable"
	"strongroom.dev/internal/home"
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// brokerOthers are those who may have seen more of a broker's log than it has, as flags name
// them. They are kept beside the broker's state, so that one set back can still ask.
type brokerOthers struct {
	Witnesses []string `json:"witnesses"` // URL=KEY
	Peers     []string `json:"peers"`     // ORIGIN=URL
}

func othersPath(h *home.Home) string { return h.Path("broker", "others.json") }

// readOthers gives those that the broker was ever told of. served is false if it never served.
func readOthers(h *home.Home) (o brokerOthers, served bool, err error) {
	data, err := os.ReadFile(othersPath(h))
	if errors.Is(err, fs.ErrNotExist) {
		return o, false, nil
	}
	if err == nil {
		err = wire.Unmarshal([]byte(strings.TrimRight(string(data), "\n")), &o)
	}
	if err != nil {
		return o, true, &verdict.Error{Kind: verdict.Usage, Check: "broker.others", Expected: "the shared ledgers and brokers this broker was told of", Got: verdict.Short(err.Error()),
			Where: othersPath(h), Fix: "restore the file, or remove it and name them all again to strongroom broker serve", Err: err}
	}
	return o, true, nil
}

// rememberOthers adds those that a starting broker is told of to those it knows. A ledger, or
// an origin, that is named again has moved.
func rememberOthers(h *home.Home, told brokerOthers) (brokerOthers, error) {
	known, _, err := readOthers(h)
	if err != nil {
		return known, err
	}
	known.Witnesses = keepLast(known.Witnesses, told.Witnesses, func(text string) string { _, key, _ := strings.Cut(text, "="); return key })
	known.Peers = keepLast(known.Peers, told.Peers, func(text string) string { origin, _, _ := strings.Cut(text, "="); return origin })
	data, err := wire.Marshal(known)
	if err != nil {
		return known, err
	}
	if err := os.MkdirAll(h.Path("broker"), 0o700); err != nil {
		return known, err
	}
	return known, durable.WriteFile(othersPath(h), append(data, 0x0a), 0o600)
}

// keepLast gives the list with more added; of two with one key the later stays.
func keepLast(list, more []string, keyOf func(string) string) []string {
	out := []string{}
	for i, all := 0, append(append([]string{}, list...), more...); i < len(all); i++ {
		again := false
		for _, later := range all[i+1:] {
			again = again || keyOf(later) == keyOf(all[i])
		}
		if !again {
			out = append(out, all[i])
		}
	}
	return out
}

// config gives a way to ask all of them; logKey is the broker's own.
func (o brokerOthers) config(logKey string) (broker.Config, error) {
	cfg := broker.Config{Witnesses: map[string]broker.Witness{}, Peers: map[string]broker.Peer{}}
	h := client.New() // one for all: it keeps connections
	for _, text := range o.Witnesses {
		url, key, found := strings.Cut(text, "=")
		if _, err := ledger.OriginOf(key); !found || !isURL(url) || err != nil {
			return cfg, verdict.Misuse("--witness", "URL=KEY", verdict.Short(text), "the key is what `strongroom ledger serve` prints, as in http://127.0.0.1:7500=ledger.example+1a2b3c4d+AQ...")
		}
		w := client.NewLedger(strings.TrimSuffix(url, "/"), key, h)
		w.LogKey = logKey
		cfg.Witnesses[key] = w
	}
	for _, text := range o.Peers {
		origin, url, found := strings.Cut(text, "=")
		if !found || origin == "" || !isURL(url) {
			return cfg, verdict.Misuse("--peer", "ORIGIN=URL", verdict.Short(text), "the origin is the first part of the other broker's log key, as in broker.beta.example=http://127.0.0.1:7444")
		}
		cfg.Peers[origin] = client.NewBroker(strings.TrimSuffix(url, "/"), h)
	}
	cfg.PeerAt = func(address string) broker.Peer { return client.NewBroker("http://"+address, h) }
	return cfg, nil
}

func isURL(text string) bool {
	return strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://")
}

package demo

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"strongroom.dev/client"
	"strongroom.dev/ear"
	"strongroom.dev/keys"
	httpserver "strongroom.dev/server"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// door is a relying party: a service that knows no evidence, and lets in whoever brings a token
// of an issuer it trusts and holds the key in it.
type door struct {
	issuer string

	mu     sync.Mutex
	issued map[string]bool // challenges that nobody has answered yet
}

func newDoor(issuer string) *door { return &door{issuer: issuer, issued: map[string]bool{}} }

// entryType is the type of what is signed at the door.
const entryType = "strongroom-demo/entry/v1"

// maxEntry is the most bytes of a call at the door: a token is below 8 KiB.
const maxEntry = 32 << 10

// entry is what somebody shows at the door.
type entry struct {
	Token     string         `json:"token"`
	Challenge string         `json:"challenge"`
	Key       keys.PublicKey `json:"key"`
	Signature keys.Signature `json:"signature"`
}

// entryDigest is what the holder of a token signs: the door's challenge, with the token.
func entryDigest(challenge, token string) wire.Digest {
	return wire.SHA384(entryType, []byte(challenge), []byte(token))
}

func (d *door) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /challenge", func(w http.ResponseWriter, _ *http.Request) {
		challenge := hex.EncodeToString(newNonce())
		d.mu.Lock()
		d.issued[challenge] = true
		d.mu.Unlock()
		io.WriteString(w, challenge)
	})
	mux.HandleFunc("POST /enter", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEntry))
		if err == nil {
			err = d.let(r.Context(), body)
		}
		if err != nil {
			refuse(w, err)
			return
		}
		io.WriteString(w, "come in")
	})
	return mux
}

// let checks the token, then that whoever shows it holds its key. Nothing in the token says
// where its keys are: they come from the issuer that the door was told.
func (d *door) let(ctx context.Context, body []byte) error {
	var e entry
	if err := wire.Unmarshal(body, &e); err != nil {
		return verdict.Misuse("door.entry", "token, challenge, key and signature", verdict.Short(err.Error()), "send all four")
	}
	set, err := client.NewAttestation(d.issuer, nil).KeySet(ctx, ear.EAR())
	if err != nil {
		return err
	}
	token, err := ear.Verify(e.Token, ear.Expect{Shape: ear.EAR(), Base: d.issuer, Audience: audience, Keys: set, Now: time.Now(),
		AcceptWarning: true, InsecureAcceptSoftware: true})
	if err != nil {
		return err
	}
	if token.Policy != "rooms" {
		return verdict.Refuse("door.policy", "a token by policy rooms", verdict.Short(token.Policy), "attest under that policy")
	}
	d.mu.Lock()
	known := d.issued[e.Challenge]
	delete(d.issued, e.Challenge)
	d.mu.Unlock()
	if !known {
		return verdict.Refuse("door.challenge", "a challenge of this door, answered once", "another", "ask for one")
	}
	holder, err := confirmed(e.Key)
	if err != nil {
		return err
	}
	if holder.ID() != token.Confirmation.ID() || e.Key.Verify(entryType, entryDigest(e.Challenge, e.Token), e.Signature) != nil {
		return verdict.NotGenuine("door.holder", "a signature by the key in the token", "none by that key", "show a token of your own")
	}
	return nil
}

// refuse answers with an error as Strongroom's own servers do.
func refuse(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	w.Write(verdict.Encode(verdict.As(err)))
}

// exchange makes one call and gives the answer, or the error that it was.
func exchange(ctx context.Context, method, url string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	c := client.New()
	defer c.CloseIdleConnections()
	answer, err := c.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxEntry))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = verdict.Decode(data)
	}
	return data, err
}

// listen serves a handler of the demo's own on a loopback port until the world is closed.
func (w *world) listen(h http.Handler) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		httpserver.Serve(ctx, l, h, slog.New(slog.DiscardHandler))
	}()
	w.listeners = append(w.listeners, func() { stop(); <-done })
	return "http://" + l.Addr().String(), nil
}

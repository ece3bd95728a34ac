package demo

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/host"
	"strongroom.dev/keys"
	"strongroom.dev/room"
	"strongroom.dev/wire"
)

// swaps has a host show the booted room's evidence for Alpha's broker, with keys of its own in the
// place of the room's, to Alpha who looks at the room. Nothing else is wrong with what it shows:
// with the room's own keys it passes first.
func (v *vm) swaps(ctx context.Context) (string, error, error) {
	shown, err := v.shownToAlpha()
	if err != nil {
		return "", nil, err
	}
	if err := v.look(ctx, shown); err != nil {
		return "", nil, err
	}
	signing, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		return "", nil, err
	}
	hpke, err := keys.GenerateHPKEKey()
	if err != nil {
		return "", nil, err
	}
	shown.Room.Signing, shown.Room.HPKE = signing.Public(), hpke.Public()
	return "strongroom room verify, by " + string(v.party(alpha).Name), v.look(ctx, shown), nil
}

// shownToAlpha is what the booted room showed Alpha's broker, as its proof has it.
func (v *vm) shownToAlpha() (room.Shown, error) {
	evidence, token := v.evidenceFor(alpha)
	ag, err := agreement.ParseAgreement(v.proof.Agreement)
	if err != nil {
		return room.Shown{}, err
	}
	run, err := agreement.ParseRun(v.proof.Run)
	if err != nil {
		return room.Shown{}, err
	}
	return room.Shown{Broker: v.party(alpha).Name, Challenge: token, Evidence: evidence, Room: v.proof.Room, Agreement: ag.Digest(), Run: run.Digest()}, nil
}

// look has Alpha verify a room at a host that says this of it.
func (v *vm) look(ctx context.Context, shown room.Shown) error {
	const id = "0a0b0c0d"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	liar := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(host.Info{ID: id, State: "done", Agreement: shown.Agreement, Started: wire.At(time.Now()), Requester: researcher,
			Work: wire.ID(questions[0].work), Platform: shown.Evidence.Platform, Files: []string{}, Shown: []room.Shown{shown}})
	})}
	go liar.Serve(l)
	defer liar.Close()
	_, err = v.quiet(ctx, v.as(alpha, "room", "verify", id, "--host", "http://"+l.Addr().String())...)
	return err
}

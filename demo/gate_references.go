package demo

import (
	"context"
	"fmt"
	"os"
	"strings"

	"strongroom.dev/verdict"
)

// onReferences are attacks on what the service takes measurements from. A service that has used
// version 2 is shown other sets, as whoever holds its disk can.
func (x *forger) onReferences() []attempt {
	return []attempt{
		{"old reference values served again", x.rollBack, []string{"policy.reference.rollback"}},
		x.served("reference values signed by one officer only", 3, "one-officer", []string{"alice"}, true, "policy.reference.signatures"),
		x.served("reference values signed by a stranger too", 4, "stranger", []string{"alice", "mallory"}, true, "policy.reference.signatures"),
		x.served("reference values kept from the log", 5, "unlogged", []string{"alice", "bob"}, false, "policy.reference.log"),
	}
}

// rollBack has the officers publish version 2 and the service use it, and then serves version
// 1 again.
func (x *forger) rollBack(ctx context.Context) (string, error, error) {
	if err := x.sign(ctx, x.quiet, 2, "room-2", "alice", "bob"); err != nil {
		return "", nil, err
	}
	if err := x.publish(ctx, "room-2"); err != nil {
		return "", nil, err
	}
	if err := x.swap(ctx, "room-2.set"); err != nil {
		return "", nil, err
	}
	if _, err := x.attest(ctx, nil); err != nil { // honest, with version 2
		return "", nil, fmt.Errorf("with version 2: %w", err)
	}
	if err := x.swap(ctx, "room.set"); err != nil {
		return "", nil, err
	}
	_, refusal := x.attest(ctx, nil)
	return byService, refusal, x.honestAgain(ctx)
}

// served is an attack with a set that somebody made.
func (x *forger) served(name string, version int, set string, officers []string, logged bool, wants ...string) attempt {
	return attempt{name, func(ctx context.Context) (string, error, error) {
		if err := x.sign(ctx, x.quiet, version, set, officers...); err != nil {
			return "", nil, err
		}
		if logged {
			if err := x.publish(ctx, set); err != nil {
				return "", nil, err
			}
		}
		if err := x.swap(ctx, set+".set"); err != nil {
			return "", nil, err
		}
		_, refusal := x.attest(ctx, nil)
		return byService, refusal, x.honestAgain(ctx)
	}, wants}
}

// publish records a set in the officers' log.
func (x *forger) publish(ctx context.Context, set string) error {
	_, err := x.quiet(ctx, "reference", "publish", x.path(set+".set"), "--log", x.path("releases"))
	return err
}

// swap puts a set in the place of the one that the service reads, and starts it again.
func (x *forger) swap(ctx context.Context, set string) error {
	return x.restart(ctx, x.service, func() error { return x.offer(set) })
}

// honestAgain gives the service version 2 back and shows that honest evidence still passes: what
// was refused was refused for what was wrong with it.
func (x *forger) honestAgain(ctx context.Context) error {
	if err := x.swap(ctx, "room-2.set"); err != nil {
		return err
	}
	if _, err := x.attest(ctx, nil); err != nil {
		return fmt.Errorf("honest evidence after the attack: %w", err)
	}
	return nil
}

// edit writes a file of the world anew, with texts replaced that must be there.
func (x *forger) edit(from, to string, pairs ...string) error {
	data, err := os.ReadFile(x.path(from))
	if err != nil {
		return err
	}
	text := string(data)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			return broken("demo.edit", verdict.Short(pairs[i])+" in "+from, "another text")
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return os.WriteFile(x.path(to), []byte(text), 0o644)
}

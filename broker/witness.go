package broker

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// cosigned is what witnesses have signed of this broker's log. The broker's witnessMu
// guards it.
type cosigned struct {
	// size is that of the checkpoint that lines, by witness key, are cosignatures of.
	size  int64
	lines map[string]string
	// known is the size each witness last signed, by its key.
	known map[string]int64
}

// witnessed proves a record in the log under a checkpoint that as many of an agreement's
// witnesses have cosigned as it demands (R15). Concurrent calls share a round where one
// checkpoint covers both.
func (b *Broker) witnessed(ctx context.Context, p placed, ledgers agreement.Ledgers) (ledger.Receipt, error) {
	if ledgers.Quorum == 0 {
		return b.receipt(p)
	}
	b.witnessMu.Lock()
	defer b.witnessMu.Unlock()
	for attempt := 1; ; attempt++ {
		r, err := b.receipt(p)
		if err != nil {
			return r, err
		}
		c, err := ledger.OpenCheckpoint(r.Checkpoint, b.logKey)
		if err != nil {
			return r, err
		}
		problems, passed := b.cosign(ctx, c, ledgers)
		if err := b.serving(); err != nil { // a witness showed a later state of this log
			return r, err
		}
		b.keepTroubles(problems)
		r, err = b.assemble(r, c, ledgers, problems)
		if err == nil || !passed || attempt == cosignAttempts {
			return r, err
		}
	}
}

// witnessTrouble is why a witness did not sign.
type witnessTrouble struct {
	name wire.ID
	err  error
}

var errNotTold = errors.New("this broker was not told where it is")

// public gives what anyone may know of it.
func (t witnessTrouble) public() string {
	if errors.Is(t.err, errNotTold) {
		return t.err.Error()
	}
	return "did not sign"
}

// errPassed says that a witness has signed a later checkpoint of this log meanwhile: the log
// has grown, and anybody may have shown it to the witness.
var errPassed = errors.New("has signed a later checkpoint of this log")

// keepTroubles keeps what went wrong in the latest round, for officers.
func (b *Broker) keepTroubles(problems []witnessTrouble) {
	list := []string{}
	for _, p := range problems {
		list = append(list, inASCII(verdict.Short(fmt.Sprintf("%s: %v", p.name, p.err))))
	}
	sort.Strings(list)
	b.troubles.Store(&list)
}

// assemble adds the cosignatures to the receipt's checkpoint and counts them.
func (b *Broker) assemble(r ledger.Receipt, c ledger.Checkpoint, ledgers agreement.Ledgers, problems []witnessTrouble) (ledger.Receipt, error) {
	witnesses := make([]ledger.Witness, len(ledgers.Witnesses))
	for i, w := range ledgers.Witnesses {
		witnesses[i] = ledger.Witness{Name: w.Name, Key: w.Key}
		lines := b.cosigned.lines[w.Key]
		if lines == "" {
			continue
		}
		note, err := ledger.AddSignatures(r.Checkpoint, lines)
		if err != nil {
			problems = append(problems, witnessTrouble{w.Name, err})
			continue
		}
		c.Note = note
		if _, err := ledger.Cosignatures(c, witnesses[i:i+1]); err != nil {
			delete(b.cosigned.lines, w.Key)
			problems = append(problems, witnessTrouble{w.Name, err})
			continue
		}
		r.Checkpoint = note
	}
	c.Note = r.Checkpoint
	have, err := ledger.Cosignatures(c, witnesses)
	if err != nil {
		return r, err
	}
	if int64(len(have)) < ledgers.Quorum {
		return r, noQuorum(ledgers, len(have), problems)
	}
	return r, nil
}

func noQuorum(ledgers agreement.Ledgers, have int, problems []witnessTrouble) error {
	got := fmt.Sprint(have)
	if len(problems) > 0 {
		names := []string{}
		for _, p := range problems { // what went wrong is for officers: it may name addresses
			names = append(names, fmt.Sprintf("%s: %s", p.name, p.public()))
		}
		sort.Strings(names)
		got += " (" + strings.Join(names, "; ") + ")"
	}
	return verdict.Refuse("release.witnesses", fmt.Sprintf("cosignatures of %d of the agreement's %d shared ledgers", ledgers.Quorum, len(ledgers.Witnesses)), got,
		"see that the broker reaches them (`broker serve --witness URL=KEY`); what was asked is recorded: ask again with the same release id")
}

// cosign asks the witnesses of an agreement that have not signed the checkpoint yet, all at
// once, until as many have as it demands. It gives what went wrong with the others; passed says
// that some of them are worth asking about the log as it is by now.
func (b *Broker) cosign(ctx context.Context, c ledger.Checkpoint, ledgers agreement.Ledgers) (problems []witnessTrouble, passed bool) {
	if b.cosigned.lines == nil || b.cosigned.size != c.Size {
		b.cosigned.size, b.cosigned.lines = c.Size, make(map[string]string)
	}
	if b.cosigned.known == nil {
		b.cosigned.known = make(map[string]int64)
	}
	ctx, cancel := context.WithTimeout(ctx, witnessPatience)
	defer cancel()
	type signed struct {
		name       wire.ID
		key, lines string
		err        error
	}
	signatures, asked, have := make(chan signed, len(ledgers.Witnesses)), 0, int64(0)
	for _, w := range ledgers.Witnesses {
		if b.cosigned.lines[w.Key] != "" {
			have++
			continue
		}
		witness := b.cfg.Witnesses[w.Key]
		if witness == nil {
			problems = append(problems, witnessTrouble{w.Name, errNotTold})
			continue
		}
		old, known := b.cosigned.known[w.Key]
		asked++
		go func() {
			lines, err := b.ask(ctx, witness, originOf(w.Key), c, old, known)
			if err == nil {
				err = ownLine(lines, w.Key)
			}
			signatures <- signed{w.Name, w.Key, lines, err}
		}()
	}
	for ; asked > 0 && have < ledgers.Quorum; asked-- {
		s := <-signatures
		if s.err != nil {
			delete(b.cosigned.known, s.key)
			passed = passed || errors.Is(s.err, errPassed)
			problems = append(problems, witnessTrouble{s.name, s.err})
			continue
		}
		b.cosigned.lines[s.key], b.cosigned.known[s.key] = s.lines, c.Size
		have++
	}
	return problems, passed
}

// ownLine demands that a witness gave one signature line in its own name: any other could
// take the place of somebody else's.
func ownLine(lines, key string) error {
	if !strings.HasPrefix(lines, "\u2014 "+originOf(key)+" ") || strings.Count(lines, "\n") != 1 || !strings.HasSuffix(lines, "\n") {
		return fmt.Errorf("answered with something else than one signature line of its own")
	}
	return nil
}

// ask has one witness sign a checkpoint that extends what it last signed. Where that is not
// known, or turns out to be something else, the witness is asked; if it has seen what this
// log, as it is now, does not extend, the broker locks.
func (b *Broker) ask(ctx context.Context, w Witness, name string, c ledger.Checkpoint, old int64, known bool) (lines string, err error) {
	if known {
		if lines, err = b.addCheckpoint(ctx, w, c, old); err == nil {
			return lines, nil
		}
	}
	note, err := w.Latest(ctx, b.origin)
	if err != nil {
		return "", err
	}
	old = 0
	if note != "" {
		seen, err := ledger.OpenCheckpoint(note, b.logKey)
		if err != nil {
			return "", fmt.Errorf("its checkpoint of this log: %w", err)
		}
		now, err := ledger.OpenCheckpoint(b.cfg.Log.Checkpoint(), b.logKey)
		if err != nil {
			return "", broken("a checkpoint signed by the log key of the descriptor", err)
		}
		if lock := b.compare(now, seen, "witness "+name); lock != nil {
			return "", b.shut(*lock)
		}
		if seen.Size > c.Size {
			return "", errPassed
		}
		old = seen.Size
	}
	lines, err = b.addCheckpoint(ctx, w, c, old)
	if err != nil && ctx.Err() == nil && b.cfg.Log.Size() > c.Size {
		err = fmt.Errorf("%w, or so it seems: %w", errPassed, err)
	}
	return lines, err
}

func (b *Broker) addCheckpoint(ctx context.Context, w Witness, c ledger.Checkpoint, old int64) (string, error) {
	proof, err := b.consistency(old, c.Size)
	if err != nil {
		return "", err
	}
	return w.AddCheckpoint(ctx, old, proof, c.Note)
}

// consistency proves that the log at size to extends that at size from; from an empty tree
// and between equal sizes there is nothing to prove.
func (b *Broker) consistency(from, to int64) ([]wire.Hash, error) {
	if from == 0 || from == to {
		return []wire.Hash{}, nil
	}
	return b.cfg.Log.Consistency(from, to)
}

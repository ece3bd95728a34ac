package broker

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"strongroom.dev/ledger"
	"strongroom.dev/wire"
)

// record queues an entry under the next number, with the decision kept for `why` in the same
// transaction: from here on it can't be lost, and drain brings it into the log.
func record(tx Tx, e ledger.Entry, d Decision, about ...string) (placed, error) {
	encoded, err := e.Encode()
	if err != nil {
		return placed{}, fmt.Errorf("entry %s: %w", e.Kind, err)
	}
	n, err := number(tx, metaNext)
	if err != nil {
		return placed{}, err
	}
	epoch, err := number(tx, metaEpoch)
	if err != nil {
		return placed{}, err
	}
	d.Number, d.Kind, d.TimeMS = n, e.Kind, e.TimeMS
	key := decisionKey(epoch, n)
	if err := addNumber(tx, metaCount+string(e.Kind), 1); err != nil {
		return placed{}, err
	}
	if err := insert(tx, tableDecisions, key, d.bounded()); err != nil {
		return placed{}, err
	}
	for _, id := range about {
		if err := tx.Put(tableSubjects, id+"/"+key, []byte("1")); err != nil {
			return placed{}, err
		}
	}
	if err := tx.Insert(tableQueue, entryKey(n), encoded); err != nil {
		return placed{}, err
	}
	return placed{n, wire.HashOf(encoded)}, putNumber(tx, metaNext, n+1)
}

// bounded cuts an explanation that is out of all proportion, or that quotes somebody's text
// which no document can hold: whoever asks for it later must get one.
func (d Decision) bounded() Decision {
	if data, err := wire.Marshal(d); err != nil || len(data) > maxExplained {
		d.Checks, d.Refusal = nil, d.Refusal[:min(len(d.Refusal), 60)]
	}
	if _, err := wire.Marshal(d); err != nil {
		d.Refusal = "refused, in words that can't be shown"
	}
	return d
}

type queuedEntry struct {
	number int64
	bytes  []byte
}

// queued reads the first entries, in order, that are not known to be in the log.
func (b *Broker) queued() (list []queuedEntry, err error) {
	err = b.cfg.State.View(func(tx Tx) error {
		var bad error
		size := 0
		err := tx.Scan(tableQueue, "", "", func(key string, value []byte) bool {
			n, err := strconv.ParseInt(key, 16, 64)
			if err != nil {
				bad = fmt.Errorf("queue key %.40q: %w", key, err)
				return false
			}
			list = append(list, queuedEntry{n, value})
			size += len(value)
			return len(list) < maxBatch && size < maxBatchBytes
		})
		if bad != nil {
			return bad
		}
		return err
	})
	return list, err
}

// drain brings every queued entry into the log, in order and at the index of its number,
// and keeps the checkpoint that covers them in the state, outside the log's directory.
// Whoever comes while another drains finds its own entry done: that is how concurrent
// releases share one append.
func (b *Broker) drain(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx) // a caller that hangs up must not leave half an append
	b.logMu.Lock()
	defer b.logMu.Unlock()
	for {
		if err := b.serving(); err != nil {
			return err
		}
		list, err := b.queued()
		if err != nil {
			return broken("to read the queue of records", err)
		}
		if len(list) == 0 {
			return nil
		}
		if err := b.appendBatch(ctx, list); err != nil {
			return err
		}
	}
}

// appendBatch appends what is not in the log yet and checks what is. The caller holds logMu.
func (b *Broker) appendBatch(ctx context.Context, list []queuedEntry) error {
	size := b.cfg.Log.Size()
	fresh, problem := b.notInLog(list, size)
	if problem != nil {
		return b.shut(*problem)
	}
	if len(fresh) > 0 {
		first, err := b.cfg.Log.Append(ctx, fresh)
		if err != nil {
			return broken("to append to the broker's log", err)
		}
		if first != size {
			return b.shut(Lock{Kind: LockForked, Size: size,
				Reason: fmt.Sprintf("an entry numbered %d went to index %d of the log: something else writes to it", size, first)})
		}
	}
	last := list[len(list)-1].number
	checkpoint, err := ledger.OpenCheckpoint(b.cfg.Log.Checkpoint(), b.logKey)
	if err != nil {
		return broken("a checkpoint signed by the log key of the descriptor", err)
	}
	if checkpoint.Size <= last {
		return broken("the log's checkpoint to cover entry "+strconv.FormatInt(last, 10), fmt.Errorf("it is of size %d", checkpoint.Size))
	}
	err = b.cfg.State.Update(func(tx Tx) error {
		for _, q := range list {
			if err := tx.Delete(tableQueue, entryKey(q.number)); err != nil {
				return err
			}
		}
		return tx.Put(tableMeta, metaCheckpoint, []byte(checkpoint.Note))
	})
	if err != nil {
		return broken("to keep the log's checkpoint", err)
	}
	return nil
}

// notInLog splits off the entries beyond the log's size. problem says why the queue can't be
// what the log holds or misses.
func (b *Broker) notInLog(list []queuedEntry, size int64) (fresh [][]byte, problem *Lock) {
	forked := func(detail, format string, args ...any) *Lock {
		return &Lock{Kind: LockForked, Size: size, Reason: fmt.Sprintf(format, args...), Detail: detail}
	}
	for _, q := range list {
		if q.number < size {
			there, err := b.cfg.Log.Entry(q.number)
			if err != nil {
				return nil, forked(err.Error(), "entry %d of the log can't be read", q.number)
			}
			if !bytes.Equal(there, q.bytes) {
				return nil, forked("", "entry %d of the log is not what this broker recorded", q.number)
			}
			continue
		}
		if want := size + int64(len(fresh)); q.number != want {
			return nil, forked("", "the next record to append is numbered %d, the log ends at %d", q.number, want)
		}
		fresh = append(fresh, q.bytes)
	}
	return fresh, nil
}

// receipt proves a record that was brought into the log, and checks that what stands there
// is that record: after a confirmed rollback another one may stand at its number.
func (b *Broker) receipt(p placed) (ledger.Receipt, error) {
	r, err := b.cfg.Log.Receipt(p.Number)
	if err != nil {
		return r, broken("a receipt of entry "+strconv.FormatInt(p.Number, 10), err)
	}
	if wire.HashOf(r.Entry) != p.Entry {
		return r, lostRecord()
	}
	return r, nil
}

package room

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/proof"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container"
)

// letOutLogs seals a piece of what the container printed to those who may read it, each with
// a proof that this room did (spec/proof.md, section 5), as long as every lease holds. Before
// the last piece every owner's broker is asked whether the run may still go on.
func (s *service) letOutLogs(ctx context.Context, piece container.Printed) {
	s.mu.Lock()
	s.pieces++
	n := s.pieces
	s.mu.Unlock()
	err := s.mayLeave(ctx) // an answer must not give life to a lease that has lapsed
	if err == nil && piece.Last {
		err = s.stillLive(ctx)
	}
	if err != nil {
		s.notice("room.logs", verdict.As(err).Check)
		if verdict.As(err).Check == codeRefused {
			s.mu.Lock()
			s.no = err
			s.mu.Unlock()
		}
		return
	}
	for _, id := range s.agreed.Logs.Receivers {
		if err := s.sealLogs(ctx, id, n, piece); err != nil {
			s.notice("room.logs", verdict.As(err).Check)
		}
	}
}

// stillLive asks every owner's broker whether the run may still go on.
func (r *run) stillLive(ctx context.Context) error {
	return each(ctx, r.owners, func(ctx context.Context, o *owner) error {
		for w := r.waiter(); ; {
			_, _, err := r.liveOf(ctx, o, nil, nil)
			if err == nil {
				return nil
			}
			if !passing(err) {
				return saidNo(err)
			}
			if !w.again(ctx, o.stream()) {
				return givenUp(err)
			}
		}
	})
}

// mayLeave gives what ended the run, a lease that has lapsed included, which ends it.
func (r *run) mayLeave(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_, err := r.leases.check()
	if err != nil {
		r.cancel(err)
	}
	return err
}

// sealLogs lets out a piece to one receiver. The lease is looked at last before the file
// leaves: sealing is quick, what the host did meanwhile may not be.
func (s *service) sealLogs(ctx context.Context, id wire.ID, n int, piece container.Printed) error {
	if err := s.mayLeave(ctx); err != nil {
		return err
	}
	file, err := s.Memory("logs")
	if err != nil {
		return err
	}
	defer file.Close()
	size, proven, err := s.proveLogs(file, id, n, piece)
	if err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := s.mayLeave(ctx); err != nil {
		return err
	}
	name := fmt.Sprintf("logs-%s-%s-%d", id, s.request.RunID[:8], n)
	if err := s.File(name+".age", file, size); err != nil {
		return err
	}
	return s.File(name+".proof", bytes.NewReader(proven), int64(len(proven)))
}

// proveLogs seals a piece into a file, and makes its proof.
func (s *service) proveLogs(file *os.File, id wire.ID, n int, piece container.Printed) (size int64, proven []byte, err error) {
	to, err := recipients(s.party(id))
	if err != nil {
		return 0, nil, err
	}
	padded, err := paddedLogs(piece.Text, s.agreed.Logs)
	if err != nil {
		return 0, nil, err
	}
	hash := sha256.New()
	sealed, err := seal.Seal(io.MultiWriter(file, hash), padded, to, seal.Options{})
	if err != nil {
		return 0, nil, err
	}
	proven, err = s.logsProof(proof.Logs{Agreement: s.agreement.Digest(), Run: s.request.Digest(), RunID: s.request.RunID, Receiver: id, Number: int64(n),
		Last: piece.Last, Dropped: atMost(piece.Dropped), File: wire.Hash(hash.Sum(nil)), Size: sealed.Size, TimeMS: s.clock.now().UnixMilli()})
	return sealed.Size, proven, err
}

// logsProof gives the proof of a piece: what a result's has, without the brokers' last words
// and the records, which nobody makes of logs.
func (s *service) logsProof(l proof.Logs) ([]byte, error) {
	doc, err := keys.NewDocument(proof.LogsType, l)
	if err != nil {
		return nil, err
	}
	signed, err := s.signed(doc)
	if err != nil {
		return nil, err
	}
	b := s.bundle(&letOut{document: signed}, []ledger.Receipt{})
	b.Lives, b.Consistency = []json.RawMessage{}, [][]wire.Hash{}
	return b.Encode()
}

// logsBucket is the size of every piece of a run's logs before it is sealed: a power of two
// that depends on the agreement alone, so that a host can count pieces, not lines.
func logsBucket(l agreement.Logs) int64 {
	size := int64(4 << 10)
	for size < min(l.MaxBytes, container.LogPiece) {
		size *= 2
	}
	return size
}

// paddedLogs gives a piece's text, which is whole lines or empty, and zeros behind it.
func paddedLogs(text []byte, l agreement.Logs) (io.Reader, error) {
	fill := logsBucket(l) - int64(len(text))
	if fill < 0 {
		return nil, fmt.Errorf("a piece of logs of %d bytes", len(text))
	}
	return io.MultiReader(bytes.NewReader(text), bytes.NewReader(make([]byte, fill))), nil
}

// atMost rounds a number of bytes up to a power of two: hosts read it.
func atMost(n int64) int64 {
	out := int64(0)
	for out < n && out < 1<<52 {
		out = max(1, out*2)
	}
	return out
}

// ReadLogs copies the lines of a piece of logs from src, without the zeros behind the last
// (spec/container.md, section 4.5). What was written counts only if the error is nil.
func ReadLogs(dst io.Writer, src io.Reader) error {
	held, last := int64(0), byte('\n') // zeros that more text may follow, and what came before them
	buffer := make([]byte, 32<<10)
	for {
		n, err := src.Read(buffer)
		if text := bytes.TrimRight(buffer[:n], "\x00"); len(text) > 0 {
			if _, err := io.CopyN(dst, zeros{}, held); err != nil {
				return err
			}
			if _, err := dst.Write(text); err != nil {
				return err
			}
			held, last = int64(n-len(text)), text[len(text)-1]
		} else {
			held += int64(n)
		}
		switch {
		case err == io.EOF && last != '\n':
			return verdict.NotGenuine("logs.piece", "whole lines, and zeros behind them", "a line without an end", "do not use it: ask for the run to be done again")
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// zeros gives them without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

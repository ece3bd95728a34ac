package room

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"

	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/proof"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container"
)

// letOutLogs seals a piece of what the container printed to those who may read it, each with
// a proof that this room did (spec/proof.md, section 5).
func (s *service) letOutLogs(piece container.Printed) {
	s.mu.Lock()
	s.pieces++
	n := s.pieces
	s.mu.Unlock()
	for _, id := range s.agreed.Logs.Receivers {
		if err := s.sealLogs(id, n, piece); err != nil {
			s.notice("room.logs", verdict.As(err).Check)
		}
	}
}

func (s *service) sealLogs(id wire.ID, n int, piece container.Printed) error {
	to, err := recipients(s.party(id))
	if err != nil {
		return err
	}
	file, err := s.Memory("logs")
	if err != nil {
		return err
	}
	defer file.Close()
	hash := sha256.New()
	sealed, err := seal.Seal(io.MultiWriter(file, hash), bytes.NewReader(piece.Text), to, seal.Options{})
	if err != nil {
		return err
	}
	proven, err := s.logsProof(proof.Logs{Agreement: s.agreement.Digest(), Run: s.request.Digest(), RunID: s.request.RunID, Receiver: id, Number: int64(n),
		Last: piece.Last, Dropped: piece.Dropped, File: wire.Hash(hash.Sum(nil)), Size: sealed.Size, TimeMS: s.clock.now().UnixMilli()})
	if err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	name := fmt.Sprintf("logs-%s-%s-%d", id, s.request.RunID[:8], n)
	if err := s.File(name+".age", file, sealed.Size); err != nil {
		return err
	}
	return s.File(name+".proof", bytes.NewReader(proven), int64(len(proven)))
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

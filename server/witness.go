package server

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"strongroom.dev/internal/durable"
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// maxWitnessed bounds the logs a witness keeps checkpoints of: with anybody's logs, 10,000
// files of 1 KiB.
const maxWitnessed = 10_000

// Witness cosigns the checkpoints of other logs, never two that disagree. It keeps the last
// checkpoint of each log in a file of its own, durable before the cosignature leaves.
//
// A log is known by its origin, and its key is fixed: by the operator, or, if the witness
// takes anybody's, by the first checkpoint. One origin never has two keys, since a
// cosignature says nothing about the key: with two, a log could fork under its second one.
type Witness struct {
	dir      string
	signer   *ledger.Signer
	firstKey bool
	now      func() time.Time

	mu   sync.Mutex
	logs map[string]witnessedLog // by origin
}

// witnessedLog is a log's key and the last checkpoint cosigned, with the log's signature.
// Its JSON is the witness's file.
type witnessedLog struct {
	Key        string `json:"key"`
	Checkpoint string `json:"checkpoint"` // "" until there is one
	last       ledger.Checkpoint
}

// OpenWitness opens a witness's directory, making it if need be. keys are the verifier keys
// of the logs it cosigns; insecureFirstKey makes it take other logs too, with whatever key
// comes first, so that anybody can occupy a name. The caller sees to it that the directory
// is used by one process.
func OpenWitness(dir string, signer *ledger.Signer, keys []string, insecureFirstKey bool, now func() time.Time) (*Witness, error) {
	w := &Witness{dir: dir, signer: signer, firstKey: insecureFirstKey, now: now, logs: map[string]witnessedLog{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := durable.SyncDir(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	if err := w.load(); err != nil {
		return nil, err
	}
	for _, key := range keys {
		if err := w.configure(key); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *Witness) load() error {
	names, err := filepath.Glob(filepath.Join(w.dir, "*.json"))
	if err != nil {
		return err
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var l witnessedLog
		if err = wire.Unmarshal(data, &l); err == nil {
			l.last, err = ledger.OpenCheckpoint(l.Checkpoint, l.Key)
		}
		if err == nil && w.file(l.last.Origin) != name {
			err = errors.New("a file of another log")
		}
		if err != nil {
			return &verdict.Error{Kind: verdict.Broken, Check: "witness.state", Expected: "a witness's file", Got: verdict.Short(err.Error()), Where: name, Err: err,
				Fix: "restore it; without it this witness could sign two histories, so if it is lost retire the witness's key"}
		}
		w.logs[l.last.Origin] = l
	}
	return nil
}

// configure fixes the key of a log.
func (w *Witness) configure(key string) error {
	origin, err := ledger.OriginOf(key)
	if err != nil {
		return verdict.Misuse("witness.key", "a log's verifier key", verdict.Short(err.Error()), "copy it as the log's owner shows it")
	}
	if known, found := w.logs[origin]; found && known.Key != key {
		return verdict.Refuse("witness.key", "the key this witness knows "+origin+" by: "+known.Key, key, "a log keeps its name and key together: a new key needs a new name")
	}
	if _, found := w.logs[origin]; !found {
		w.logs[origin] = witnessedLog{Key: key}
	}
	return nil
}

func (w *Witness) file(origin string) string {
	hash := wire.HashOf([]byte(origin))
	return filepath.Join(w.dir, hex.EncodeToString(hash[:])+".json")
}

// conflict is a checkpoint that does not follow the one cosigned last.
type conflict struct {
	withStatus
	last ledger.Checkpoint // zero if there is none
}

// Add cosigns a checkpoint that extends the last one of its log, and returns the signature
// line. In conflict with the last one it changes nothing.
func (w *Witness) Add(ask ledger.AddCheckpoint) (line string, err error) {
	read, err := ledger.ReadCheckpoint(ask.Checkpoint)
	if err != nil {
		return "", withStatus{http.StatusBadRequest, err}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	log, found := w.logs[read.Origin]
	if !found {
		if log, err = w.admit(read.Origin, ask.Key); err != nil {
			return "", err
		}
	}
	c, err := ledger.OpenCheckpoint(ask.Checkpoint, log.Key)
	if err != nil {
		return "", withStatus{http.StatusForbidden, err}
	}
	if log.last.Origin == "" { // none yet: the empty tree
		log.last = ledger.Checkpoint{Origin: c.Origin, Root: wire.HashOf(nil)}
	}
	if err := follows(ask, log.last, c); err != nil {
		return "", err
	}
	if c.Size > log.last.Size || log.Checkpoint == "" {
		if err := w.keep(log, c); err != nil {
			return "", err
		}
	}
	return w.signer.Cosign(c, w.now())
}

// admit takes a log that the operator did not name.
func (w *Witness) admit(origin, key string) (witnessedLog, error) {
	named, err := ledger.OriginOf(key)
	switch {
	case !w.firstKey:
		return witnessedLog{}, withStatus{http.StatusNotFound, verdict.Refuse("witness.unknown", "a log this witness was told to cosign", origin, "give its verifier key to the witness's operator: ledger serve --witness")}
	case err != nil || named != origin:
		return witnessedLog{}, withStatus{http.StatusNotFound, verdict.Refuse("witness.unknown", "the verifier key of "+origin+", which this witness has not seen before", verdict.Short(key), "send the log's key along")}
	case len(w.logs) >= maxWitnessed:
		return witnessedLog{}, verdict.Refuse("witness.full", fmt.Sprintf("at most %d logs", maxWitnessed), "one more", "name another witness")
	}
	return witnessedLog{Key: key}, nil
}

// follows demands that the checkpoint extends the last one cosigned.
func follows(ask ledger.AddCheckpoint, last, c ledger.Checkpoint) error {
	if ask.Old < 0 || ask.Old > c.Size {
		return verdict.Misuse("witness.old", fmt.Sprintf("an old size of 0 to %d, the checkpoint's", c.Size), fmt.Sprint(ask.Old), "send the size this witness cosigned last")
	}
	if c.Size >= last.Size && ask.Old != last.Size {
		return conflict{withStatus{http.StatusConflict, verdict.Refuse("witness.old", fmt.Sprintf("a proof from %d entries, cosigned last", last.Size), fmt.Sprintf("from %d", ask.Old), "prove from the checkpoint that comes with this answer")}, last}
	}
	err := ledger.CheckConsistency(ask.Proof, last, c)
	if err != nil && (c.Size < last.Size || verdict.As(err).Check == "ledger.fork") {
		return conflict{withStatus{http.StatusConflict, err}, last}
	}
	return err
}

// keep makes c the last checkpoint of its log, durably. Signatures that others added stay
// out: nobody else decides how large the file is.
func (w *Witness) keep(log witnessedLog, c ledger.Checkpoint) error {
	note, err := ledger.KeepSignature(c.Note, log.Key)
	if err != nil {
		return err
	}
	log.Checkpoint, log.last = note, c
	log.last.Note = note
	data, err := wire.Marshal(log)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(w.file(c.Origin), data, 0o600); err != nil {
		return fmt.Errorf("keeping the checkpoint of %s: %w", c.Origin, err)
	}
	w.logs[c.Origin] = log
	return nil
}

// Latest gives the last checkpoint cosigned of a log, cosigned anew as of now; "" if there
// is none.
func (w *Witness) Latest(origin string) (note string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest(origin)
}

func (w *Witness) latest(origin string) (note string, err error) {
	log := w.logs[origin]
	if log.Checkpoint == "" {
		return "", nil
	}
	line, err := w.signer.Cosign(log.last, w.now())
	if err != nil {
		return "", err
	}
	return ledger.AddSignatures(log.Checkpoint, line)
}

// Answer is Latest with a signed statement that answers a nonce.
func (w *Witness) Answer(ask ledger.WitnessedRequest) (a ledger.WitnessedAnswer, err error) {
	if ask.Nonce.IsZero() {
		return a, verdict.Misuse("witness.nonce", "32 fresh random bytes", "zeros", "ask with a fresh nonce")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var last *ledger.Checkpoint
	if log := w.logs[ask.Origin]; log.Checkpoint != "" {
		last = &log.last
	}
	if a.Checkpoint, err = w.latest(ask.Origin); err != nil {
		return a, err
	}
	if a.Statement, err = w.signer.SignWitnessed(ask.Nonce, ask.Origin, last, w.now()); err != nil {
		return a, verdict.Misuse("witness.origin", "a log's name", verdict.Short(err.Error()), "correct the name")
	}
	return a, nil
}

// size gives how many logs have a checkpoint cosigned.
func (w *Witness) size() (n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, log := range w.logs {
		if log.Checkpoint != "" {
			n++
		}
	}
	return n
}

// writeConflict answers 409 with the error document and, in the member checkpoint, the last
// checkpoint cosigned ("" if there is none).
func writeConflict(w http.ResponseWriter, c conflict) {
	document := map[string]json.RawMessage{}
	note, err := json.Marshal(c.last.Note)
	if err == nil {
		err = json.Unmarshal(verdict.Encode(c.error), &document)
	}
	if err != nil {
		writeError(w, nil, err)
		return
	}
	document["checkpoint"] = note
	data, err := json.Marshal(document)
	if err != nil {
		writeError(w, nil, err)
		return
	}
	writeBody(w, http.StatusConflict, "application/json", data)
}

// ReadWitnesses reads a file of verifier keys, one a line; "#" starts a comment line.
func ReadWitnesses(path string) (keys []string, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, verdict.Misuse("witness.file", "a file of verifier keys", path+" is not there", "correct the name")
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			keys = append(keys, line)
		}
	}
	return keys, nil
}

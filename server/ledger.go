package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/proof"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Ledger is the interface of a shared ledger and witness (spec/ledger.md, section 8). Nobody
// proves who they are: what it records is signed by rooms, what it cosigns by logs.
type Ledger struct {
	Log     *tilelog.Log
	Witness *Witness
	Key     string // the ledger's own verifier key
	// PerSecond and Burst bound the entries taken: all that comes in one burst, and on the
	// average. At least 1 each; a server without them takes no entries.
	PerSecond, Burst int
	Now              func() time.Time
	Logger           *slog.Logger // nil: nobody is told
}

// Handler gives the interface as a handler.
func (l Ledger) Handler() http.Handler {
	h := &ledgerHandler{Ledger: l, tokens: float64(l.Burst), at: l.Now()}
	mux := http.NewServeMux()
	for pattern, f := range map[string]answer{
		"POST " + ledger.PathEntries:       h.addEntry,
		"GET " + ledger.PathReceipt:        h.receipt,
		"GET " + ledger.PathRecord:         h.record,
		"GET " + ledger.PathConsistency:    h.consistency,
		"GET " + ledger.PathCheckpoint:     h.checkpoint,
		"POST " + ledger.PathAddCheckpoint: h.addCheckpoint,
		"POST " + ledger.PathWitnessed:     h.witnessedNonce,
		"GET " + ledger.PathWitnessed:      h.witnessed,
		"GET " + ledger.PathLedgerStatus:   h.status,
		"GET /checkpoint":                  h.checkpoint,
		"GET /tile/{path...}":              h.tile,
		"POST /add-checkpoint":             h.addCheckpointText,
	} {
		mux.HandleFunc(pattern, answering(l.Logger, f))
	}
	return mux
}

type ledgerHandler struct {
	Ledger
	mu     sync.Mutex // guards what follows
	tokens float64    // entries that may come now
	at     time.Time  // when tokens was right
	recent recent

	records records
}

// addEntry takes the record of a run. The same bytes again give the receipt of the entry
// that is there: a room that lost the answer asks again.
func (h *ledgerHandler) addEntry(w http.ResponseWriter, r *http.Request) error {
	data, err := readBody(w, r, ledger.MaxEntry)
	if err != nil {
		return err
	}
	if err := CheckRunRecord(data); err != nil {
		return err
	}
	index, known := h.seen(ledger.LeafHash(data))
	if !known {
		if err := h.admit(w); err != nil {
			return err
		}
		if index, err = h.Log.Append(r.Context(), [][]byte{data}); err != nil {
			return err
		}
		h.remember(ledger.LeafHash(data), index)
	}
	receipt, err := h.Log.Receipt(index)
	if err != nil {
		return err
	}
	writeJSON(w, receipt)
	return nil
}

// CheckRunRecord demands that an entry is the record of a run as rooms make it: of kind
// "run", its public part a document signed by the room key that stands in it, about the run
// that the entry names. Whether that room is anybody's is for those who know the run.
func CheckRunRecord(data []byte) error {
	_, _, err := runRecord(data)
	return err
}

// runRecord is CheckRunRecord with what it read.
func runRecord(data []byte) (entry ledger.Entry, record proof.Record, err error) {
	entry, err = ledger.ParseEntry(data)
	if err != nil {
		return entry, record, err
	}
	if entry.Kind != "run" {
		return entry, record, verdict.Refuse("ledger.kind", "an entry of kind run", string(entry.Kind), "a shared ledger records runs; other events belong in their owner's log")
	}
	doc, err := keys.ParseDocument(entry.Public, proof.RecordType, &record)
	if err != nil {
		return entry, record, verdict.Misuse("ledger.record", "a public part of type "+proof.RecordType, verdict.Short(err.Error()), "see spec/proof.md")
	}
	if n, err := doc.SignedBy([]keys.PublicKey{record.Room}); err != nil || n != 1 || len(doc.Signatures) != 1 {
		return entry, record, verdict.NotGenuine("ledger.record", "one signature, by the record's room key", fmt.Sprintf("%d signatures, %d of them by it", len(doc.Signatures), n), "send the record as the room signed it")
	}
	if entry.Agreement == nil || entry.Run == nil || *entry.Agreement != record.Agreement || *entry.Run != record.Run || entry.RunID != record.RunID {
		return entry, record, verdict.Misuse("ledger.record", "an entry and a record about one run", "two runs", "send the record as the room made it")
	}
	return entry, record, nil
}

// admit spends one entry of the rate.
func (h *ledgerHandler) admit(w http.ResponseWriter) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.Now()
	if passed := now.Sub(h.at).Seconds(); passed > 0 {
		h.tokens, h.at = min(h.tokens+passed*float64(h.PerSecond), float64(h.Burst)), now
	}
	if h.tokens < 1 {
		w.Header().Set("Retry-After", "1")
		return withStatus{http.StatusTooManyRequests, verdict.Refuse("ledger.rate", fmt.Sprintf("at most %d entries a second", h.PerSecond), "more", "wait a second and send it again")}
	}
	h.tokens--
	return nil
}

func (h *ledgerHandler) seen(leaf wire.Hash) (int64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	index, known := h.recent.index[leaf]
	return index, known
}

func (h *ledgerHandler) remember(leaf wire.Hash, index int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recent.add(leaf, index)
}

// recent are the last entries taken, by leaf hash: enough for retries, bounded.
type recent struct {
	index map[wire.Hash]int64
	order []wire.Hash
}

// maxRecent is how many entries are remembered: at the default rate, more than a minute's.
const maxRecent = 4096

func (r *recent) add(leaf wire.Hash, index int64) {
	if r.index == nil {
		r.index = make(map[wire.Hash]int64)
	}
	r.index[leaf] = index
	if r.order = append(r.order, leaf); len(r.order) > maxRecent {
		delete(r.index, r.order[0])
		r.order = r.order[1:]
	}
}

func (h *ledgerHandler) receipt(w http.ResponseWriter, r *http.Request) error {
	index, err := number(r, "index")
	if err != nil {
		return err
	}
	receipt, err := h.Log.Receipt(index)
	if err != nil {
		return err
	}
	writeJSON(w, receipt)
	return nil
}

func (h *ledgerHandler) consistency(w http.ResponseWriter, r *http.Request) error {
	from, err := number(r, "from")
	if err != nil {
		return err
	}
	to, err := number(r, "to")
	if err != nil {
		return err
	}
	hashes, err := h.Log.Consistency(from, to)
	if err != nil {
		return err
	}
	writeJSON(w, ledger.Consistency{Proof: hashes})
	return nil
}

// number reads one member of a query as a number from 0.
func number(r *http.Request, name string) (int64, error) {
	text := r.URL.Query().Get(name)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != text {
		return 0, verdict.Misuse("request", name+"=N, a number from 0", verdict.Short(text), "correct the request")
	}
	return n, nil
}

const notePlain = "text/plain; charset=utf-8"

func (h *ledgerHandler) checkpoint(w http.ResponseWriter, _ *http.Request) error {
	writeBody(w, http.StatusOK, notePlain, []byte(h.Log.Checkpoint()))
	return nil
}

func (h *ledgerHandler) status(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, ledger.Status{Key: h.Key, Size: h.Log.Size(), Witnessed: h.Witness.size(), AnyLog: h.Witness.firstKey})
	return nil
}

// tile serves hash tiles and entry bundles (C2SP tlog-tiles). A tile never changes.
func (h *ledgerHandler) tile(w http.ResponseWriter, r *http.Request) error {
	level, n, width, err := tilelog.ParseTilePath(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil {
		return withStatus{http.StatusNotFound, verdict.Misuse("ledger.tile", "a path like /tile/0/000", verdict.Short(r.URL.Path), "see C2SP tlog-tiles")}
	}
	var data []byte
	if level < 0 {
		data, err = h.Log.Bundle(n, width)
	} else {
		data, err = h.Log.Tile(level, n, width)
	}
	if err != nil {
		if verdict.As(err).Kind == verdict.Usage {
			err = withStatus{http.StatusNotFound, err}
		}
		return err
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	writeBody(w, http.StatusOK, "application/octet-stream", data)
	return nil
}

func (h *ledgerHandler) addCheckpoint(w http.ResponseWriter, r *http.Request) error {
	var ask ledger.AddCheckpoint
	if err := readJSON(w, r, ledger.MaxRequest, &ask); err != nil {
		return err
	}
	line, err := h.Witness.Add(ask)
	var c conflict
	if errors.As(err, &c) {
		writeConflict(w, c)
		return nil
	}
	if err != nil {
		return err
	}
	writeJSON(w, ledger.Cosigned{Cosignature: line})
	return nil
}

// addCheckpointText is C2SP tlog-witness's form of the same.
func (h *ledgerHandler) addCheckpointText(w http.ResponseWriter, r *http.Request) error {
	data, err := readBody(w, r, ledger.MaxRequest)
	if err != nil {
		return err
	}
	ask, err := ledger.ParseAddCheckpoint(string(data))
	if err != nil {
		return err
	}
	line, err := h.Witness.Add(ask)
	var c conflict
	if errors.As(err, &c) {
		writeBody(w, http.StatusConflict, "text/x.tlog.size", fmt.Appendf(nil, "%d\n", c.last.Size))
		return nil
	}
	if err != nil {
		return err
	}
	writeBody(w, http.StatusOK, notePlain, []byte(line))
	return nil
}

func (h *ledgerHandler) witnessedNonce(w http.ResponseWriter, r *http.Request) error {
	var ask ledger.WitnessedRequest
	if err := readJSON(w, r, ledger.MaxRequest, &ask); err != nil {
		return err
	}
	a, err := h.Witness.Answer(ask)
	if err != nil {
		return err
	}
	writeJSON(w, a)
	return nil
}

func (h *ledgerHandler) witnessed(w http.ResponseWriter, r *http.Request) error {
	note, err := h.Witness.Latest(r.URL.Query().Get("origin"))
	if err != nil {
		return err
	}
	if note == "" {
		return withStatus{http.StatusNotFound, verdict.Refuse("witness.unknown", "a log this witness has cosigned", verdict.Short(r.URL.Query().Get("origin")), "correct the name")}
	}
	writeBody(w, http.StatusOK, notePlain, []byte(note))
	return nil
}

package room

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/policy"
	"strongroom.dev/proof"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Detail is what only one owner learns of a run: the plaintext of its sealed part of the
// record (spec/result.md, section 5). It is padded with spaces to one size for all.
type Detail struct {
	Run    wire.Digest `json:"run"`
	RunID  string      `json:"run_id"`
	Status Status      `json:"status"`
	Code   string      `json:"code"`
	// Withheld is how many rows were left out for this owner's sake.
	Withheld int64 `json:"withheld"`
	// Plan and SQL are the checked query as it ran.
	Plan wire.Hash `json:"plan"`
	SQL  string    `json:"sql"`
	// Phase, Input and Reason say why there is no answer, where that is this owner's to know:
	// the failure was about its own input, or about no single one.
	Phase   string  `json:"phase"`
	Input   wire.ID `json:"input,omitempty"`
	Reason  string  `json:"reason"`
	Timings timings `json:"timings"`
	// Volumes are those of a container whose keys are this owner's; as many as there is room for.
	Volumes []Volume `json:"volumes,omitempty"`
	// Budgets are those of this owner's inputs under differential privacy, before and after the
	// run; as many as there is room for.
	Budgets []policy.Spending `json:"budgets,omitempty"`
}

// Volume is how a container's volume was, by the input that holds its key.
type Volume struct {
	Input      wire.ID `json:"input"`
	Protection string  `json:"protection"` // fscrypt: confidential but not authenticated
	Generation int64   `json:"generation"`
	// Unclean: whoever had it last did not close it, so that its generation alone was checked.
	Unclean bool `json:"unclean"`
	// Closed: this run closed it, and the owner's broker has its root.
	Closed bool `json:"closed"`
}

// detailSize gives the size of each owner's detail: as large as fits a ledger entry with all
// the others. It is an error if there are too many owners for one entry.
func (r *run) detailSize() (int, error) {
	stanzas := 0
	for _, o := range r.owners {
		stanzas += len(o.party.Broker.Data)
	}
	const most, least = 8 << 10, 1 << 10
	const stanza, frame = 1700, 400 // a hybrid stanza; header, MAC, nonce, tag and JSON
	left := maxSealedParts*3/4 - stanzas*stanza - len(r.owners)*frame
	size := min(left/max(1, len(r.owners)), most)
	if size < least {
		return 0, verdict.Refuse("room.owners", "so few owners and data recipients that a record holds a part for each", fmt.Sprintf("%d owners, %d recipients", len(r.owners), stanzas),
			"read the data of fewer owners in one run")
	}
	return size, nil
}

// detail gives what one owner learns.
func (r *run) detail(o *owner, result outcome) Detail {
	d := Detail{Run: r.request.Digest(), RunID: r.request.RunID, Status: OK, Code: result.code, Withheld: result.withheld[o.id], Plan: result.plan,
		SQL: result.text, Timings: r.timings, Budgets: o.spendings}
	for _, v := range result.volumes {
		if r.owns(o, v.Input) {
			d.Volumes = append(d.Volumes, Volume{v.Input, v.Protection, v.Generation, v.Unclean, v.Closed})
		}
	}
	if result.code == "" {
		return d
	}
	d.Status = Failed
	alone := len(r.owners) == 1
	f := result.failure
	if f != nil && (f.Input == "" || alone || r.owns(o, f.Input)) {
		d.Phase, d.Input, d.Reason = string(f.Phase), f.Input, f.Code+": "+f.Detail
	}
	if f == nil && alone { // what an engine prints as it breaks may be anybody's
		d.Reason = result.said
	}
	return d
}

func (r *run) owns(o *owner, name wire.ID) bool {
	return slices.ContainsFunc(o.inputs, func(in *input) bool { return in.agreed.Name == name })
}

// encode gives the detail at its fixed size; long texts are cut to fit.
func (d Detail) encode(size int) ([]byte, error) {
	for {
		data, err := json.Marshal(d)
		if err != nil {
			return nil, err
		}
		if over := len(data) - size; over > 0 {
			switch {
			case d.SQL != "":
				d.SQL = cutText(d.SQL, over)
			case d.Reason != "":
				d.Reason = cutText(d.Reason, over)
			case len(d.Volumes) > 0:
				d.Volumes = d.Volumes[:len(d.Volumes)-1]
			case len(d.Budgets) > 0:
				d.Budgets = d.Budgets[:len(d.Budgets)-1]
			default:
				return nil, fmt.Errorf("a detail of %d bytes", len(data))
			}
			continue
		}
		return append(data, bytes.Repeat([]byte(" "), size-len(data))...), nil
	}
}

// cutText takes at least n bytes off the end, whole characters only.
func cutText(text string, n int) string {
	keep := max(0, len(text)-n)
	for keep > 0 && text[keep]&0xc0 == 0x80 {
		keep--
	}
	return text[:keep]
}

// ledgerGrace is how long a room waits for more ledgers than it needs.
const ledgerGrace = 500 * time.Millisecond

// record writes the run into the shared ledgers: a signed public part of one shape whatever
// the data, and a part sealed to each owner (R19). It gives the receipts of at least as many
// ledgers as the agreement's quorum says.
func (r *run) record(ctx context.Context, result outcome, outs []*letOut, commitment wire.Digest) ([]ledger.Receipt, error) {
	entry, err := r.entry(result, outs, commitment)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	receipts := []ledger.Receipt{}
	var last error
	var all sync.WaitGroup
	waiting, enough := context.WithCancel(ctx)
	defer enough()
	if r.agreement.Ledgers.Quorum == 0 {
		time.AfterFunc(ledgerGrace, enough)
	}
	for _, w := range r.witnesses() {
		all.Go(func() {
			receipt, err := r.post(waiting, w, entry)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				last = err
				return
			}
			receipts = append(receipts, receipt)
			if int64(len(receipts)) == r.agreement.Ledgers.Quorum { // the others get a moment more
				time.AfterFunc(ledgerGrace, enough)
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if int64(len(receipts)) < r.agreement.Ledgers.Quorum {
		return nil, &verdict.Error{Kind: verdict.Broken, Check: codeLedger, Expected: codes[codeLedger][0], Got: fmt.Sprint(len(receipts)), Fix: codes[codeLedger][1], Err: last}
	}
	return receipts, nil
}

func (r *run) post(ctx context.Context, w ledger.Witness, entry []byte) (ledger.Receipt, error) {
	data, err := r.insist(ctx, "ledger/"+string(w.Name), ledger.PathEntries, entry, maxLedgerAnswer)
	if err != nil {
		return ledger.Receipt{}, err
	}
	var receipt ledger.Receipt
	if err := wire.Unmarshal(bytes.TrimRight(data, "\n"), &receipt); err != nil {
		return ledger.Receipt{}, err
	}
	if _, _, err := receipt.Verify(w.Key, nil, 0); err != nil {
		return ledger.Receipt{}, err
	}
	if !bytes.Equal(receipt.Entry, entry) {
		return ledger.Receipt{}, verdict.NotGenuine("ledger.receipt", "a receipt of this run's record", "one of another entry", "ask the ledger's operator")
	}
	return receipt, nil
}

func (r *run) entry(result outcome, outs []*letOut, commitment wire.Digest) ([]byte, error) {
	agreed, request := r.agreement.Digest(), r.request.Digest()
	record := proof.Record{Agreement: agreed, Run: request, RunID: r.request.RunID, Room: r.signing.Public(), Class: r.agreement.Protection,
		Evidence: r.evidenceDigests(), Datasets: r.request.Datasets, Commitment: commitment, Results: []wire.Digest{}, Sealed: []proof.SealedPart{}}
	for _, out := range outs {
		record.Results = append(record.Results, out.statement.Digest())
	}
	e := ledger.Entry{Kind: "run", TimeMS: r.clock.now().UnixMilli(), Agreement: &agreed, Run: &request, RunID: r.request.RunID}
	for _, o := range r.owners {
		sealed, err := r.sealDetail(o, result)
		if err != nil {
			return nil, err
		}
		e.Sealed = append(e.Sealed, ledger.SealedPart{Party: o.id, Sealed: sealed})
		record.Sealed = append(record.Sealed, proof.SealedPart{Party: o.id, Hash: wire.HashOf(sealed)})
	}
	doc, err := keys.NewDocument(proof.RecordType, record)
	if err != nil {
		return nil, err
	}
	if e.Public, err = r.signed(doc); err != nil {
		return nil, err
	}
	return e.Encode()
}

func (r *run) sealDetail(o *owner, result outcome) ([]byte, error) {
	size, err := r.detailSize()
	if err != nil {
		return nil, err
	}
	data, err := r.detail(o, result).encode(size)
	if err != nil {
		return nil, err
	}
	to, err := parseRecipients(o.party.Broker.Data)
	if err != nil {
		return nil, err
	}
	var sealed bytes.Buffer
	_, err = seal.Seal(&sealed, bytes.NewReader(data), to, seal.Options{})
	return sealed.Bytes(), err
}

package room

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/proof"
	"strongroom.dev/release"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// letOut is one sealed result on its way out.
type letOut struct {
	receiver  wire.ID
	file      *os.File
	size      int64
	statement *keys.Document
	document  []byte
}

// finish computes, asks every owner's broker whether this very output may leave, seals it,
// records the run, and only then hands results and proofs to the host.
func (r *run) finish(ctx context.Context) error {
	began := r.Elapsed()
	result, err := r.task.do(ctx)
	if err != nil || r.work.Output == "" {
		return err
	}
	if err := r.bucket(ctx, began); err != nil {
		return err
	}
	if err := r.step(Computed); err != nil {
		return err
	}
	head := Head{Agreement: r.agreement.Digest(), Run: r.request.Digest(), RunID: r.request.RunID, Work: r.work.Name, Output: r.output.Name,
		Format: r.output.Format, Status: OK}
	if result.code != "" {
		head.Status, head.Code = Failed, codeFailed
	}
	part, err := committed(head, result.body, r.output.MaxBytes)
	if err != nil {
		return err
	}
	salt := release.CommitmentSalt(r.seed, r.request.Digest())
	commitment := release.CommitTo(salt, r.request.Digest(), r.output.Name, wire.DigestOf(part))
	if err := r.allowed(ctx, commitment, result.shown); err != nil {
		return err
	}
	outs, err := r.sealResults(salt, part, commitment)
	if err != nil {
		return err
	}
	receipts, err := r.record(ctx, result, outs, commitment)
	if err != nil {
		return err
	}
	if err := r.step(Recorded); err != nil {
		return err
	}
	return r.deliver(ctx, outs, receipts)
}

// bucket waits until a multiple of the output's time bucket has passed since the inputs were
// open, before anybody is told that the work is done (R19).
func (r *run) bucket(ctx context.Context, began time.Duration) error {
	bucket := time.Duration(r.output.TimeBucketMS) * time.Millisecond
	if bucket == 0 {
		return nil
	}
	took := r.Elapsed() - began
	until := began + (took+bucket-1)/bucket*bucket
	for left := until - r.Elapsed(); left > 0; left = until - r.Elapsed() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(left, glance)):
		}
	}
	return nil
}

// glance is how often a wait looks whether the machine slept.
const glance = 100 * time.Millisecond

// allowed gets every owner's last word: this output of this run may leave, and the broker's
// own log says so (R13, R14). Owners of audited inputs are told what it shows of them.
func (r *run) allowed(ctx context.Context, commitment wire.Digest, shown map[wire.ID][]byte) error {
	err := each(ctx, r.owners, func(ctx context.Context, o *owner) error {
		groups, err := r.shownTo(o, shown)
		if err != nil {
			return err
		}
		for w := r.waiter(); ; {
			live, data, err := r.liveOf(ctx, o, &commitment, groups)
			if err == nil {
				o.live = data
				return r.checkOutputReceipt(ctx, o, live, commitment)
			}
			if !passing(err) && !unwitnessed(err) {
				return saidNo(err)
			}
			if !w.again(ctx, missing(o.stream(), err)) {
				return givenUp(err)
			}
		}
	})
	if err != nil {
		return err
	}
	return r.step(Allowed)
}

func (r *run) checkOutputReceipt(ctx context.Context, o *owner, live release.Live, commitment wire.Digest) error {
	entry, now, err := live.Receipt.Verify(o.party.Broker.LogKey, r.witnesses(), int(r.agreement.Ledgers.Quorum))
	if err != nil {
		return err
	}
	facts, err := release.ParseOutputFacts(entry.Public)
	if err != nil || entry.Kind != "output" || entry.Run == nil || *entry.Run != r.request.Digest() ||
		facts.Commitment != commitment || facts.ReleaseID != o.releaseID {
		return verdict.NotGenuine("live.receipt", "a receipt of this very output", "an entry about something else", "the broker records something else than it allows: tell its owner")
	}
	if _, err = r.extension(ctx, o, o.latest, now); err == nil {
		o.extends, err = r.extension(ctx, o, o.checkpoint, now)
	}
	return err
}

// sealResults seals the plaintext to each receiver, in memory, and states what was sealed.
func (r *run) sealResults(salt [32]byte, part []byte, commitment wire.Digest) ([]*letOut, error) {
	var outs []*letOut
	for _, id := range r.output.Receivers {
		to, err := recipients(r.party(id))
		if err != nil {
			return nil, err
		}
		file, err := r.Memory("result")
		if err != nil {
			return nil, err
		}
		hash := sha256.New()
		summary, err := seal.Seal(io.MultiWriter(file, hash), plaintext(salt, part), to, seal.Options{})
		if err != nil {
			return nil, err
		}
		out := &letOut{receiver: id, file: file, size: summary.Size}
		out.statement, err = keys.NewDocument(proof.ResultType, proof.Result{Agreement: r.agreement.Digest(), Run: r.request.Digest(), RunID: r.request.RunID,
			Output: r.output.Name, Receiver: id, File: wire.Hash(hash.Sum(nil)), Size: summary.Size, Commitment: commitment, Plan: r.plan})
		if err == nil {
			out.document, err = r.signed(out.statement)
		}
		if err != nil {
			return nil, err
		}
		outs = append(outs, out)
	}
	return outs, nil
}

// signed signs a document with the room's key and gives it in canonical form.
func (r *run) signed(doc *keys.Document) ([]byte, error) {
	if err := doc.Sign(r.signing); err != nil {
		return nil, err
	}
	return wire.Marshal(doc)
}

// deliver hands each receiver's sealed result and its proof to the host.
func (r *run) deliver(ctx context.Context, outs []*letOut, receipts []ledger.Receipt) error {
	if _, err := r.leases.check(); err != nil {
		return err
	}
	for _, out := range outs {
		bundle := r.bundle(out, receipts)
		data, err := bundle.Encode()
		if err != nil {
			return err
		}
		if _, err := out.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		name := fmt.Sprintf("%s-%s-%s", r.output.Name, out.receiver, r.request.RunID[:8])
		if err := r.File(name+".age", out.file, out.size); err != nil {
			return err
		}
		if err := r.File(name+".proof", bytes.NewReader(data), int64(len(data))); err != nil {
			return err
		}
		out.file.Close()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

func (r *run) bundle(out *letOut, receipts []ledger.Receipt) *proof.Bundle {
	b := &proof.Bundle{Type: proof.BundleType, Agreement: compact(r.start.Agreement), Run: compact(r.start.Run), Room: r.keys(), Result: out.document, Records: receipts, Statements: []json.RawMessage{}}
	for _, p := range r.start.Parties {
		b.Parties = append(b.Parties, compact(p))
	}
	for i := range r.inputs {
		b.Statements = append(b.Statements, compact(r.start.Inputs[i].Statement))
	}
	for _, o := range r.owners {
		b.Releases = append(b.Releases, proof.Release{Broker: o.party.Name, Challenge: o.challenge.Token, Evidence: o.evidence, Grant: compact(o.grant)})
		b.Lives = append(b.Lives, compact(o.live))
		b.Consistency = append(b.Consistency, o.extends)
	}
	return b
}

// compact takes the line feed off a document.
func compact(doc []byte) json.RawMessage { return bytes.TrimRight(bytes.Clone(doc), "\n") }

// evidenceDigests gives the evidence digests in the owners' order.
func (r *run) evidenceDigests() []wire.Digest {
	var list []wire.Digest
	for _, o := range r.owners {
		list = append(list, o.evidence.Digest())
	}
	return list
}

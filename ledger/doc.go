// Package ledger holds what makes a log of records checkable by people who trust neither
// the log nor its host: entries, signed checkpoints, witness cosignatures, inclusion and
// consistency proofs, and receipts (spec/ledger.md, spec/checkpoint.md). The tree is that of
// RFC 6962, checkpoints are C2SP tlog-checkpoints, cosignatures are C2SP cosignature/v1.
//
// What it returns as verified was checked with keys the caller brought; nothing is taken
// from the receipt itself. It refuses notes with anything unsigned or unexplained in them,
// proofs with a hash too many or too few, and sizes out of range. It stores nothing: a log
// on disk is store/tilelog.
package ledger

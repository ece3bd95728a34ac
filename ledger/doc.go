// Package ledger holds what makes a log of records checkable by people who trust neither
// the log nor its host: entries, signed checkpoints, witness cosignatures, inclusion and
// consistency proofs, and receipts (spec/ledger.md). The tree is that of RFC 6962,
// checkpoints are C2SP tlog-checkpoints, cosignatures are C2SP cosignature/v1.
//
// What it returns as verified was checked with keys the caller brought; no key is taken
// from the thing that is checked. It refuses notes with anything in them that is not
// explained (extension lines, bytes after the signatures, two signatures by one key), proofs
// with a hash too many or too few, and sizes out of range. It stores nothing: a log on disk
// is store/tilelog.
package ledger

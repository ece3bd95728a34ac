package agreement

import "strongroom.dev/wire"

// Dataset is the body of an owner's statement about one version of a dataset (R7,
// spec/dataset.md). It is signed by the owner's party keys.
type Dataset struct {
	// Owner is the name in the owner's descriptor. Budgets belong to (Owner, Dataset) across
	// versions of both.
	Owner   wire.ID `json:"owner"`
	Dataset wire.ID `json:"dataset"`
	Version int64   `json:"version"` // from 1, rising by one
	// Supersedes is the digest of the statement before; absent in version 1.
	Supersedes *wire.Digest `json:"supersedes,omitempty"`
	Header     wire.Hash    `json:"header"`     // SHA-256 of the age header
	Root       wire.Hash    `json:"root"`       // Merkle root over 64 KiB chunks of the file's bytes
	Size       int64        `json:"size"`       // of the sealed file, bytes
	Recipients int64        `json:"recipients"` // stanzas in the header
	Format     Format       `json:"format"`
	Schema     wire.Hash    `json:"schema"` // SchemaDigest of the columns
	// UniqueUnit declares that no two rows share a unit; the room checks it at load and then
	// counts rows instead of distinct units (R18).
	UniqueUnit bool      `json:"unique_unit"`
	Created    wire.Time `json:"created"`
}

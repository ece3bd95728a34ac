package agreement

import (
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

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

// Validate checks the form of a statement.
func (d Dataset) Validate() error {
	p := place{check: "dataset.form"}
	for _, h := range []struct {
		name string
		hash wire.Hash
	}{{"header", d.Header}, {"root", d.Root}, {"schema", d.Schema}} {
		if h.hash.IsZero() {
			return p.dot(h.name).bad("a digest", "zero", "`strongroom dataset publish` makes statements")
		}
	}
	if d.Created.IsZero() {
		return p.dot("created").bad("a time", "nothing", "")
	}
	if err := first(
		p.dot("owner").id(d.Owner),
		p.dot("dataset").id(d.Dataset),
		p.lineage(d.Version, "supersedes", d.Supersedes),
		p.dot("size").integer(d.Size, 1, wire.MaxInteger),
		p.dot("recipients").integer(d.Recipients, 1, MaxStanzas),
		oneOf(p.dot("format"), d.Format, CSV, Parquet, NDJSON, Arrow, Opaque, Disk),
	); err != nil {
		return err
	}
	if d.UniqueUnit && !d.Format.Columns() {
		return p.dot("unique_unit").bad("false for format "+string(d.Format)+", which has no columns", "true", "")
	}
	return nil
}

// SchemaDigest names a list of columns; zero, which matches nothing, for one that has no
// canonical form.
func SchemaDigest(columns []Column) wire.Hash {
	canonical, err := wire.Marshal(columns)
	if err != nil {
		return wire.Hash{}
	}
	return wire.SHA256("strongroom/schema/v1", canonical)
}

// SignedDataset is a dataset statement with the document it stands in. The statement itself
// is the field Dataset.
type SignedDataset struct {
	Dataset
	Document *keys.Document
}

// NewDataset makes an unsigned document of a statement.
func NewDataset(d Dataset) (*SignedDataset, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	doc, err := create(DatasetType, "dataset.form", d)
	if err != nil {
		return nil, err
	}
	return &SignedDataset{d, doc}, nil
}

// ParseDataset reads a signed statement and checks its form; see [SignedDataset.Verify] for
// its signatures.
func ParseDataset(data []byte) (*SignedDataset, error) {
	d := new(SignedDataset)
	var err error
	if d.Document, err = parse(data, DatasetType, "dataset.form", &d.Dataset); err != nil {
		return nil, err
	}
	if err := d.Validate(); err != nil {
		return nil, err
	}
	return d, nil
}

// Digest names the statement.
func (d *SignedDataset) Digest() wire.Digest { return d.Document.Digest() }

// Verify checks that the statement is its owner's: the owner's name stands in it and the
// threshold of the owner's keys valid at now has signed it, and nobody else. Whether it is
// the current version is for the owner's broker to know.
func (d *SignedDataset) Verify(owner *SignedParty, now time.Time) error {
	if owner == nil || owner.Name != d.Owner {
		return verdict.Refuse("dataset.owner", "a statement of the input's owner", "one of "+string(d.Owner), "use the statement its owner published")
	}
	s := owner.signers(string(d.Owner))
	return inOrder(
		d.Validate,
		func() error { return same(d.Document, DatasetType, "dataset.signatures", d.Dataset) },
		func() error { return owner.VerifyOwn(now) },
		func() error { return noStrangers("dataset.signatures", d.Document, s) },
		func() error { return s.signed("dataset.signatures", d.Document, now) },
	)
}

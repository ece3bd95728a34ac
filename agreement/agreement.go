// Package agreement says what was agreed, by whom, in forms that are signed and named by
// digest: party descriptors, agreements, dataset statements and run requests (spec/party.md,
// spec/agreement.md, spec/dataset.md, spec/run.md).
//
// What it returns as verified has the signatures its rules ask for. It refuses documents
// with unknown members, with two readings, or over the limits in limits.go; it reads no
// clock and no file.
package agreement

import "strongroom.dev/wire"

// Class is a protection class: what a platform promises about the room's memory (R4).
type Class string

// The protection classes. An agreement names exactly one.
const (
	Confidential  Class = "confidential"
	IntegrityOnly Class = "integrity-only"
	Software      Class = "software"
)

// Agreement is the body of an agreement, version 1. Every list is in the order written.
type Agreement struct {
	ID      wire.ID `json:"id"`
	Version int64   `json:"version"`
	// Supersedes is the digest of the version before; absent in version 1.
	Supersedes *wire.Digest `json:"supersedes,omitempty"`
	Title      string       `json:"title"`
	Purpose    string       `json:"purpose"`
	LegalBasis string       `json:"legal_basis"`
	Retention  string       `json:"retention"`
	Contact    string       `json:"contact"`
	Valid      Validity     `json:"valid"`
	Parties    []Party      `json:"parties"`
	Protection Class        `json:"protection"`
	Platforms  []Platform   `json:"platforms"`
	Inputs     []Input      `json:"inputs"`
	Tables     []Table      `json:"tables"`
	Work       []Work       `json:"work"`
	Outputs    []Output     `json:"outputs"`
	Ledgers    Ledgers      `json:"ledgers"`
	// LeaseMS is how long released keys may be used without word from their broker, in
	// milliseconds, 500 to 3,600,000 (R13).
	LeaseMS int64 `json:"lease_ms"`
}

// Validity is when an agreement may be used: From inclusive, Until exclusive.
type Validity struct {
	From  wire.Time `json:"from"`
	Until wire.Time `json:"until"`
}

// Party gives a descriptor a name inside the agreement.
type Party struct {
	ID         wire.ID     `json:"id"`
	Descriptor wire.Digest `json:"descriptor"`
}

// Platform is one kind of machine that is good enough, with the room images accepted on it.
type Platform struct {
	Kind wire.ID `json:"kind"` // "dev", "snp", "tdx", "tpm", ...
	// Root pins the root of evidence by fingerprint; required for class software.
	Root *wire.Hash `json:"root,omitempty"`
	// Machines lists accepted machines (chip ids, PPIDs, EKs, as their platform prints them);
	// empty means any genuine machine of the kind.
	Machines []string `json:"machines"`
	Images   []Image  `json:"images"`
	// Releases are release lines accepted besides Images, or instead of them (R5).
	Releases []ReleaseLine `json:"releases"`
	// MayLack names sandbox layers a room may go without where its kernel denies them:
	// user-namespace, mount-namespace, pid-namespace, network-namespace, seccomp, landlock; and
	// for containers user-range, memory-group.
	// Only for kind dev.
	MayLack []wire.ID `json:"may_lack"`
}

// Image is a room image by its exact measurements: name of the measurement -> lower-case
// hex. For dev: "agent" and "helper/NAME", SHA-384 of the executables.
type Image struct {
	Name         wire.ID           `json:"name"`
	Measurements map[string]string `json:"measurements"`
}

// ReleaseLine accepts any image that release keys sign: one listed by the newest set of the
// product's reference values that the broker knows (R5; spec/reference-values.md).
type ReleaseLine struct {
	Product wire.ID `json:"product"`
	// Keys are public keys in their text form, of which Threshold must have signed the set.
	Keys      []string `json:"keys"`
	Threshold int64    `json:"threshold"`
	// MinimumVersion, from 1, is the least security version of a set.
	MinimumVersion int64 `json:"minimum_version"`
	// LogKey is the verifier key of the log that must have recorded the set.
	LogKey string `json:"log_key"`
}

// Input is data that comes in.
type Input struct {
	Name    wire.ID `json:"name"`
	Owner   wire.ID `json:"owner"` // party id
	Dataset wire.ID `json:"dataset"`
	// Statement pins one dataset version by digest; absent: the version its owner's broker
	// marks current (R7).
	Statement *wire.Digest `json:"statement,omitempty"`
	Format    Format       `json:"format"`
	Schema    []Column     `json:"schema"`
	// RunsPerDay bounds the runs that may read the input in any 24 hours, spent at the owner's
	// broker; at least 1.
	RunsPerDay int64 `json:"runs_per_day"`
	// MinDelta is by how many units dataset versions that runs have read must differ, unless
	// they don't differ at all (R18); 0 asks for nothing.
	MinDelta int64 `json:"min_delta"`
	// Rules are what queries may make of the rows; nil for inputs without columns.
	Rules *Rules `json:"rules,omitempty"`
}

// Format is how an input's plaintext is written.
type Format string

// The input formats. Tables hold those with columns; containers get the others.
const (
	CSV     Format = "csv"
	Parquet Format = "parquet"
	NDJSON  Format = "ndjson" // a JSON object a line
	Arrow   Format = "arrow"  // a file or stream of Arrow's IPC format
	Opaque  Format = "file"   // bytes: a file, a secret, a key
	Disk    Format = "disk"   // an image's disk with its tree, sealed
)

// Column is one column of an input. Type is one of integer (64 bits), decimal (18 digits,
// Scale of them after the point), text, boolean, date.
type Column struct {
	Name  string `json:"name"` // [a-z][a-z0-9_]{0,62}
	Type  string `json:"type"`
	Scale int64  `json:"scale"` // 0 to 18; 0 except for decimal
	// Unit marks the column that says which person (or other unit of privacy) a row is about.
	Unit bool `json:"unit"`
}

// Table is what queries read: the rows of one or several inputs of the same schema. Its
// name is a column-style name. Queries see the schema's columns.
type Table struct {
	Name   string    `json:"name"`
	Inputs []wire.ID `json:"inputs"`
}

// Work is something a room may do.
type Work struct {
	Name        wire.ID `json:"name"`
	Kind        wire.ID `json:"kind"` // "sql" or "container"
	Description string  `json:"description"`
	Query       string  `json:"query"` // one SELECT; parameters as $name; empty for containers and with AdHoc
	// AdHoc says that each run request brings its own query: the rules of the inputs alone say
	// which.
	AdHoc bool `json:"ad_hoc,omitempty"`
	// Epsilon is what a run spends where an input is under differential privacy; empty with AdHoc.
	Epsilon    string      `json:"epsilon,omitempty"`
	Tables     []string    `json:"tables"`
	Parameters []Parameter `json:"parameters"`
	MayRun     []wire.ID   `json:"may_run"` // party ids
	// Output is what leaves as a result; a container may have none.
	Output wire.ID `json:"output,omitempty"`
	// Keepers are parties whose brokers admit a run and may end it though it reads nothing of
	// theirs; only for containers.
	Keepers []wire.ID `json:"keepers,omitempty"`
	// Container is what work of kind container runs, nil for every other.
	Container *Container `json:"container,omitempty"`
}

// Parameter is a typed, bounded hole in a query. Integer: Min and Max are decimal strings.
// Decimal: the same, with Scale digits after the point. Choice: one of Values. Boolean:
// nothing else. There is no free text, since it could carry a probe.
type Parameter struct {
	Name   string   `json:"name"` // column-style name
	Type   string   `json:"type"` // integer, decimal, choice, boolean
	Min    string   `json:"min"`
	Max    string   `json:"max"`
	Scale  int64    `json:"scale"`
	Values []string `json:"values"`
}

// Output is what may leave, to whom, under which rules.
type Output struct {
	Name      wire.ID   `json:"name"`
	Receivers []wire.ID `json:"receivers"` // party ids
	Format    wire.ID   `json:"format"`    // "csv" or "json"
	MaxRows   int64     `json:"max_rows"`
	MaxBytes  int64     `json:"max_bytes"`
	// TimeBucketMS: results leave at multiples of this many milliseconds after the inputs were
	// opened; 0 turns it off (R19).
	TimeBucketMS int64 `json:"time_bucket_ms"`
}

// Ledgers names the shared ledgers by verifier key, and how many must witness (R15).
type Ledgers struct {
	Witnesses []Witness `json:"witnesses"`
	Quorum    int64     `json:"quorum"`
}

// Witness is a shared ledger.
type Witness struct {
	Name wire.ID `json:"name"`
	Key  string  `json:"key"` // note verifier key
}

package broker

import "errors"

// ErrExists is what [Tx.Insert] gives when the key is there already: somebody was first.
var ErrExists = errors.New("broker: key exists")

// Table is one kind of record in the state.
type Table string

// The tables (spec/broker.md, section 3). Keys are text; values are JSON but for queue,
// whose values are log entries as they will stand in the log.
const (
	tableMeta       Table = "meta"       // one record each: next, checkpoint, lock
	tableQueue      Table = "queue"      // entry number -> log entry not known to be in the log
	tableChallenges Table = "challenges" // challenge id -> release id that redeemed it
	tableReleases   Table = "releases"   // release id -> releaseRecord
	tableGrants     Table = "grants"     // release id -> the answer's bytes
	tableRuns       Table = "runs"       // run id -> runRecord
	tableCounts     Table = "counts"     // dataset / time / run id -> ""
	tableAgreements Table = "agreements" // agreement digest -> agreementRecord
	tableIDs        Table = "ids"        // agreement id -> idRecord
	tableRevoked    Table = "revoked"    // descriptor digest -> time
	tableDenied     Table = "denied"     // what / value -> deniedRecord
	tableReferences Table = "references" // release line without its minimum -> referenceRecord
	tableSets       Table = "sets"       // release line without its minimum -> the newest set, as a file
	tableDatasets   Table = "datasets"   // dataset -> datasetRecord of the current version
	tableHeaders    Table = "headers"    // header hash -> dataset it is catalogued under
	tableSeen       Table = "seen"       // log verifier key -> seenRecord
	tableDecisions  Table = "decisions"  // entry number -> Decision
	tableSubjects   Table = "subjects"   // run or release id / entry number -> ""
	tableVolumes    Table = "volumes"    // dataset of a volume's key -> volumeRecord
	tableAnswers    Table = "answers"    // run id / request digest -> answerRecord
	tableRoots      Table = "roots"      // "names", or an agreement's digest -> rootRecord
	tableOrders     Table = "orders"     // hash of names / time / key -> orderRecord
	tableQuestions  Table = "questions"  // statement / number -> questionRecord
	tableBudgets    Table = "budgets"    // dataset -> budgetRecord
	tableSpent      Table = "spent"      // dataset, or dataset / agreement id -> privacy.Cost
)

// Tables lists every table, for stores that make them beforehand.
func Tables() []Table {
	return []Table{tableMeta, tableQueue, tableChallenges, tableReleases, tableGrants, tableRuns, tableCounts,
		tableAgreements, tableIDs, tableRevoked, tableDenied, tableReferences, tableSets, tableDatasets, tableHeaders, tableSeen, tableDecisions, tableSubjects,
		tableVolumes, tableAnswers, tableRoots, tableOrders, tableQuestions, tableBudgets, tableSpent}
}

// State is the broker's memory of what it has spent, recorded and promised.
//
// Transactions are serialisable: each sees all that committed before it and none that
// didn't. Update MUST have made its writes durable, all of them or none, before it returns
// nil, and MUST NOT leave any of them when the function it was given returns an error. If
// Update itself fails, the writes may stand or not; the broker then believes neither and
// reads the state again. Instances of one broker MAY share a state.
type State interface {
	Update(func(Tx) error) error
	View(func(Tx) error) error
}

// Tx is one transaction. It MUST NOT be used after the function it was given to returns.
// The slices it gives belong to the caller.
type Tx interface {
	// Get gives the value, nil if there is none.
	Get(t Table, key string) []byte
	// Put writes, whatever was there. Writing in a View is an error, and so is an empty key or
	// value, which could not be told from none.
	Put(t Table, key string, value []byte) error
	// Insert writes where nothing is; otherwise it changes nothing and gives ErrExists.
	Insert(t Table, key string, value []byte) error
	Delete(t Table, key string) error
	// Scan calls visit for the keys from <= key < to in byte order until it gives false; an
	// empty to is no bound. visit MUST NOT write.
	Scan(t Table, from, to string, visit func(key string, value []byte) bool) error
}

package agreement

import "time"

// Limits of what is agreed. They keep explanations readable and every check linear.
const (
	MaxParties    = 32       // people must be able to read who takes part
	MaxInputs     = 64       // one column of the largest clean rooms known has 15
	MaxColumns    = 1024     // per input
	MaxWork       = 256      // named queries, and named outputs
	MaxQuery      = 64 << 10 // bytes of SQL; hand-written SQL is below 10 KiB
	MaxParameters = 64       // per work
	MaxValues     = 1024     // choices of one parameter
	MaxText       = 4096     // bytes of any free text
	MaxLine       = 256      // bytes of a title, a choice, an address: what fits a screen
	MaxPlatforms  = 16       // twice the kinds of machine there are
	MaxImages     = 64       // per platform
	MaxReleases   = 8        // release lines per platform: products, not releases
	MaxMachines   = 4096     // per platform; a list, not a fleet
	MaxKeys       = 16       // signing keys of a party, or of a release line
	MaxRecipients = 16       // age recipients of a party, for data and for results each
	MaxWitnesses  = 16       // shared ledgers; each one is asked at the end of every run
	MaxStanzas    = 512      // recipients of a sealed file; more do not fit a header of 64 KiB
	MaxAge        = 10       // years a key or an agreement may be valid
	MaxRows       = 10_000_000
	MaxOutput     = 1 << 30   // bytes of one result
	MaxRuns       = 1_000_000 // runs a day; more is no bound
	MaxGroup      = 1_000_000 // a larger minimum group withholds everything
	MaxScale      = 18        // digits after the point of a decimal, which has 18 in all
	// MaxTimeBucketMS is ten minutes: an answer that may wait longer is not asked for by people.
	MaxTimeBucketMS = 600_000
	// MaxOutputColumns bounds the columns of a result: what people read has few.
	MaxOutputColumns = 256
	// MaxQuestions and MaxHistory, in bytes, bound the questions that are remembered of a dataset
	// version: one of which more was asked has told enough.
	MaxQuestions, MaxHistory = 64, 640 << 10
	// MaxAuditedRows bounds the rows of an answer that later ones are held against, MaxAudited the
	// inputs of one owner in a work: what is shown of each travels at its largest size.
	MaxAuditedRows, MaxAudited = 10_000, 4
	// MaxEpsilon bounds a budget of differential privacy, in whole units: beyond it, it protects
	// nobody.
	MaxEpsilon = 100
)

// Limits of containers: several times what real images have, and little enough to be read.
const (
	MaxArguments   = 256
	MaxArgv        = 64 << 10 // bytes of all arguments together
	MaxVariables   = 256      // environment variables
	MaxValue       = 32 << 10 // bytes of a variable: half of what all arguments may have
	MaxPattern     = 512      // bytes of an expression for a variable
	MaxMounts      = 64
	MaxPorts       = 32
	MaxEgress      = 32
	MaxPath        = 1024
	MaxReference   = 512     // bytes of an image's name
	MaxNames       = 16      // DNS names of a port
	MaxAuthorities = 16      // certificates of authorities, each of at most MaxCertificate
	MaxCertificate = 4 << 10 // bytes; those of RSA keys of 4,096 bits have 2 KiB
	MaxIssuers     = 16
	MaxTransitKeys = 32
	MaxDenied      = 512   // system calls; Linux has below 400
	MaxGroups      = 32    // supplementary groups
	MaxUserID      = 65535 // a container has 65,536 of both kinds
	MaxRestarts    = 1000
	MinVolume      = 1 << 20 // bytes; a file system takes some of them
	MaxMount       = 1 << 44 // bytes, 16 TiB
	MaxDiskBlocks  = 1 << 28 // of 4,096 bytes: 1 TiB
	MaxMemory      = 1 << 44 // bytes, 16 TiB
)

const (
	// MaxRunAhead is how far ahead a run request may expire: longer, and a stolen request
	// outlives the wish behind it.
	MaxRunAhead = 24 * time.Hour
	// MinLeaseMS and MaxLeaseMS bound a lease: below, renewing it would be all a room does;
	// above, switching off would come too late to mean anything.
	MinLeaseMS, MaxLeaseMS = 500, 3_600_000
)

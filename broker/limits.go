package broker

import "time"

const (
	// maxBatch is how many entries go into the log at once: it bounds the memory of a drain
	// after a long outage of the log.
	maxBatch = 256
	// maxBatchBytes bounds it too, below what one append of the log may hold.
	maxBatchBytes = 2 << 20
	// refusalBurst and refusalEvery bound how fast strangers can make the log grow: anyone can
	// make a room key, so a signature alone is no bound. Refusals beyond it are only counted.
	refusalBurst = 60
	refusalEvery = time.Second
	// challengeBurst and challengeEvery do the same for refused challenges, which nobody has
	// signed: whoever knows an agreement's digest can ask for one. Their own bound keeps them from
	// crowding out refusals of what a room has signed.
	challengeBurst = 10
	challengeEvery = time.Minute
	// decideAttempts is how often a decision is made anew because another run moved the other
	// owners' logs meanwhile.
	decideAttempts = 4
	// maxExplained is the most bytes of checks kept for `why`; a decision over 64 inputs takes
	// about 60 KiB.
	maxExplained = 256 << 10
	// countWindow is what "a day" means for counts: any 24 hours.
	countWindow = 24 * time.Hour
	// orderPatience is how long a room waits for an authority outside before it is told to come
	// again, below what peers and proxies bound an exchange by.
	orderPatience = 15 * time.Second
	// orderTime bounds an order: DNS takes minutes to be seen.
	orderTime = 15 * time.Minute
	// namesWindow is what "a week" means for certificates: any seven days.
	namesWindow = 7 * 24 * time.Hour
	// failedOrders is how many orders for one set of names may fail in failedWindow: public
	// authorities bar who fails more often.
	failedOrders = 4
	failedWindow = time.Hour
	// witnessPatience bounds one round of cosigning. A room waits for it.
	witnessPatience = 10 * time.Second
	// cosignAttempts is how often a round is made anew because strangers showed the witnesses
	// the log as it grew.
	cosignAttempts = 4
	// startPatience bounds asking one witness or peer at start.
	startPatience = 5 * time.Second
	// maxDenials and maxReason bound what an owner denies, which every decision looks through: a
	// few bad machines, or a generation of them. Reasons are bytes of one line.
	maxDenials = 1024
	maxReason  = 256
	// maxSets is how many verified sets of reference values are kept in memory: the largest takes
	// some megabytes.
	maxSets = 16
	// maxReading is how many release requests are read at the same time. The others wait: reading
	// one takes some milliseconds, and until it is read it may take 20 times its size in memory.
	maxReading = 4
	// maxParsed is how many parsed agreements are kept in memory.
	maxParsed = 64
	// maxWhy is the most decisions shown for one id: a run has a handful.
	maxWhy = 256
	// maxWhyChecks and maxWhyBytes keep them together below what a document holds.
	maxWhyChecks = 6000
	maxWhyBytes  = 3 << 20
)

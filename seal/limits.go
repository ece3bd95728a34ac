package seal

const (
	// MaxHeader is the longest header, in bytes: 42 hybrid recipients, more than any
	// agreement has. Every stanza costs its reader a private-key operation, so that age's own
	// limit of 2 MiB would buy a stranger a third of a second of a broker's time.
	MaxHeader = 64 << 10
	// MaxRecipients is the most recipients of one file. Classic ones take about 100 bytes of
	// the header each, so that MaxHeader would stop them at 650.
	MaxRecipients = 512
	// MaxIdentityFile is the longest identity file, in bytes: one key, its recipient of
	// 2 kB, and comments.
	MaxIdentityFile = 16 << 10
	// maxRecipient is the longest recipient text: a hybrid one has 1,959 characters.
	maxRecipient = 4096
	// maxWorkers and lanesPerWorker bound the memory of one call, whatever the machine: a
	// lane holds two buffers of jobChunks chunks, a quarter of a MiB in all. Four lanes let a
	// worker go on for some jobs while one before it is late.
	maxWorkers     = 16
	lanesPerWorker = 4
)

package agreement

// Limits of what is agreed. They keep explanations readable and every check linear.
const (
	MaxParties    = 32       // people must be able to read who takes part
	MaxInputs     = 64       // one column of the largest clean rooms known has 15
	MaxColumns    = 1024     // per input
	MaxWork       = 256      // named queries
	MaxQuery      = 64 << 10 // bytes of SQL; hand-written SQL is below 10 KiB
	MaxParameters = 64       // per work
	MaxValues     = 1024     // choices of one parameter
	MaxText       = 4096     // bytes of any free text
	MaxImages     = 64       // per platform
	MaxKeys       = 16       // signing keys of a party
	MaxAge        = 10       // years a key or an agreement may be valid
	MaxOutput     = 1 << 30  // bytes of one result
)

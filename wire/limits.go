package wire

const (
	// MaxDocument is the largest document: agreements of hundreds of columns and dozens of
	// parties are below 200 KiB, so 4 MiB is generous, and parsing it takes milliseconds.
	// A proof file, the largest document there is, carries several sealed headers.
	MaxDocument = 4 << 20
	// MaxDepth bounds nesting: the deepest document of ours has 9 levels.
	MaxDepth = 32
)

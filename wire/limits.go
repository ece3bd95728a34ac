package wire

const (
	// MaxDocument is the largest document: agreements of hundreds of columns and dozens of
	// parties are below 200 KiB, so 4 MiB is generous, and parsing it takes milliseconds.
	// A proof file, the largest document there is, carries several sealed headers.
	MaxDocument = 4 << 20
	// MaxDepth bounds nesting: the deepest document of ours has 9 levels.
	MaxDepth = 32
	// MaxValues and MaxElements bound what a document of short values becomes in memory: texts,
	// numbers, lists and objects in it, and those of one list or object. The largest list of ours
	// is of 4,096 machines; an agreement of 64 inputs with 250 columns each has 50,000 values.
	MaxValues   = 1 << 16
	MaxElements = 1 << 13

	// maxExplained is the longest document, in bytes, whose errors are looked for again to say
	// more: longer ones no person wrote.
	maxExplained = 64 << 10
)

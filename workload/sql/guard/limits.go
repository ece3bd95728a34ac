package guard

// Limits of a query. They hold for the agreed text, which its parties have read, and keep
// every step linear.
const (
	// maxTree bounds DuckDB's JSON of a parse tree: 200 bytes for each of maxNodes.
	maxTree = 4 << 20
	// maxPlan bounds the JSON of a bound plan: a reference repeats its type.
	maxPlan = 32 << 20
	// maxDepth bounds nesting in both; DuckDB's own limit for expressions is 1000.
	maxDepth = 256
	// maxNodes bounds the expressions of an agreed query.
	maxNodes = 4096
	// maxScans bounds the tables in FROM: each adds counts of its owners' people.
	maxScans = 8
	// maxArgument bounds the expressions in one aggregate's argument outside CASE conditions:
	// sums and means of a simple term are statistics, polynomials of high degree are probes.
	maxArgument = 16
	// maxPrimitives bounds the aggregates of the rewritten query: owners times cells.
	maxPrimitives = 4096
	// maxDigits is DuckDB's widest decimal.
	maxDigits = 38
	// maxSummed bounds the digits of values that are added up: 10^11 of them fit DuckDB's 128
	// bits, so that no sum can fail, or wrap, by what one person's value is.
	maxSummed = 27
	// maxLiteral bounds the digits of a number in the query, so that it fits 64 bits.
	maxLiteral = 18
)

package appraise

// Limits of a policy, checked when it is read.
const (
	// MaxPlatforms is the most platforms of a policy: three times as many as there are.
	MaxPlatforms = 32
	// MaxRules is the most expressions of a policy; each may cost MaxCost.
	MaxRules = 128
	// MaxTests is the most tests in a policy.
	MaxTests = 256
	// MaxExpression is the most bytes of an expression.
	MaxExpression = 4096
	// MaxCost bounds one evaluation of an expression, in CEL's units of about one operation: some
	// milliseconds at most.
	MaxCost = 100_000
	// MaxValues is the most values of one list: the machines of a large site.
	MaxValues = 4096
	// leastNonce is the fewest bytes of a nonce that nobody guesses.
	leastNonce = 16
)

package unwrap

const (
	// maxWrapping bounds encodings in encodings: JSON in base64 in JSON is the deepest.
	maxWrapping = 4
	// maxWrapped is the most values of a JSON document that evidence is wrapped in, a list of
	// bytes being one; the largest form seen has 20.
	maxWrapped = 1024
	// maxWrappedDepth bounds nesting of such a document.
	maxWrappedDepth = 16
)

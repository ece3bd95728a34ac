package seal

// Sizes that tests place their cases by.
const (
	SealedChunk = sealedChunk
	JobChunks   = jobChunks
)

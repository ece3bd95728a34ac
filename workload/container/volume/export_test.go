package volume

// NewState and ReadState are the state's writer and reader.
var (
	NewState  = newState
	ReadState = readState
)

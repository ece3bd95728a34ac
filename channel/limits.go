package channel

// Limits of a session. They bound what a hostile peer can make the other side hold: at most
// 2*MaxStreams*(Window+2*MaxFrame) bytes of data and what is read ahead, whatever it sends:
// 160 MiB.
const (
	// MaxStreams is how many streams one side may have open at once that it opened itself: a
	// room asks at most 32 brokers and a few ledgers; a host opens one for each connection to a
	// container.
	MaxStreams = 256
	// Window is how many bytes of one stream may be under way unread: enough to keep a pipe busy.
	Window = 256 << 10
	// MaxFrame is the most data one frame carries, so that no stream holds up the others for
	// long.
	MaxFrame = 32 << 10
	// readAhead is how much is read from the connection at once, and writeAhead how much is
	// written: several frames, since each call of the kernel costs as much as 16 KiB.
	readAhead  = 4 * (headerSize + MaxFrame)
	writeAhead = 4 * mostFrames
	// mostFrames bounds the frames of one stream that are sent in one turn.
	mostFrames = 5*headerSize + MaxName + 4 + MaxFrame + MaxReason
	// MaxName bounds a stream's name: a kind, a slash and an identifier of at most 63 bytes.
	MaxName = 80
	// MaxReason bounds the text of a reset.
	MaxReason = 256
	// maxID is the last stream identifier; a session that reaches it ends.
	maxID = 1<<31 - 1
)

package channel

// Held gives how many bytes of memory a stream holds for what arrived.
func (t *Stream) Held() int {
	t.session.mu.Lock()
	defer t.session.mu.Unlock()
	return len(t.in.pieces) * MaxFrame
}

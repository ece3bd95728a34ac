package channel

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"strongroom.dev/verdict"
)

// The kinds of frames (spec/channel.md, section 3).
const (
	frameOpen   = 1 // payload: the stream's name
	frameData   = 2 // payload: 1 to MaxFrame bytes
	frameCredit = 3 // payload: 4 bytes, how many more bytes may be sent
	frameEnd    = 4 // no payload: the sender has written everything
	frameReset  = 5 // payload: a reason; the stream is over in both directions
)

const headerSize = 9

// maxPayload gives the least and the most payload of a kind of frame.
func maxPayload(kind byte) (least, most int, known bool) {
	switch kind {
	case frameOpen:
		return 1, MaxName, true
	case frameData:
		return 1, MaxFrame, true
	case frameCredit:
		return 4, 4, true
	case frameEnd:
		return 0, 0, true
	case frameReset:
		return 1, MaxReason, true
	}
	return 0, 0, false
}

// reading takes frames in until the session ends. It never waits for anything but the
// connection, so a peer can't make it stand still by not reading.
func (s *Session) reading() {
	defer s.running.Done()
	r := bufio.NewReaderSize(s.conn, readAhead)
	if err := s.read(r); err != nil {
		s.fail(err)
	}
}

func (s *Session) read(r *bufio.Reader) error {
	hello := make([]byte, len(preface))
	if _, err := io.ReadFull(r, hello); err != nil {
		return err
	}
	if string(hello) != preface {
		return violation("the preface of strongroom/channel/v1", "%s", verdict.Short(string(hello)))
	}
	for {
		header, err := r.Peek(headerSize)
		if err == io.EOF && len(header) > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err // io.EOF between frames: the peer went away
		}
		kind, id, size := header[0], binary.BigEndian.Uint32(header[1:]), binary.BigEndian.Uint32(header[5:])
		least, most, known := maxPayload(kind)
		if !known || uint64(size) < uint64(least) || uint64(size) > uint64(most) {
			return violation("a frame of a known kind and size", "kind %d with %d bytes", kind, size)
		}
		whole, err := r.Peek(headerSize + int(size))
		if err != nil {
			return ended(err)
		}
		if err := s.take(kind, id, whole[headerSize:]); err != nil {
			return err
		}
		if _, err := r.Discard(len(whole)); err != nil {
			return err
		}
	}
}

// take acts on one frame. It keeps nothing of payload.
func (s *Session) take(kind byte, id uint32, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kind == frameOpen {
		return s.takeOpen(id, string(payload))
	}
	t := s.streams[id]
	if t == nil {
		// Frames of a stream that is over may still have been under way; no others.
		if id == 0 || (id%2 == s.nextID%2 && id >= s.nextID) || (id%2 != s.nextID%2 && id > s.peerID) {
			return violation("a stream that was opened", "stream %d", id)
		}
		return nil
	}
	defer t.changed.Broadcast()
	switch kind {
	case frameData:
		return s.takeData(t, payload)
	case frameCredit:
		n := binary.BigEndian.Uint32(payload)
		if n == 0 || uint64(n) > uint64(Window-t.credit-len(t.out)) {
			return violation("credit for what was sent", "%d bytes too many", n)
		}
		t.credit += int(n)
	case frameEnd:
		if t.inEnded {
			return violation("one end of a stream", "a second one of stream %d", id)
		}
		t.inEnded = true
		if t.endSent {
			s.drop(t)
		}
	case frameReset:
		if t.broken == nil {
			t.broken = fmt.Errorf("%w by the %s: %s", ErrReset, s.peer(), verdict.Short(string(payload)))
		}
		t.in.clear(&s.pieces)
		t.out = nil
		s.drop(t)
	}
	return nil
}

func (s *Session) peer() Role { return Room + Host - s.role }

func (s *Session) takeOpen(id uint32, name string) error {
	if id == 0 || id > maxID || id%2 == s.nextID%2 || id <= s.peerID {
		return violation("a new stream identifier of the peer's", "%d", id)
	}
	if !s.peer().MayOpen(name) {
		return violation("a stream that a "+s.peer().String()+" may open", "%s", verdict.Short(name))
	}
	if s.accepted >= MaxStreams {
		return violation(fmt.Sprintf("at most %d streams", MaxStreams), "one more")
	}
	s.peerID = id
	s.accepted++
	s.backlog = append(s.backlog, s.newStream(id, name))
	s.arrived.Signal()
	return nil
}

func (s *Session) takeData(t *Stream, payload []byte) error {
	if t.inEnded {
		return violation("nothing after the end", "data on stream %d", t.id)
	}
	if len(payload) > t.room {
		return violation("data within the credit given", "%d bytes on stream %d", len(payload), t.id)
	}
	t.room -= len(payload)
	if t.broken == nil {
		t.in.add(payload, &s.pieces)
	}
	return nil
}

// queue marks t as having something to send. The caller holds the mutex.
func (s *Session) queue(t *Stream) {
	if !t.queued && !t.gone {
		t.queued = true
		s.ready = append(s.ready, t)
		s.writable.Signal()
	}
}

// writing sends what the streams have to send, one frame of each in turn.
func (s *Session) writing() {
	defer s.running.Done()
	frames := append(make([]byte, 0, writeAhead), preface...)
	for {
		if _, err := s.conn.Write(frames); err != nil {
			s.fail(fmt.Errorf("writing to the %s: %w", s.peer(), err))
			return
		}
		var live bool
		if frames, live = s.next(frames[:0]); !live {
			return
		}
	}
}

// next waits for streams with something to send and appends their frames, one of each in
// turn, as many as fit. Not live: the session has ended.
func (s *Session) next(frames []byte) (out []byte, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(frames) == 0 { // a stream that is over may have nothing to say
		for len(s.ready) == 0 && s.err == nil {
			s.writable.Wait()
		}
		if s.err != nil {
			return nil, false
		}
		for len(s.ready) > 0 && len(frames)+mostFrames <= cap(frames) {
			t := s.ready[0]
			s.ready = s.ready[1:]
			t.queued = false
			frames = t.frames(frames)
		}
	}
	return frames, true
}

// frames appends what the stream has to send now and enters it as sent.
func (t *Stream) frames(b []byte) []byte {
	if t.gone {
		return b
	}
	if t.broken != nil {
		if !t.sayOpen { // a stream the peer never heard of needs no word
			b = frame(b, frameReset, t.id, []byte(t.sayReset))
		}
		t.session.drop(t)
		return b
	}
	if t.sayOpen {
		b = frame(b, frameOpen, t.id, []byte(t.name))
		t.sayOpen = false
	}
	if t.consumed >= Window/2 && !t.inEnded {
		b = frame(b, frameCredit, t.id, binary.BigEndian.AppendUint32(nil, uint32(t.consumed)))
		t.room += t.consumed
		t.consumed = 0
	}
	if t.out != nil {
		n := min(len(t.out), MaxFrame)
		b = frame(b, frameData, t.id, t.out[:n])
		if t.out = t.out[n:]; len(t.out) > 0 {
			t.session.queue(t) // the rest in its turn
			return b
		}
		t.out = nil
		t.changed.Broadcast()
	}
	if t.outEnded && !t.endSent {
		b = frame(b, frameEnd, t.id, nil)
		t.endSent = true
		if t.inEnded {
			t.session.drop(t)
		}
	}
	return b
}

func frame(b []byte, kind byte, id uint32, payload []byte) []byte {
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, id)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

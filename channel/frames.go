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
	r := bufio.NewReaderSize(s.conn, MaxFrame)
	if err := s.read(r); err != nil {
		s.fail(err)
	}
}

func (s *Session) read(r io.Reader) error {
	hello := make([]byte, len(preface))
	if _, err := io.ReadFull(r, hello); err != nil {
		return err
	}
	if string(hello) != preface {
		return violation("the preface of strongroom/channel/v1", "%s", verdict.Short(string(hello)))
	}
	buffer := make([]byte, MaxFrame)
	for {
		header := buffer[:headerSize]
		if _, err := io.ReadFull(r, header); err != nil {
			return err // io.EOF between frames: the peer went away
		}
		kind, id, size := header[0], binary.BigEndian.Uint32(header[1:]), binary.BigEndian.Uint32(header[5:])
		least, most, known := maxPayload(kind)
		if !known || uint64(size) < uint64(least) || uint64(size) > uint64(most) {
			return violation("a frame of a known kind and size", "kind %d with %d bytes", kind, size)
		}
		payload := buffer[:size]
		if _, err := io.ReadFull(r, payload); err != nil {
			return ended(err)
		}
		if err := s.take(kind, id, payload); err != nil {
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
		t.in, t.out = nil, nil
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
		t.in = append(t.in, payload...)
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
	w := bufio.NewWriterSize(s.conn, 2*MaxFrame)
	w.WriteString(preface) // an error shows at the next Flush
	frames := make([]byte, 0, 4*headerSize+MaxName+MaxFrame+MaxReason)
	for {
		var more, live bool
		if frames, more, live = s.next(frames[:0]); !live {
			return
		}
		_, err := w.Write(frames)
		if err == nil && !more {
			err = w.Flush()
		}
		if err != nil {
			s.fail(fmt.Errorf("writing to the %s: %w", s.peer(), err))
			return
		}
	}
}

// next waits for a stream with something to send and appends its frames. more says that
// other streams wait; not live, that the session has ended.
func (s *Session) next(frames []byte) (out []byte, more, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ready) == 0 && s.err == nil {
		s.writable.Wait()
	}
	if s.err != nil {
		return nil, false, false
	}
	t := s.ready[0]
	s.ready = s.ready[1:]
	t.queued = false
	return t.frames(frames), len(s.ready) > 0, true
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
		b = frame(b, frameData, t.id, t.out)
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

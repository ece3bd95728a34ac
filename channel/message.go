package channel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"

	"strongroom.dev/verdict"
)

// WriteMessage writes one message: its length in 4 bytes, big-endian, then its bytes.
func WriteMessage(w io.Writer, message []byte) error {
	if len(message) > maxID {
		return fmt.Errorf("channel: message of %d bytes", len(message))
	}
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(message)))); err != nil {
		return err
	}
	_, err := w.Write(message)
	return err
}

// ReadMessage reads what [WriteMessage] wrote, at most limit bytes. io.EOF means that there
// was no further message; a message cut short is io.ErrUnexpectedEOF. Memory grows as bytes
// arrive, never to the length that was declared.
func ReadMessage(r io.Reader, limit int) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if uint64(n) > uint64(limit) {
		return nil, violation(fmt.Sprintf("a message of at most %d bytes", limit), "%d bytes", n)
	}
	var buffer bytes.Buffer
	_, err := io.CopyN(&buffer, r, int64(n))
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return buffer.Bytes(), nil
}

// MaxPath bounds the path of a call.
const MaxPath = 128

// Call opens a stream and asks one question of what is behind it: path, then body. It gives
// the answer's body if its status is 200; any other status gives the error that the body
// encodes (see [verdict.Decode]). What comes back is the word of whoever relayed it.
func (s *Session) Call(ctx context.Context, name, path string, body []byte, limit int) ([]byte, error) {
	t, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	status, answer, err := t.call(path, body, limit)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return nil, fmt.Errorf("%s%s: %w", name, path, err)
	}
	if status != 200 {
		return nil, verdict.Decode(answer)
	}
	return answer, nil
}

func (t *Stream) call(path string, body []byte, limit int) (int, []byte, error) {
	if err := WriteMessage(t, []byte(path)); err != nil {
		return 0, nil, err
	}
	if err := WriteMessage(t, body); err != nil {
		return 0, nil, err
	}
	if err := t.CloseWrite(); err != nil {
		return 0, nil, err
	}
	text, err := ReadMessage(t, 3)
	if err != nil {
		return 0, nil, ended(err)
	}
	status, err := strconv.Atoi(string(text))
	if err != nil || status < 100 || status > 599 {
		return 0, nil, violation("a status of three digits", "%s", verdict.Short(string(text)))
	}
	answer, err := ReadMessage(t, limit)
	if err != nil {
		return 0, nil, ended(err)
	}
	return status, answer, expectEnd(t)
}

// Serve reads one question from a stream that the peer opened and writes answer's reply.
// limit bounds the question's body.
func (t *Stream) Serve(limit int, answer func(path string, body []byte) (status int, reply []byte)) error {
	defer t.Close()
	path, err := ReadMessage(t, MaxPath)
	if err != nil {
		return ended(err)
	}
	body, err := ReadMessage(t, limit)
	if err != nil {
		return ended(err)
	}
	if err := expectEnd(t); err != nil {
		return err
	}
	status, reply := answer(string(path), body)
	if err := WriteMessage(t, fmt.Appendf(nil, "%03d", status)); err != nil {
		return err
	}
	if err := WriteMessage(t, reply); err != nil {
		return err
	}
	return t.CloseWrite()
}

func expectEnd(r io.Reader) error {
	var one [1]byte
	n, err := r.Read(one[:])
	for n == 0 && err == nil {
		n, err = r.Read(one[:])
	}
	if n > 0 {
		return violation("the end of the stream", "more bytes")
	}
	if err != io.EOF {
		return err
	}
	return nil
}

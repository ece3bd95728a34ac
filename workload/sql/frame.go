package sql

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// The kinds of frames: one byte, then the length of the body as 4 bytes, big-endian, then
// the body, JSON.
const (
	kindJob      = 'J' // agent to engine: a Job, once
	kindProgress = 'P' // engine to agent: a Progress, any number before the head
	kindHead     = 'H' // a head, once
	kindRows     = 'R' // an array of rows, each an array of text or null; any number
	kindEnd      = 'E' // an end, once, last
	kindFailure  = 'F' // a Failure, once, last, instead of an end
)

type head struct {
	Columns []Column `json:"columns"`
	Plan    string   `json:"plan"`
	SQL     string   `json:"sql"`
}

type end struct {
	Rows     int64      `json:"rows"`
	Withheld []Withheld `json:"withheld"`
	Shown    []Shown    `json:"shown"`
}

func writeFrame(w io.Writer, kind byte, body any) error {
	var buf bytes.Buffer
	buf.Write(make([]byte, 5))
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return err
	}
	frame := buf.Bytes()
	frame[0] = kind
	binary.BigEndian.PutUint32(frame[1:], uint32(len(frame)-5))
	_, err := w.Write(frame)
	return err
}

// readFrame reads one frame whose body is at most limit bytes. It allocates as bytes come,
// not as the length promises.
func readFrame(r io.Reader, limit int) (kind byte, body []byte, err error) {
	var header [5]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(header[1:])
	if int64(size) > int64(limit) {
		return 0, nil, fmt.Errorf("frame of %d bytes, at most %d", size, limit)
	}
	var buf bytes.Buffer
	if n, err := io.CopyN(&buf, r, int64(size)); err != nil {
		return 0, nil, fmt.Errorf("frame ends after %d of %d bytes: %w", n, size, err)
	}
	return header[0], buf.Bytes(), nil
}

// decode reads one JSON value strictly: valid UTF-8, no unknown member, nothing behind it.
func decode(body []byte, v any) error {
	if !utf8.Valid(body) {
		return fmt.Errorf("frame is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("bytes behind the frame's value")
	}
	return nil
}

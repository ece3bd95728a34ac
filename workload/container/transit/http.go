package transit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A small part of HTTP/1.1 (RFC 9112), read strictly: origin-form targets, a length before
// every body, CRLF at every line's end, no folded lines, nothing twice that must stand once.
// A whole HTTP library in the agent would be thousands of lines that hold keys (R22).

// Limits of a request. Real clients send below 1 KiB of headers.
const (
	MaxHead = 16 << 10 // bytes of request line and headers
	MaxBody = 2 << 20  // bytes; what is encrypted grows by a third in base64
	maxLine = 8 << 10
	// maxBlank is how many empty lines may stand before a request (RFC 9112, 2.2 wants one).
	maxBlank = 2
)

type request struct {
	method, path, query string
	body                []byte
	close               bool // the connection ends after the answer
}

// statusError is a request that gets an answer and ends its connection.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.status, e.text) }

type requestReader struct{ r *bufio.Reader }

func newRequestReader(r io.Reader) *requestReader {
	return &requestReader{bufio.NewReaderSize(r, maxLine)}
}

// line reads one line without its CRLF, taking its length off left.
func (r *requestReader) line(left *int) (string, error) {
	line, err := r.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", &statusError{431, "a line is too long"}
	case errors.Is(err, io.EOF) && len(line) > 0:
		return "", io.ErrUnexpectedEOF
	case err != nil:
		return "", err
	}
	if *left -= len(line); *left < 0 {
		return "", &statusError{431, "the headers are too large"}
	}
	text, found := bytes.CutSuffix(line, []byte("\r\n"))
	if !found || bytes.ContainsAny(text, "\r\x00") {
		return "", &statusError{400, "a line does not end with CRLF, or has a control character"}
	}
	return string(text), nil
}

// headers is what the endpoint reads of them.
type headers struct {
	length  int
	hasBody bool
	hosts   int
	close   bool
	keep    bool
	awaits  bool
}

// next reads a request. io.EOF: the connection ended between two.
func (r *requestReader) next(w io.Writer) (*request, error) {
	left := MaxHead
	first, err := r.first(&left)
	if err != nil {
		return nil, err
	}
	req, minor, err := requestLine(first)
	if err != nil {
		return nil, err
	}
	h, err := r.headers(&left)
	if err != nil {
		return nil, cut(err)
	}
	if minor == 1 && h.hosts != 1 {
		return nil, &statusError{400, "exactly one Host header is needed"}
	}
	req.close = h.close || minor == 0 && !h.keep
	if h.awaits && minor == 1 && h.length > 0 {
		if _, err := io.WriteString(w, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return nil, err
		}
	}
	req.body, err = r.content(h.length)
	return req, cut(err)
}

func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (r *requestReader) first(left *int) (string, error) {
	for range maxBlank {
		line, err := r.line(left)
		if err != nil || line != "" {
			return line, err
		}
	}
	return "", &statusError{400, "no request line"}
}

func requestLine(line string) (*request, int, error) {
	bad := &statusError{400, "the request line is not METHOD /PATH HTTP/1.1"}
	parts := strings.Split(line, " ")
	if len(parts) != 3 || !token(parts[0]) || !strings.HasPrefix(parts[1], "/") {
		return nil, 0, bad
	}
	for _, c := range []byte(parts[1]) {
		if c <= ' ' || c >= 0x7f {
			return nil, 0, bad
		}
	}
	req := &request{method: parts[0]}
	req.path, req.query, _ = strings.Cut(parts[1], "?")
	switch parts[2] {
	case "HTTP/1.1":
		return req, 1, nil
	case "HTTP/1.0":
		return req, 0, nil
	}
	return nil, 0, &statusError{505, "only version 1.1 is spoken here"}
}

// token is RFC 9110, 5.6.2.
func token(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

func (r *requestReader) headers(left *int) (h headers, err error) {
	for {
		line, err := r.line(left)
		if err != nil || line == "" {
			return h, err
		}
		name, value, found := strings.Cut(line, ":")
		if !found || !token(name) {
			return h, &statusError{400, "a header is not NAME: VALUE"}
		}
		if err := h.set(strings.ToLower(name), strings.Trim(value, " \t")); err != nil {
			return h, err
		}
	}
}

func (h *headers) set(name, value string) error {
	switch name {
	case "host":
		h.hosts++
	case "content-length":
		n, err := strconv.ParseUint(value, 10, 31)
		switch {
		case err != nil || h.hasBody || strings.Trim(value, "0123456789") != "":
			return &statusError{400, "Content-Length is not one number"}
		case n > MaxBody:
			return &statusError{413, fmt.Sprintf("a body has at most %d bytes", MaxBody)}
		}
		h.length, h.hasBody = int(n), true
	case "transfer-encoding":
		return &statusError{411, "a body needs its Content-Length"}
	case "upgrade":
		return &statusError{400, "nothing else is spoken here"}
	case "expect":
		if !strings.EqualFold(value, "100-continue") {
			return &statusError{417, "only 100-continue can be expected"}
		}
		h.awaits = true
	case "connection":
		for option := range strings.SplitSeq(value, ",") {
			option = strings.Trim(option, " \t")
			h.close = h.close || strings.EqualFold(option, "close")
			h.keep = h.keep || strings.EqualFold(option, "keep-alive")
		}
	}
	return nil
}

// content reads a body; memory grows with what has come, not with what was said.
func (r *requestReader) content(length int) ([]byte, error) {
	if length == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r.r, int64(length)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// response is an answer: JSON, or nothing with 204.
type response struct {
	status int
	body   []byte
}

func reason(status int) string {
	switch status {
	case 200:
		return "OK"
	case 204:
		return "No Content"
	case 400:
		return "Bad Request"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 413:
		return "Content Too Large"
	}
	return "Error"
}

func writeResponse(w io.Writer, r response, end, head bool) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n", r.status, reason(r.status))
	if r.status != 204 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.body))
	}
	if end {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	if !head {
		b.Write(r.body)
	}
	_, err := w.Write(b.Bytes())
	clear(b.Bytes())
	clear(r.body)
	return err
}

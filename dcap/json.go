package dcap

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// scan walks through a JSON text and refuses what could be read in two ways: duplicate
// members, in any spelling of upper and lower case, bytes behind the text, and (unless
// foreign) null. It bounds size and depth first.
func scan(text []byte, most int, foreign bool) error {
	if len(text) > most {
		return fmt.Errorf("document of %d bytes, at most %d", len(text), most)
	}
	if !utf8.Valid(text) {
		return fmt.Errorf("not valid UTF-8")
	}
	s := scanner{json.NewDecoder(bytes.NewReader(text)), foreign, maxValues}
	s.dec.UseNumber()
	if err := s.value(0); err != nil {
		return err
	}
	if _, err := s.dec.Token(); err != io.EOF {
		return fmt.Errorf("bytes behind the document")
	}
	return nil
}

type scanner struct {
	dec     *json.Decoder
	foreign bool
	left    int // values that may still come
}

func (s *scanner) value(depth int) error {
	if s.left--; s.left < 0 {
		return fmt.Errorf("more than %d values", maxValues)
	}
	token, err := s.dec.Token()
	if err != nil {
		return err
	}
	delim, ok := token.(json.Delim)
	switch {
	case !ok && token == nil && !s.foreign:
		return fmt.Errorf("null has no place here")
	case !ok:
		return nil
	case depth == maxDepth:
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	seen := map[string]bool{}
	for s.dec.More() {
		if delim == '{' {
			name, err := s.dec.Token()
			if err != nil {
				return err
			}
			key := strings.ToLower(strings.ToUpper(name.(string))) // both ways: ſ and s, K and k
			if seen[key] {
				return fmt.Errorf("duplicate member %.60q", name)
			}
			seen[key] = true
		}
		if err := s.value(depth + 1); err != nil {
			return err
		}
	}
	_, err = s.dec.Token()
	return err
}

// strict reads one of Intel's documents into v. Members that v doesn't have are refused:
// they may be conditions that this program doesn't know.
func strict(text []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

// version refuses documents of another version than the one known, before their members are
// compared with it.
func version(text []byte, known int) error {
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	if v.Version != known {
		return fmt.Errorf("version %d, known is %d (Intel PCS API version 4)", v.Version, known)
	}
	return nil
}

// signed splits one of Intel's responses, {"MEMBER":{...},"signature":"hex"}, into the exact
// bytes that are signed and the signature, r || s.
func signed(response []byte, member string) (body, signature []byte, err error) {
	if err := scan(response, MaxDocument, false); err != nil {
		return nil, nil, err
	}
	var outer map[string]json.RawMessage
	if err := json.Unmarshal(response, &outer); err != nil {
		return nil, nil, err
	}
	body = outer[member]
	if len(outer) != 2 || len(body) == 0 || body[0] != '{' {
		return nil, nil, fmt.Errorf("expected the members %q and \"signature\"", member)
	}
	var text string
	if err := json.Unmarshal(outer["signature"], &text); err != nil {
		return nil, nil, fmt.Errorf("signature: %w", err)
	}
	signature, err = hex.DecodeString(text)
	if err == nil && len(signature) != 64 {
		err = fmt.Errorf("%d bytes, expected 64", len(signature))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("signature: %w", err)
	}
	return body, signature, nil
}

// hexOf reads exactly n bytes of hex.
func hexOf(what, text string, n int) ([]byte, error) {
	b, err := hex.DecodeString(text)
	if err == nil && len(b) != n {
		err = fmt.Errorf("%d bytes, expected %d", len(b), n)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return b, nil
}

// instant reads Intel's dates, as in 2026-02-01T14:49:26Z.
func instant(what, text string) (time.Time, error) {
	t, err := time.Parse("2006-01-02T15:04:05Z", text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %.40q is no date of the form 2006-01-02T15:04:05Z", what, text)
	}
	return t, nil
}

// dated is what every document of Intel's says of itself.
type dated struct {
	// ID is "SGX" or "TDX" for TCB information, "QE", "TD_QE" and others for enclaves.
	ID                 string
	Issued, NextUpdate time.Time
	// Evaluation is the tcbEvaluationDataNumber, which Intel raises with every TCB recovery.
	Evaluation int
}

// at reports whether the document may be used at a time.
func (d dated) at(now time.Time) bool { return !now.Before(d.Issued) && !now.After(d.NextUpdate) }

// better reports whether d is to be preferred to other at a time: the one that is in its
// window, then the one of the later TCB recovery, then the one issued later.
func (d dated) better(other dated, now time.Time) bool {
	if d.at(now) != other.at(now) {
		return d.at(now)
	}
	if d.Evaluation != other.Evaluation {
		return d.Evaluation > other.Evaluation
	}
	return d.Issued.After(other.Issued)
}

package transit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// parameters are the members of a request's body. Reading one takes it out, so that what is
// left at the end is what the endpoint does not know.
type parameters map[string]json.RawMessage

// maxParameters is above what any operation of Vault's transit engine has.
const maxParameters = 32

func parse(body []byte) (parameters, error) {
	p := parameters{}
	if len(body) == 0 {
		return p, nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, &statusError{400, "the body is no JSON object"}
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, &statusError{400, "the body is no JSON object"}
		}
		var value json.RawMessage
		text, _ := name.(string) // of an object's member always
		if _, twice := p[text]; twice || len(p) == maxParameters {
			return nil, &statusError{400, "a parameter stands twice, or there are too many"}
		}
		if err := d.Decode(&value); err != nil {
			return nil, &statusError{400, "the body is no JSON object"}
		}
		p[text] = value
	}
	if _, err := d.Token(); err != nil || d.More() {
		return nil, &statusError{400, "the body is no JSON object"}
	}
	return p, nil
}

func (p parameters) text(name string) (string, error) {
	raw, found := p[name]
	delete(p, name)
	if !found || string(raw) == "null" {
		return "", nil
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "", &statusError{400, fmt.Sprintf("%s is no text", name)}
	}
	return s, nil
}

// data reads a parameter in base64.
func (p parameters) data(name string) ([]byte, error) {
	s, err := p.text(name)
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, &statusError{400, fmt.Sprintf("%s is not base64", name)}
	}
	return b, nil
}

// needed reads one that must be there, though it may be empty.
func (p parameters) needed(name string) ([]byte, error) {
	if _, found := p[name]; !found {
		return nil, &statusError{400, "missing " + name}
	}
	return p.data(name)
}

// number reads a count, as a number or as text; otherwise if absent or 0.
func (p parameters) number(name string, otherwise, most int) (int, error) {
	raw, found := p[name]
	delete(p, name)
	text := strings.Trim(string(raw), `"`)
	if !found || text == "null" || text == "" || text == "0" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || int(n) > most {
		return 0, &statusError{400, fmt.Sprintf("%s is no number up to %d", name, most)}
	}
	return int(n), nil
}

// version reads key_version: there is only the first.
func (p parameters) version() error {
	n, err := p.number("key_version", 1, 1)
	if err != nil || n != 1 {
		return &statusError{400, "there is only version 1 of a key"}
	}
	return nil
}

// rest refuses what is left and says something: a parameter that the endpoint does not know
// would otherwise be passed over, such as one that asks for another algorithm.
func (p parameters) rest() error {
	for name, raw := range p {
		switch string(raw) {
		case "null", `""`, "false", "0", "[]", "{}":
		default:
			return &statusError{400, fmt.Sprintf("parameter %.40q is not supported here", name)}
		}
	}
	return nil
}

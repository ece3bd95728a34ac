package transit

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

const prefix = "vault:v1:" // of signatures, HMACs and ciphertexts

// answer answers one request, in Vault's shapes.
func (e Endpoint) answer(r *request) response {
	data, err := e.route(r)
	var bad *statusError
	switch {
	case errors.As(err, &bad):
		return failure(bad.status, bad.text)
	case err != nil:
		return failure(400, "invalid request")
	}
	if w, is := data.(withStatus); is {
		out := success(w.data)
		out.status = w.status
		return out
	}
	return success(data)
}

// failure is an error in Vault's shape.
func failure(status int, text string) response {
	body, err := json.Marshal(map[string][]string{"errors": {text}})
	if err != nil {
		return response{500, []byte(`{"errors":["internal"]}`)}
	}
	return response{status, append(body, '\n')}
}

// envelope is what Vault wraps answers in.
type envelope struct {
	RequestID     string `json:"request_id"`
	LeaseID       string `json:"lease_id"`
	Renewable     bool   `json:"renewable"`
	LeaseDuration int    `json:"lease_duration"`
	Data          any    `json:"data"`
	WrapInfo      any    `json:"wrap_info"`
	Warnings      any    `json:"warnings"`
	Auth          any    `json:"auth"`
}

// bare is an answer without an envelope.
type bare struct{ value any }

func success(data any) response {
	var value any = envelope{RequestID: requestID(), Data: data}
	if b, is := data.(bare); is {
		value = b.value
	}
	body, err := json.Marshal(value)
	if err != nil {
		return failure(500, "internal")
	}
	return response{200, append(body, '\n')}
}

// requestID gives a random UUID (RFC 9562, version 4).
func requestID() string {
	b := keys.RandomBytes(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b)
	return strings.Join([]string{s[:8], s[8:12], s[12:16], s[16:20], s[20:]}, "-")
}

// operation answers a request for a key; more is what stands behind the key in the path.
type operation struct {
	use wire.ID
	do  func(k Key, p parameters, more string) (any, error)
	// batches says that a request may have many items, verifies that each answer says whether
	// something is valid.
	batches, verifies bool
}

func operations() map[string]operation {
	return map[string]operation{
		"sign":    {Sign, sign, true, false},
		"verify":  {Sign, verify, true, true},
		"hmac":    {Sign, hmac, true, false},
		"encrypt": {Encrypt, encrypt, true, false},
		"decrypt": {Encrypt, decrypt, true, false},
		"rewrap":  {Encrypt, rewrap, true, false},
		"derive":  {Derive, derive, false, false},
	}
}

func (e Endpoint) route(r *request) (any, error) {
	path, found := strings.CutPrefix(r.path, "/v1/")
	if !found {
		return nil, &statusError{404, "no such path"}
	}
	read := r.method == "GET" || r.method == "HEAD"
	switch {
	case path == "sys/health" && read:
		return bare{map[string]any{"initialized": true, "sealed": false, "standby": false, "version": "strongroom", "cluster_name": "strongroom"}}, nil
	case path == "auth/token/lookup-self" && read:
		return map[string]any{"ttl": 0, "renewable": false, "policies": []string{"default"}, "type": "service"}, nil
	}
	path, found = strings.CutPrefix(path, "transit/")
	if !found {
		return nil, &statusError{404, "no handler for route: the transit engine alone is here"}
	}
	what, rest, _ := strings.Cut(path, "/")
	if what == "keys" {
		return e.readKeys(r, rest)
	}
	if r.method != "POST" && r.method != "PUT" {
		return nil, &statusError{405, "unsupported operation"}
	}
	p, err := parse(r.body)
	if err != nil {
		return nil, err
	}
	switch what {
	case "random":
		return random(p, rest)
	case "hash":
		return hash(p, rest)
	}
	return e.use(what, rest, p)
}

func (e Endpoint) use(what, rest string, p parameters) (any, error) {
	if what == "datakey" {
		kind, name, _ := strings.Cut(rest, "/")
		if kind != "plaintext" && kind != "wrapped" {
			return nil, &statusError{400, "a data key is plaintext or wrapped"}
		}
		return e.run(operation{use: Derive, do: dataKey}, name, kind, p)
	}
	op, known := operations()[what]
	if !known {
		return nil, &statusError{404, "no such operation"}
	}
	name, more, _ := strings.Cut(rest, "/")
	return e.run(op, name, more, p)
}

func (e Endpoint) run(op operation, name, more string, p parameters) (any, error) {
	key, found := e.Keys[wire.ID(name)]
	if !found {
		return nil, &statusError{404, "encryption key not found"}
	}
	if !key.may(op.use) {
		return nil, &statusError{403, "permission denied: the agreement does not have the use " + string(op.use) + " for this key"}
	}
	if err := p.version(); err != nil {
		return nil, err
	}
	if said, err := p.text("name"); err != nil || said != "" && said != name { // as hvac says it again
		return nil, &statusError{400, "name is another key than that of the path"}
	}
	if raw, found := p["batch_input"]; found && op.batches && string(raw) != "null" && string(raw) != "[]" {
		return batch(op, key, p, more)
	}
	return op.do(key, p, more)
}

// readKeys answers "transit/keys" and "transit/keys/NAME". Keys are nobody's to make, change
// or export.
func (e Endpoint) readKeys(r *request, name string) (any, error) {
	if name == "" {
		if r.method != "LIST" && (r.method != "GET" || r.query != "list=true") {
			return nil, &statusError{405, "unsupported operation"}
		}
		names := []string{}
		for name := range e.Keys {
			names = append(names, string(name))
		}
		slices.Sort(names)
		return map[string]any{"keys": names}, nil
	}
	if r.method != "GET" && r.method != "HEAD" {
		return nil, &statusError{403, "permission denied: keys are the agreement's to name"}
	}
	key, found := e.Keys[wire.ID(name)]
	if !found {
		return nil, &statusError{404, "encryption key not found"}
	}
	version := map[string]any{"creation_time": "1970-01-01T00:00:00Z"}
	kind := "aes256-gcm96"
	if key.may(Sign) {
		kind = "ed25519"
		version["name"], version["public_key"] = kind, base64.StdEncoding.EncodeToString(key.Key.Public(nil))
	}
	return map[string]any{
		"name": name, "type": kind, "keys": map[string]any{"1": version}, "latest_version": 1,
		"min_available_version": 0, "min_decryption_version": 1, "min_encryption_version": 0,
		"deletion_allowed": false, "derived": false, "exportable": false, "allow_plaintext_backup": false,
		"supports_encryption": key.may(Encrypt), "supports_decryption": key.may(Encrypt),
		"supports_signing": key.may(Sign), "supports_derivation": true,
		"auto_rotate_period": 0, "imported_key": false,
	}, nil
}

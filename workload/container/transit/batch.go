package transit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

// maxBatch is how many items a request may have: each costs more to answer than to send.
const maxBatch = 4096

// withStatus is an answer whose status is not 200.
type withStatus struct {
	status int
	data   any
}

// batch does an operation for every item of batch_input. What stands beside it holds for all,
// where an item does not say otherwise. As in Vault, an item that fails has an "error" in its
// own place; of encrypt, decrypt and rewrap the status then is 400, or what
// partial_failure_response_code says where others did not fail.
func batch(op operation, k Key, p parameters, more string) (any, error) {
	items, err := p.items()
	if err != nil {
		return nil, err
	}
	status, err := p.number("partial_failure_response_code", 400, 599)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"plaintext", "ciphertext", "input", "context", "associated_data", "signature", "hmac"} {
		delete(p, name) // Vault passes over them beside a batch; clients send them empty
	}
	results := make([]map[string]any, len(items))
	failed := 0
	for i, item := range items {
		result, err := op.item(k, p, item, more)
		if err != nil {
			failed++
			result = op.failed(err)
		}
		if item.reference != "" {
			result["reference"] = item.reference
		}
		results[i] = result
	}
	out := map[string]any{"batch_results": results}
	switch {
	case failed == 0 || op.use == Sign:
		return out, nil
	case failed == len(items):
		status = 400
	}
	return withStatus{status, out}, nil
}

// item is one of a batch.
type item struct {
	parameters
	reference string // the client's own name for it, given back
}

func (p parameters) items() ([]item, error) {
	raw := p["batch_input"]
	delete(p, "batch_input")
	bad := &statusError{400, fmt.Sprintf("batch_input is no list of 1 to %d objects", maxBatch)}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, bad
	}
	var items []item
	for d.More() {
		var one json.RawMessage
		if err := d.Decode(&one); err != nil || len(items) == maxBatch {
			return nil, bad
		}
		own, err := parse(one)
		if err != nil {
			return nil, bad
		}
		reference, err := own.text("reference")
		if err != nil {
			return nil, err
		}
		items = append(items, item{own, reference})
	}
	if len(items) == 0 {
		return nil, bad
	}
	return items, nil
}

// item does the operation for one.
func (op operation) item(k Key, shared parameters, one item, more string) (map[string]any, error) {
	p := maps.Clone(shared)
	maps.Copy(p, one.parameters)
	if err := p.version(); err != nil {
		return nil, err
	}
	out, err := op.do(k, p, more)
	if err != nil {
		return nil, err
	}
	return out.(map[string]any), nil // of every operation that is done in batches
}

func (op operation) failed(err error) map[string]any {
	text := "invalid request"
	var bad *statusError
	if errors.As(err, &bad) {
		text = bad.text
	}
	out := map[string]any{"error": text}
	if op.verifies {
		out["valid"] = false
	}
	return out
}

package dcap

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"strongroom.dev/endorse"
)

// Envelope is a quote taken out of the form it came in.
type Envelope struct {
	Quote []byte
	// Held is the data whose hash the evidence says is in the report data (Microsoft's
	// "runtime data" and "enclave held data"). Bound is set if there is such data, even none.
	Held  []byte
	Bound bool
	// EventLog is the firmware's log beside the quote (Trustee's "cc_eventlog"), not looked at;
	// nil if there is none.
	EventLog []byte
}

// Detect reports which TEE data carries a quote of, in any form that [Open] reads.
func Detect(data []byte) (TEE, bool) {
	e, err := Open(data)
	if err != nil {
		return 0, false
	}
	return looksLike(e.Quote)
}

// looksLike looks at a header's fixed fields.
func looksLike(quote []byte) (TEE, bool) {
	if len(quote) < headerSize || hex.EncodeToString(quote[12:28]) != intelQE {
		return 0, false
	}
	version, tee := binary.LittleEndian.Uint16(quote), TEE(binary.LittleEndian.Uint32(quote[4:]))
	return tee, version == 3 && tee == SGX || (version == 4 || version == 5) && (tee == SGX || tee == TDX)
}

// Open finds the quote in data: raw, behind Open Enclave's report header, as hex or base64,
// in PEM armour ("REPORT" or "QUOTE"), or as the member "quote" of a JSON object such as
// Trustee's evidence or a request to Microsoft Azure Attestation.
func Open(data []byte) (Envelope, error) {
	if len(data) > MaxEnvelope {
		return Envelope{}, fmt.Errorf("%d bytes, at most %d", len(data), MaxEnvelope)
	}
	if quote, ok := plain(data); ok {
		return Envelope{Quote: quote}, nil
	}
	text := bytes.TrimSpace(data)
	switch {
	case len(text) == 0:
		return Envelope{}, fmt.Errorf("no bytes")
	case text[0] == '{':
		return openJSON(text)
	case bytes.Contains(text, []byte("-----BEGIN REPORT-----")), bytes.Contains(text, []byte("-----BEGIN QUOTE-----")):
		return openPEM(text)
	}
	if quote, ok := decoded(text); ok {
		return Envelope{Quote: quote}, nil
	}
	return Envelope{}, fmt.Errorf("no quote by Intel's quoting enclaves: %d bytes", len(data))
}

// plain recognises raw quotes, taking off the 16 bytes that Open Enclave puts in front: u32
// version 1, u32 type 2, u64 size.
func plain(data []byte) ([]byte, bool) {
	const front = 16
	if len(data) > front && binary.LittleEndian.Uint64(data) == 1|2<<32 && binary.LittleEndian.Uint64(data[8:]) == uint64(len(data)-front) {
		data = data[front:]
	}
	_, ok := looksLike(data)
	return data, ok
}

func decoded(text []byte) ([]byte, bool) { return plain(endorse.Decode(text)) }

func openPEM(text []byte) (Envelope, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return Envelope{}, fmt.Errorf("no PEM block with a quote")
		}
		if quote, ok := plain(block.Bytes); ok && (block.Type == "REPORT" || block.Type == "QUOTE") {
			return Envelope{Quote: quote}, nil
		}
	}
}

// openJSON looks for the one member "quote" that holds a quote.
func openJSON(text []byte) (Envelope, error) {
	if !bytes.Contains(text, []byte(`"quote"`)) && !bytes.Contains(text, []byte(`"Quote"`)) {
		return Envelope{}, fmt.Errorf("JSON without the member \"quote\"")
	}
	if err := scan(text, MaxEnvelope, true); err != nil {
		return Envelope{}, err
	}
	found, err := search(text, maxFound)
	if err != nil {
		return Envelope{}, err
	}
	if len(found) != 1 {
		return Envelope{}, fmt.Errorf("%d quotes in this JSON, expected one", len(found))
	}
	return found[0], nil
}

func search(object []byte, depth int) ([]Envelope, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil {
		return nil, err
	}
	var found []Envelope
	for name, value := range members {
		var text string
		switch {
		case value[0] == '{' && depth > 1:
			below, err := search(value, depth-1)
			if err != nil {
				return nil, err
			}
			found = append(found, below...)
		case value[0] == '"' && (name == "quote" || name == "Quote"):
			if err := json.Unmarshal(value, &text); err != nil {
				return nil, err
			}
			quote, ok := decoded([]byte(text))
			if !ok {
				continue
			}
			e := Envelope{Quote: quote}
			if err := errors.Join(e.held(members), e.eventLog(members["cc_eventlog"])); err != nil {
				return nil, err
			}
			found = append(found, e)
		}
	}
	return found, nil
}

// held reads the data beside a quote that its report data is a hash of: EnclaveHeldData, or
// runtimeData {data, dataType} (Microsoft Azure Attestation's REST API).
func (e *Envelope) held(members map[string]json.RawMessage) error {
	var text *string
	older, newer := members["EnclaveHeldData"], members["runtimeData"]
	switch {
	case older != nil && newer != nil:
		return fmt.Errorf("both EnclaveHeldData and runtimeData")
	case older != nil:
		if json.Unmarshal(older, &text) != nil || text == nil {
			return fmt.Errorf("EnclaveHeldData is no string")
		}
	case newer != nil:
		var r struct {
			Data *string `json:"data"`
		}
		if json.Unmarshal(newer, &r) != nil || r.Data == nil {
			return fmt.Errorf("runtimeData without data")
		}
		text = r.Data
	default:
		return nil
	}
	raw, err := base64URL(*text)
	if err != nil {
		return fmt.Errorf("held data: %w", err)
	}
	e.Held, e.Bound = raw, true
	return nil
}

// eventLog reads the log beside a quote: base64, or null if there is none.
func (e *Envelope) eventLog(member json.RawMessage) error {
	var text *string
	if len(member) == 0 {
		return nil
	}
	if err := json.Unmarshal(member, &text); err != nil {
		return fmt.Errorf("cc_eventlog is no string")
	}
	if text == nil || *text == "" {
		return nil
	}
	raw, err := base64URL(*text)
	if err != nil {
		return fmt.Errorf("cc_eventlog: %w", err)
	}
	e.EventLog = raw
	return nil
}

// base64URL reads base64 of either alphabet, padded or not.
func base64URL(text string) ([]byte, error) {
	text = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "="))
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

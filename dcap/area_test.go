package dcap_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"testing"

	"strongroom.dev/dcap"
	"strongroom.dev/measure"
)

// TestWholeLogArea takes the whole area of the largest size that firmware sets aside for its log,
// as Trustee's attesters send it.
func TestWholeLogArea(t *testing.T) {
	quote := make([]byte, 8000)
	if _, err := hex.Decode(quote, []byte("0400020081000000"+"00000000"+"939a7233f79c4ca9940a0db3957f0607")); err != nil {
		t.Fatal(err)
	}
	area := bytes.Repeat([]byte{0xff}, measure.MaxLog)
	text, err := json.Marshal(map[string]any{"quote": quote, "cc_eventlog": area})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := dcap.Open(text); err != nil || !bytes.Equal(e.EventLog, area) || !bytes.Equal(e.Quote, quote) {
		t.Errorf("%d bytes of log, %d of quote, %v", len(e.EventLog), len(e.Quote), err)
	}
}

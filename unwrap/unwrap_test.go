package unwrap_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"strongroom.dev/unwrap"
)

func isTest(b []byte) bool { return bytes.HasPrefix(b, []byte("\x01EVIDENCE")) }

func piece(behind byte) []byte {
	return append([]byte("\x01EVIDENCE"), bytes.Repeat([]byte{behind}, 80)...)
}

func TestFind(t *testing.T) {
	raw := piece(0)
	b64 := base64.StdEncoding.EncodeToString(raw)
	list := strings.Trim(strings.ReplaceAll(fmt.Sprint(raw), " ", ", "), "[]")
	other := hex.EncodeToString(piece(1))
	for name, c := range map[string]struct {
		text []byte
		want string // of the error
	}{
		"raw":                    {raw, ""},
		"hex":                    {[]byte(hex.EncodeToString(raw) + "\n"), ""},
		"base64":                 {[]byte(b64), ""},
		"base64 for URLs":        {[]byte(base64.RawURLEncoding.EncodeToString(raw)), ""},
		"PEM":                    {pem.EncodeToMemory(&pem.Block{Type: "EVIDENCE", Bytes: raw}), ""},
		"a member":               {[]byte(`{"a":null,"b":{"c":["` + b64 + `",1.5,true]}}`), ""},
		"a list of bytes":        {[]byte(`{"token":[` + list + `],"e":[],"n":[1,256]}`), ""},
		"twice the same":         {[]byte(`["` + b64 + `","` + hex.EncodeToString(raw) + `"]`), ""},
		"JSON in base64":         {[]byte(`{"a":"` + base64.StdEncoding.EncodeToString([]byte(`{"evidence":"`+b64+`"}`)) + `"}`), ""},
		"escaped":                {[]byte(`{"a":"` + strings.Replace(b64, b64[:1], fmt.Sprintf(`\u%04x`, b64[0]), 1) + `"}`), ""},
		"nothing":                {nil, "no such evidence"},
		"something else":         {[]byte(`{"a":"` + strings.Repeat("00", 80) + `"}`), "no such evidence"},
		"no JSON":                {[]byte(`{"a":"` + b64 + `"`), "no such evidence"},
		"two that differ":        {[]byte(`["` + b64 + `","` + other + `"]`), "two different"},
		"a member twice":         {[]byte(`{"a":"` + b64 + `","a":"` + b64 + `"}`), "duplicate"},
		"a member twice, deeper": {[]byte(`{"a":"` + b64 + `","b":[{"a":1,"\u0061":2}]}`), "duplicate"},
		"too many values":        {[]byte(`["` + b64 + `"` + strings.Repeat(",0", 2000) + `]`), "values"},
		"too deep":               {[]byte(strings.Repeat("[", 30) + `"` + b64 + `"` + strings.Repeat("]", 30)), "deeper"},
		"too long":               {bytes.Repeat([]byte("0"), 10_001), "at most 10000"},
		"too many blocks":        {bytes.Repeat([]byte("-----BEGIN X-----\nAA==\n-----END X-----\n"), 1100)[:9_999], "no such evidence"},
	} {
		got, err := unwrap.Find(c.text, 10_000, isTest)
		switch {
		case c.want == "" && (err != nil || !bytes.Equal(got, raw)):
			t.Errorf("%s: %x, %v", name, got, err)
		case c.want != "" && (err == nil || got != nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, expected %q", name, err, c.want)
		}
	}
}

// TestFindHostile checks that time and memory stay small.
func TestFindHostile(t *testing.T) {
	const size = 256 << 10
	for name, text := range map[string]string{
		"lists": "[" + strings.Repeat("[0],", size/4) + "0]", "numbers": "[" + strings.Repeat("1,", size/2) + "256]", "strings": "[" + strings.Repeat(`"",`, size/3) + `""]`,
		"deep": strings.Repeat("[", 9000) + strings.Repeat("]", 9000), "objects": strings.Repeat(`{"a":`, size/6) + "0" + strings.Repeat("}", size/6),
		"names": `{"a":0` + strings.Repeat(`,"":0`, size/5) + "}",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		_, err := unwrap.Find([]byte(text), size+100, isTest)
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; err == nil || n > 48*size || took > 500*time.Millisecond {
			t.Errorf("%s: %v, %d bytes, %s", name, err, n, took)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add([]byte(`{"a":["` + base64.StdEncoding.EncodeToString(piece(0)) + `",[1,2],{"b":null}]}`))
	f.Add([]byte("-----BEGIN X-----\nAA==\n-----END X-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := unwrap.Find(data, 10_000, isTest); err == nil && !isTest(got) {
			t.Error("something else was found")
		}
	})
}

package release_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/release"
	"strongroom.dev/wire"
)

// junk gives requests of the largest size in shapes that are costly to read, each refused.
func junk() map[string][]byte {
	fill := func(before, unit, after string) []byte {
		n := (release.MaxRequest - len(before) - len(after)) / len(unit)
		return []byte(before + strings.TrimSuffix(strings.Repeat(unit, n), ",") + after)
	}
	tail := `"signatures":[],"type":"` + release.RequestType + `"}`
	body := func(before, unit, after string) []byte { return fill(`{"body":{`+before, unit, after+`},`+tail) }
	var names strings.Builder
	for i := 0; names.Len() < release.MaxRequest-1000; i++ {
		names.WriteString(`"` + strings.Repeat("a", 1+i%7) + string(rune('b'+i/7%25)) + string(rune('b'+i/175%25)) + string(rune('b'+i/4375%25)) + string(rune('b'+i/109375%25)) + `":0,`)
	}
	return map[string][]byte{
		"zeros":            fill("[", "0,", "]"),
		"empty lists":      body(`"agreement":[`, "[],", "]"),
		"empty objects":    body(`"parties":[`, "{},", "]"),
		"inputs":           body(`"inputs":[`, "{},", "]"),
		"proofs":           body(`"peers":[`, `{"proof":[]},`, "]"),
		"texts":            body(`"parties":[`, `"",`, "]"),
		"long text":        body(`"release_id":"`, "a", `"`),
		"escapes":          body(`"release_id":"`, `\u0001`, `"`),
		"escaped letters":  body(`"release_id":"`, `\u0061`, `"`),
		"other letters":    body(`"release_id":"`, "\u00e9", `"`),
		"marks":            body(`"release_id":"`, "\u0323\u0302", `"`),
		"nested":           body(`"run":[`, strings.Repeat(`{"a":`, 28)+"0"+strings.Repeat("}", 28)+",", "]"),
		"nested, unsorted": body(`"run":[`, strings.Repeat(`{"b":0,"a":`, 28)+"0"+strings.Repeat("}", 28)+",", "]"),
		"members":          []byte(`{"body":{` + strings.TrimSuffix(names.String(), ",") + `},` + tail),
		"signatures":       fill(`{"body":{},"signatures":[`, `{},`, `],"type":"`+release.RequestType+`"}`),
		"spaces":           fill(`{"body":{},`, " ", tail),
		"unfinished":       fill(`{"body":{"agreement":[`, `{"a":[`, ""),
	}
}

// allocated gives the bytes allocated by f.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestJunkCostsLittle bounds the memory that anybody can make a broker use by a request of
// the largest size.
func TestJunkCostsLittle(t *testing.T) {
	const times = 16
	for name, data := range junk() {
		got := allocated(func() {
			if _, err := release.ParseRequest(data); err == nil {
				t.Errorf("%s: read", name)
			}
		})
		if len(data) > release.MaxRequest || len(data) < release.MaxRequest-2000 {
			t.Errorf("%s: %d bytes", name, len(data))
		}
		if got > times*release.MaxRequest {
			t.Errorf("%s: %d bytes allocated, %.1f times the largest request, expected at most %d", name, got, float64(got)/release.MaxRequest, times)
		}
	}
}

// TestRoomForReal shows that a request fits whose parts are as large as limits.go says that
// real ones are.
func TestRoomForReal(t *testing.T) {
	room := signingKey(t)
	text := func(kilobytes int) json.RawMessage {
		return json.RawMessage(`{"text":"` + strings.Repeat("x", kilobytes<<10) + `"}`)
	}
	_, hpke := fixedHPKE(t, bytes.Repeat([]byte{4}, 32))
	r := request(room, hpke)
	r.Evidence.Evidence = bytes.Repeat([]byte{1}, 300<<10)
	r.Agreement, r.Run = text(200), text(10)
	r.Parties, r.Inputs = nil, nil
	for range agreement.MaxParties {
		r.Parties = append(r.Parties, text(16))
	}
	for i := range agreement.MaxInputs {
		r.Inputs = append(r.Inputs, release.InputRequest{Input: wire.ID(fmt.Sprintf("input-%d", i)), Statement: text(4), Header: bytes.Repeat([]byte{1}, 7<<10)})
	}
	if _, _, err := release.NewRequest(room, r); err != nil {
		t.Error(err)
	}
}

func BenchmarkJunk(b *testing.B) {
	for name, data := range junk() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := release.ParseRequest(data); err == nil {
					b.Fatal("read")
				}
			}
		})
	}
}

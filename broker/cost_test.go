package broker_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/release"
)

// junkParts are changes to a request that put as much as it holds into one of the documents
// in it, in shapes that are costly to read. The room signs each: its key is anyone's.
func junkParts() map[string]func(*release.Request) {
	document := func(docType, before, unit, after string) json.RawMessage {
		const most, elements = release.MaxRequest - 100_000, 8_000
		list := ""
		if unit != "" {
			list = strings.TrimSuffix(strings.Repeat(unit, min(most/len(unit), elements)), ",")
		}
		return json.RawMessage(fmt.Sprintf(`{"body":{%s%s%s},"signatures":[],"type":"%s"}`, before, list, after, docType))
	}
	deep := func(unit string) string { // as many lists of unit as a document has values
		list := strings.TrimSuffix(strings.Repeat(unit, 8_000), ",")
		return strings.TrimSuffix(strings.Repeat("{\"schema\":["+list+"]},", 7), ",")
	}
	return map[string]func(*release.Request){
		"inputs":    func(r *release.Request) { r.Agreement = document(agreement.AgreementType, `"inputs":[`, "{},", "]") },
		"parties":   func(r *release.Request) { r.Agreement = document(agreement.AgreementType, `"parties":[`, "{},", "]") },
		"platforms": func(r *release.Request) { r.Agreement = document(agreement.AgreementType, `"platforms":[`, "{},", "]") },
		"columns": func(r *release.Request) {
			r.Agreement = json.RawMessage(`{"body":{"inputs":[` + deep("{},") + `]},"signatures":[],"type":"` + agreement.AgreementType + `"}`)
		},
		"long text": func(r *release.Request) {
			r.Agreement = document(agreement.AgreementType, `"title":"`+strings.Repeat("a", 1_900_000), "", `"`)
		},
		"letters": func(r *release.Request) {
			r.Agreement = document(agreement.AgreementType, `"title":"`+strings.Repeat("\u00e9", 900_000), "", `"`)
		},
		"parameters": func(r *release.Request) { r.Run = document(agreement.RunType, `"datasets":[`, "{},", "]") },
		"statements": func(r *release.Request) {
			r.Inputs[0].Statement = document(agreement.DatasetType, `"supersedes":"`+strings.Repeat("a", 1_900_000), "", `"`)
		},
		"descriptor": func(r *release.Request) { r.Parties[0] = document(agreement.PartyType, `"keys":[`, "{},", "]") },
	}
}

// TestJunkPartsCostLittle bounds the memory that any room can make a broker use.
func TestJunkPartsCostLittle(t *testing.T) {
	const times = 32 // about 13, and half as much again under the race detector
	w := newWorld(t)
	b, a := w.newHouse().ready()
	for name, change := range junkParts() {
		r := w.newRoom(a, w.newRun(a))
		must(t, r.getChallenge(b))
		r.change = change
		data := r.request()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := b.Release(ctx, data)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: granted", name)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > times*release.MaxRequest {
			t.Errorf("%s: %d bytes allocated, %.1f times the largest request, expected at most %d", name, got, float64(got)/release.MaxRequest, times)
		}
	}
}

func BenchmarkJunk(b *testing.B) {
	w := newWorld(b)
	br, a := w.newHouse().ready()
	for name, change := range junkParts() {
		b.Run(name, func(b *testing.B) {
			r := w.newRoom(a, w.newRun(a))
			must(b, r.getChallenge(br))
			r.change = change
			data := r.request()
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := br.Release(ctx, data); err == nil {
					b.Fatal("granted")
				}
			}
		})
	}
}

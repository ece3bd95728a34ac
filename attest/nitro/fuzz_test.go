package nitro_test

import (
	"testing"

	"strongroom.dev/attest/nitro"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/evidencetest"
)

func FuzzExamine(f *testing.F) {
	small := append([]byte("\x84\x44\xa1\x01\x38\x22\xa0\x4b\xa1\x69module_id\x60"), 0x40)
	f.Add(small)
	f.Add(append([]byte{0, 2, byte(len(small) << 2), 0}, small...))
	f.Add([]byte(`{"document":"hEShATgioEuhaW1vZHVsZV9pZGBA","init_data":"","type":"strongroom/nitro-evidence/v1"}`))
	v, now := nitro.New(endorse.Set{}), evidencetest.Time("2026-11-24T12:00:00Z")
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := v.Examine(data, now); err == nil {
			t.Error("genuine")
		}
		nitro.Detect(data)
	})
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte("\xa2\x69module_id\x61i\x64pcrs\xa1\x00\x40"))
	f.Add([]byte("\xbf\x66digest\x66SHA384\x69timestamp\x1a\x00\x01\x00\x00\xff"))
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, payload []byte) {
		if err := nitro.ParseDocument(w.sign(raw("\xa1\x01\x38\x22"), payload, w.keys[4])); err == nil && len(payload) < 300 {
			t.Error("accepted")
		}
	})
}

package predict_test

import (
	"testing"

	"strongroom.dev/predict"
)

// TestReleaseOf reads what firmware says of its release, in the forms that distributions write.
func TestReleaseOf(t *testing.T) {
	in := func(texts ...string) []byte {
		body := []byte("code")
		for _, text := range texts {
			body = append(body, utf16(text)...)
		}
		return aligned4K(compactVolume(t, volume(t, 512), volume(t, 512, file(t, "9e21fd93-9c72-4c15-8c4b-e77f1db2d792", 0x07, body))))
	}
	for name, c := range map[string]struct {
		firmware []byte
		want     predict.FirmwareRelease
		said     bool
	}{
		"Debian":               {in("2025.02-8+deb13u1"), predict.FirmwareRelease{Year: 2025, Month: 2}, true},
		"Ubuntu":               {in("2022.02-3ubuntu0.22.04.1"), predict.FirmwareRelease{Year: 2022, Month: 2}, true},
		"Fedora":               {in("edk2-20230214-2.fc38"), predict.FirmwareRelease{Year: 2023, Month: 2}, true},
		"EDK II":               {in("edk2-stable202211"), predict.FirmwareRelease{Year: 2022, Month: 11}, true},
		"the oldest of two":    {in("2024.02-1", "2022.11-6"), predict.FirmwareRelease{Year: 2022, Month: 11}, true},
		"nothing":              {in(), predict.FirmwareRelease{}, false},
		"a year alone":         {in("2022"), predict.FirmwareRelease{}, false},
		"the end of a number":  {in("1.2022.11-6"), predict.FirmwareRelease{}, false},
		"no month":             {in("2022.13-1", "edk2-20221"), predict.FirmwareRelease{}, false},
		"another program":      {in("Copyright 2022.11"), predict.FirmwareRelease{}, false},
		"not in what it packs": {append(utf16("2022.11-6"), make([]byte, 4096-20)...), predict.FirmwareRelease{}, false},
		"no firmware":          {nil, predict.FirmwareRelease{}, false},
	} {
		got, said := predict.ReleaseOf(c.firmware)
		if got != c.want || said != c.said {
			t.Errorf("%s: %v, %v", name, got, said)
		}
	}
	old, new := predict.FirmwareRelease{Year: 2022, Month: 11}, predict.FirmwareRelease{Year: 2023, Month: 2}
	if !old.Before(new) || new.Before(old) || old.Before(old) || !(predict.FirmwareRelease{Year: 2023, Month: 1}).Before(new) || new.String() != "2023.02" {
		t.Error("the order of releases")
	}
}

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/verdict"
)

// FuzzInspect: whatever a file holds, looking at it ends in a description or in one line.
func FuzzInspect(f *testing.F) {
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(scripts) == 0 {
		f.Fatal(scripts, err)
	}
	for _, name := range scripts {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for part := range strings.SplitSeq(string(data), "\n-- ") {
			f.Add([]byte(part[strings.IndexByte(part, '\n')+1:]))
		}
	}
	f.Add([]byte("log.example\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u2014 log.example AAAA\n"))
	f.Add([]byte(`{"platform":"dev","evidence":"e30="}`))
	f.Add([]byte(`{"entry":"e30=","index":0,"proof":[],"checkpoint":""}`))
	a := &app{in: strings.NewReader(""), out: io.Discard, err: io.Discard, homeDir: "/nonexistent", now: time.Now}
	f.Fuzz(func(t *testing.T, data []byte) {
		i := &inspection{File: "fuzz"}
		if err := a.inspectData(i, data); err != nil {
			if line := verdict.As(err).Error(); strings.ContainsAny(line, "\n\x1b") {
				t.Fatalf("not one clean line: %q", line)
			}
			return
		}
		var b strings.Builder
		i.text(&b)
		if strings.Contains(b.String(), "\x1b") {
			t.Fatalf("control characters on the screen: %q", b.String())
		}
	})
}

// FuzzColumns: a schema file that is read is a valid schema.
func FuzzColumns(f *testing.F) {
	f.Add([]byte("- {name: patient, type: integer, unit: true}\n- {name: cost, type: decimal, scale: 2}\n"))
	f.Add([]byte("- &a {name: x}\n- *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		columns, err := draft.ParseColumns("fuzz", data)
		if err == nil && agreement.ValidateSchema(columns) != nil {
			t.Fatalf("%+v", columns)
		}
	})
}

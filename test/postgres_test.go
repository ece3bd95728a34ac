package test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/internal/debianimage"
	"strongroom.dev/wire"
)

// postgresql sets $LAYOUT to an OCI layout of Debian's PostgreSQL, which is made if there is
// none yet: postgresql.
func postgresql(ts *testscript.TestScript, _ bool, _ []string) {
	for _, tool := range []string{"mmdebstrap", "psql"} {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			ts.Fatalf("no %s: run scripts/setup test", tool)
		}
		return // the script is skipped
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	dir, err := debianimage.PostgreSQL().Layout(ctx, io.Discard)
	ts.Check(err)
	ts.Setenv("LAYOUT", dir)
}

// keepdata has a prepared PostgreSQL keep its data in a volume: keepdata DIR.
func keepdata(ts *testscript.TestScript, _ bool, args []string) {
	path := filepath.Join(ts.MkAbs(args[0]), "container.yaml")
	data, err := os.ReadFile(path)
	ts.Check(err)
	c, err := draft.ParseContainer(path, data)
	ts.Check(err)
	at := slices.IndexFunc(c.Mounts, func(m agreement.Mount) bool { return m.Path == "/var/lib/postgresql/data" })
	if at < 0 {
		ts.Fatalf("the image has no place for data: %+v", c.Mounts)
	}
	c.Mounts[at] = agreement.Mount{Path: c.Mounts[at].Path, Kind: agreement.Volume, Bytes: 512 << 20, Mode: 0o700, UID: c.User.UID, GID: c.User.GID, Input: "db-key"}
	for i, m := range c.Mounts {
		if m.Path == "/run/postgresql" {
			c.Mounts[i].UID, c.Mounts[i].GID = c.User.UID, c.User.GID
		}
	}
	c.Ports[0].Name = "db"
	c.Logs = agreement.Logs{Receivers: []wire.ID{}}
	ts.Check(os.WriteFile(path, []byte(draft.Container(c)), 0o644))
}

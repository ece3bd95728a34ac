// Package pgtest starts a PostgreSQL server for a test.
package pgtest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Start starts a PostgreSQL of the test's own, and gives its address: database postgres, user
// strongroom, a superuser, over a Unix socket. Without PostgreSQL's programs the test is
// skipped, but fails under CI.
func Start(t testing.TB) string {
	t.Helper()
	bin := programs(t)
	// Sockets' paths are short, and a server that must not be root can't look into root's directories.
	dir, err := os.MkdirTemp("/tmp", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	user := asOther(t, dir)
	run := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.SysProcAttr, cmd.Dir = user, dir
		return cmd
	}
	data := filepath.Join(dir, "data")
	if out, err := run("initdb", "-D", data, "-A", "trust", "-U", "strongroom", "--no-sync", "-E", "UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en-US").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	var log bytes.Buffer
	server := run("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off")
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Signal(os.Interrupt); server.Wait() })
	address := "postgres://strongroom@/postgres?host=" + dir
	for range 200 {
		conn, err := pgconn.Connect(context.Background(), address)
		if err == nil {
			conn.Close(context.Background())
			return address
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("PostgreSQL does not answer: %s", log.String())
	return ""
}

// Exec runs statements.
func Exec(t testing.TB, address, statements string) {
	t.Helper()
	conn, err := pgconn.Connect(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), statements).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// programs finds PostgreSQL's own; under CI they must be there.
func programs(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path)
		}
	}
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(found) > 0 {
		return filepath.Dir(found[len(found)-1])
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no PostgreSQL: scripts/setup test installs it")
	}
	t.Skip("no PostgreSQL: scripts/setup test installs it")
	return ""
}

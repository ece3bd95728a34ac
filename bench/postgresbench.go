package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/internal/debianimage"
)

// How pgbench is run: pgScale times 100,000 accounts, pgClients clients, pgSpell seconds,
// pgRounds times each way.
const (
	pgScale   = 10
	pgClients = 4
	pgSpell   = 1
	pgRounds  = 21
	// pgMemory bounds the data in memory, pgVolume the volume.
	pgMemory = 2 << 30
	pgVolume = 2 << 30
	pgUID    = 100
	pgGID    = 102
)

// Where PostgreSQL keeps its data and its socket.
const (
	pgData = "/var/lib/postgresql/data"
	pgRun  = "/run/postgresql"
)

// pgScripts are the transactions of pgbench, by the name that its option -b has for them.
var pgScripts = []struct{ name, script string }{{"select-only", "select-only"}, {"TPC-B", "tpcb-like"}}

func pgInside(name string) string {
	return "container: pgbench " + name + ", beside PostgreSQL, data in memory"
}
func pgConnect(name string) string {
	return "container: pgbench " + name + ", through strongroom connect against TLS 1.3, data in memory"
}
func pgOnVolume(name string) string {
	return "container: pgbench " + name + ", beside PostgreSQL, encrypted volume against the disk"
}

func pgRows() (rows []string) {
	for _, s := range pgScripts {
		rows = append(rows, pgInside(s.name), pgConnect(s.name), pgOnVolume(s.name))
	}
	return rows
}

// pgServer answers a line of pgbench's arguments with what pgbench says: nobody can run
// anything beside what an image runs, so this image runs it.
const pgServer = `#!/usr/bin/perl
use IO::Socket::INET;
my $l = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $ENV{BENCHPORT} || 7000, Listen => 8, ReuseAddr => 1) or die;
while (my $c = $l->accept) {
  my $line = <$c>;
  chomp $line;
  print $c scalar qx(pgbench -h /run/postgresql -U postgres $line postgres 2>&1);
  close $c;
}
`

// pgImage is Debian's PostgreSQL and pgbench.
func pgImage() debianimage.Image {
	i := debianimage.PostgreSQL()
	i.Name = "postgres-bench"
	i.Setup = append(slices.Clone(i.Setup), "cat > usr/local/bin/bench-server <<'END'\n"+pgServer+"END",
		"printf '#!/bin/sh\\nbench-server &\\nexec start-postgres\\n' > usr/local/bin/start-bench", "chmod 755 usr/local/bin/bench-server usr/local/bin/start-bench")
	i.Config.Cmd = []string{"/usr/local/bin/start-bench"}
	i.Config.ExposedPorts = map[string]struct{}{"5432/tcp": {}, "7000/tcp": {}}
	return i
}

// pgSide is one PostgreSQL and the ways to it.
type pgSide struct {
	bench   func(ctx context.Context) (net.Conn, error) // to the server that runs pgbench
	address string                                      // of PostgreSQL, for a pgbench outside
	sslMode string                                      // of that pgbench
}

// pgBench measures PostgreSQL in rooms and outside, by the same pgbench.
func pgBench(ctx context.Context, dir string, match func(string) bool) ([]row, error) {
	layout, err := pgImage().Layout(ctx, io.Discard)
	if err != nil {
		return nil, err
	}
	var rows []row
	matched := func(name func(string) string) bool {
		return slices.ContainsFunc(pgScripts, func(s struct{ name, script string }) bool { return match(name(s.name)) })
	}
	if matched(pgInside) || matched(pgConnect) {
		more, err := pgPair(ctx, filepath.Join(dir, "memory"), layout, false)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	if matched(pgOnVolume) {
		more, err := pgPair(ctx, filepath.Join(dir, "disk"), layout, true)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return slices.DeleteFunc(rows, func(r row) bool { return !match(r.Name) }), nil
}

// pgPair measures a room and its like outside, with the data on disk or in memory.
func pgPair(ctx context.Context, dir, layout string, disk bool) ([]row, error) {
	room, endRoom, err := pgRoom(ctx, filepath.Join(dir, "room"), layout, disk)
	if err != nil {
		return nil, err
	}
	defer endRoom()
	plain, endPlain, err := pgOutside(ctx, filepath.Join(dir, "outside"), layout, disk)
	if err != nil {
		return nil, err
	}
	defer endPlain()
	for _, side := range []pgSide{room, plain} {
		if said, err := side.ask(ctx, fmt.Sprintf("-i -q -s %d", pgScale)); err != nil || !strings.Contains(said, "done in") {
			return nil, fmt.Errorf("pgbench -i: %w\n%s", errors.Join(err, errors.New("no data")), said)
		}
	}
	var rows []row
	for _, s := range pgScripts {
		more, err := pgScript(ctx, room, plain, s.name, s.script, disk)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

func pgScript(ctx context.Context, room, plain pgSide, name, script string, disk bool) ([]row, error) {
	args := fmt.Sprintf("-n -c %d -j 1 -T %d -b %s", pgClients, pgSpell, script)
	ways := []func(context.Context, string) (float64, error){room.inside, plain.inside}
	if !disk {
		ways = append(ways, room.outside, plain.outside)
	}
	took := make([][]float64, len(ways))
	for range pgRounds {
		for i, way := range ways {
			v, err := way(ctx, args)
			if err != nil {
				return nil, fmt.Errorf("pgbench %s: %w", name, err)
			}
			took[i] = append(took[i], v)
		}
	}
	rows := []row{pgRow(pgInside(name), took[0], took[1])}
	if disk {
		rows[0].Name = pgOnVolume(name)
		return rows, nil
	}
	rows[0].Goal, rows[0].Met = "at least 0.9x", rows[0].Ratio >= 0.9
	return append(rows, pgRow(pgConnect(name), took[2], took[3])), nil
}

// pgRow has the medians of both sides, and as ratio the median of those of turns side by side:
// what else the machine does in a turn changes by the second.
func pgRow(name string, room, plain []float64) row {
	var ratios []float64
	for i := range room {
		if plain[i] > 0 {
			ratios = append(ratios, room[i]/plain[i])
		}
	}
	r := row{Name: name, Value: roomMedian(room), Unit: "transactions/s", Against: roomMedian(plain)}
	if len(ratios) > 0 {
		r.Ratio = roomMedian(ratios)
	}
	return r
}

// inside has the pgbench beside PostgreSQL run, over its Unix socket.
func (s pgSide) inside(ctx context.Context, args string) (float64, error) {
	said, err := s.ask(ctx, args)
	if err != nil {
		return 0, err
	}
	return transactions(said)
}

// outside runs this machine's pgbench over TCP.
func (s pgSide) outside(ctx context.Context, args string) (float64, error) {
	said, err := s.client(ctx, "pgbench", append(strings.Fields(args), "postgres")...)
	if err != nil {
		return 0, err
	}
	return transactions(said)
}

func (s pgSide) client(ctx context.Context, program string, args ...string) (string, error) {
	host, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"-h", host, "-p", port, "-U", "postgres"}, args...)...)
	cmd.Env = append(os.Environ(), "PGSSLMODE="+s.sslMode)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return string(out), nil
}

func (s pgSide) ask(ctx context.Context, args string) (string, error) {
	conn, err := s.bench(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, args); err != nil {
		return "", err
	}
	said, err := io.ReadAll(io.LimitReader(bufio.NewReader(conn), 1<<20))
	return string(said), err
}

var tpsLine = regexp.MustCompile(`tps = ([0-9.]+)`)

func transactions(said string) (float64, error) {
	m := tpsLine.FindStringSubmatch(said)
	if m == nil && strings.Contains(said, "actually processed: 0\n") {
		return 0, nil // the disk stood still: that counts too
	}
	if m == nil {
		return 0, fmt.Errorf("no transactions a second in:\n%s", said)
	}
	return strconv.ParseFloat(m[1], 64)
}

// ready waits until PostgreSQL serves.
func (s pgSide) ready(ctx context.Context) error {
	return eventually(ctx, func() bool {
		_, err := s.client(ctx, "psql", "-Atc", "SELECT 1")
		return err == nil
	})
}

// pgRoom runs PostgreSQL in a room, its data in memory or on a volume.
func pgRoom(ctx context.Context, dir, layout string, disk bool) (s pgSide, end func(), err error) {
	cfg := containerConfig{Command: filepath.Join("bin", "strongroom"), Dir: dir, Layout: layout, Edit: func(c *agreement.Container) { editPostgres(c, disk) }}
	if disk {
		cfg.Volume = pgData
	}
	r, err := startContainer(ctx, cfg)
	if err != nil {
		return s, nil, err
	}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	way, err := r.way("bench", time.Hour)
	if err != nil {
		return s, nil, err
	}
	s = pgSide{sslMode: "disable", bench: func(ctx context.Context) (net.Conn, error) { return way.DialContext(ctx, "", "") }}
	if s.address, err = r.connect(ctx, "db"); err != nil {
		return s, nil, err
	}
	return s, r.Close, s.ready(ctx)
}

func editPostgres(c *agreement.Container, disk bool) {
	for i, p := range c.Ports {
		c.Ports[i].Name = "db"
		if p.Port == 7000 {
			c.Ports[i].Name = "bench"
		}
	}
	for i, m := range c.Mounts {
		if m.Path != pgData && m.Path != pgRun {
			continue
		}
		c.Mounts[i].UID, c.Mounts[i].GID = c.User.UID, c.User.GID
		if m.Path == pgData {
			c.Mounts[i].Bytes, c.Mounts[i].Mode = pgMemory, 0o700
			if disk {
				c.Mounts[i].Kind, c.Mounts[i].Bytes, c.Mounts[i].Input = agreement.Volume, pgVolume, volumeKey
			}
		}
	}
	c.Limits.Memory = 2 * pgMemory
}

// pgOutside runs the same PostgreSQL outside, its data in memory or on the disk that the room's
// volume is on. It speaks TLS 1.3 to clients elsewhere.
func pgOutside(ctx context.Context, dir, layout string, disk bool) (s pgSide, end func(), err error) {
	if s.address, err = freeAddress(); err != nil {
		return s, nil, err
	}
	bench, err := freeAddress()
	if err != nil {
		return s, nil, err
	}
	s.sslMode = "require"
	s.bench = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", bench) }
	certificate, key, _, err := plainCertificate()
	if err != nil {
		return s, nil, err
	}
	cfg := outsideConfig{Dir: dir, Layout: layout, DataPath: pgData, Writable: []string{pgRun}, UID: pgUID, GID: pgGID, Argv: []string{"/usr/local/bin/start-bench"},
		Files: map[string]string{"etc/postgresql/cert.pem": certificate, "etc/postgresql/key.pem": key},
		Env:   []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/bin", "PGDATA=" + pgData + "/main", "LANG=C.UTF-8", "PGPORT=" + portOf(s.address), "BENCHPORT=" + portOf(bench)}}
	if disk {
		cfg.Data = filepath.Join(dir, "data")
		if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
			return s, nil, err
		}
	}
	var processes []process
	if err := startOutside(cfg, &processes); err != nil {
		return s, nil, err
	}
	stop := func() { endAll(processes) }
	defer func() {
		if err != nil {
			stop()
			said, _ := os.ReadFile(filepath.Join(dir, "log"))
			err = fmt.Errorf("PostgreSQL outside: %w\n%s", err, said)
		}
	}()
	if err := s.encrypt(ctx); err != nil {
		return s, nil, err
	}
	return s, stop, s.ready(ctx)
}

// encrypt has PostgreSQL speak TLS 1.3.
func (s pgSide) encrypt(ctx context.Context) error {
	s.sslMode = "prefer"
	if err := s.ready(ctx); err != nil {
		return err
	}
	_, err := s.client(ctx, "psql", "-c", "ALTER SYSTEM SET ssl_cert_file = '/etc/postgresql/cert.pem'", "-c", "ALTER SYSTEM SET ssl_key_file = '/etc/postgresql/key.pem'",
		"-c", "ALTER SYSTEM SET ssl_min_protocol_version = 'TLSv1.3'", "-c", "ALTER SYSTEM SET ssl = on", "-c", "SELECT pg_reload_conf()")
	return err
}

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

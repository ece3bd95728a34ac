package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/ear"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/pgtest"
	"strongroom.dev/keys"
	"strongroom.dev/lineage"
	"strongroom.dev/store/postgres"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

func open(t *testing.T, address string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(context.Background(), postgres.Config{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestStore runs everything against one server, which takes seconds to make.
func TestStore(t *testing.T) {
	address := pgtest.Start(t)
	t.Run("keeps", func(t *testing.T) { keeps(t, address) })
	t.Run("one wins", func(t *testing.T) { oneWins(t, address) })
	t.Run("instances", func(t *testing.T) { instances(t, address) })
}

func keeps(t *testing.T, address string) {
	ctx, s := context.Background(), open(t, address)
	for _, c := range []struct {
		key, old, value string
		want            error
	}{
		{"a/1", "", "one", nil}, {"a/1", "", "two", verifier.ErrChanged}, {"a/1", "other", "two", verifier.ErrChanged}, {"a/1", "one", "two", nil},
		{"a/2", "one", "two", verifier.ErrChanged}, {"a/2", "", "x", nil}, {"b/1", "", "y", nil}, {"A%", "", "z", nil}, {"a_", "", "v", nil},
	} {
		var old []byte
		if c.old != "" {
			old = []byte(c.old)
		}
		if err := s.Swap(ctx, verifier.TablePolicy, c.key, old, []byte(c.value)); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if s.Swap(ctx, verifier.TablePolicy, "", nil, []byte("v")) == nil || s.Swap(ctx, verifier.TablePolicy, "k", nil, nil) == nil {
		t.Error("took an empty key or value")
	}
	keysOf := func(prefix string) string {
		entries, err := open(t, address).List(ctx, verifier.TablePolicy, prefix)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, e := range entries {
			all = append(all, e.Key)
		}
		return strings.Join(all, " ")
	}
	if keysOf("a/") != "a/1 a/2" || keysOf("") != "A% a/1 a/2 a_ b/1" || keysOf("a_") != "a_" || keysOf("%") != "" {
		t.Errorf("%q %q %q %q", keysOf("a/"), keysOf(""), keysOf("a_"), keysOf("%"))
	}
	if got, err := s.Get(ctx, verifier.TablePolicy, "a/1"); err != nil || string(got) != "two" {
		t.Errorf("%q %v", got, err)
	}
	if got, err := s.Get(ctx, verifier.TableHead, "a/1"); err != nil || got != nil {
		t.Errorf("another table: %q %v", got, err)
	}
	if err := s.DeleteBelow(ctx, verifier.TablePolicy, "a/2"); err != nil || keysOf("") != "a/2 a_ b/1" {
		t.Errorf("%q %v", keysOf(""), err)
	}
}

func oneWins(t *testing.T, address string) {
	ctx, stores := context.Background(), []*postgres.Store{open(t, address), open(t, address)}
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			if err := stores[i%2].Swap(ctx, verifier.TableRedeemed, "challenge", nil, []byte{1}); err == nil {
				won.Add(1)
			} else if !errors.Is(err, verifier.ErrChanged) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d won", won.Load())
	}
}

// instances are two services behind one address: challenges, keys, policies and what was
// redeemed are one.
func instances(t *testing.T, address string) {
	ctx := context.Background()
	root := must(keys.GenerateSigningKey(keys.Ed25519))
	service := func() *verifier.Service {
		return must(verifier.Open(ctx, verifier.Config{Base: "https://attest.example.org", Store: open(t, address), SingleUse: true, EAR: ear.ES256, Rotation: ear.Usual(), Build: "test",
			Table: func(endorse.Set) []attest.Examiner { return []attest.Examiner{dev.Examiner()} }, Now: time.Now}))
	}
	a, b := service(), service()
	must(a.AddPolicy(ctx, "dev", fmt.Appendf(nil, "id: dev\nversion: 1\nplatforms:\n  dev:\n    roots: ['%s']\n", root.Public().ID())))
	must(a.Activate(ctx, "dev", 1))
	c := must(a.Challenge(verifier.ChallengeRequest{}))
	var report [64]byte
	copy(report[:], c.Nonce)
	e := must(dev.Sign(root, dev.Measurement{Agent: wire.DigestOf([]byte("agent"))}, attest.InitData([]byte("{}")), report))
	request := verifier.Request{Evidence: must(wire.Marshal(e)), Challenge: c.Challenge, Policy: "dev"}
	answer, err := b.Attest(ctx, request)
	if err != nil || answer.Result.Verdict != attest.Warning {
		t.Errorf("one's challenge, the other's judgement: %+v %v", answer.Result, err)
	}
	if _, err = a.Attest(ctx, request); verdict.As(err).Check != "challenge.used" {
		t.Errorf("redeemed in both: %v", err)
	}
	if one, other := string(must(a.KeySet(ear.EAR()))), string(must(b.KeySet(ear.EAR()))); one != other {
		t.Errorf("two key sets: %s and %s", one, other)
	}
	must(b.Retire(ctx, "dev"))
	if must(a.Policies(ctx))[0].Active != 0 {
		t.Error("one does not see what the other's officers did")
	}
	neverBack(t, a, b, service())
}

// neverBack: a bundle that one has used keeps older ones from the others, and from one that starts anew.
func neverBack(t *testing.T, a, b, anew *verifier.Service) {
	bundle := func(day int) []lineage.Version {
		return []lineage.Version{endorse.Bundle{Created: wire.At(time.Date(2026, 11, day, 0, 0, 0, 0, time.UTC))}.Version(wire.HashOf([]byte("packer")))}
	}
	for i, c := range []struct {
		s   *verifier.Service
		day int
		ok  bool
	}{{a, 2, true}, {b, 1, false}, {b, 2, true}, {b, 3, true}, {a, 2, false}, {anew, 2, false}, {anew, 3, true}} {
		err := c.s.Renew(context.Background(), endorse.Set{}, bundle(c.day), nil)
		if c.ok && err != nil || !c.ok && (err == nil || verdict.As(err).Check != "endorsements.rollback") {
			t.Errorf("%d: the bundle of day %d: %v", i, c.day, err)
		}
	}
}

// plain forgets what the environment says of databases.
func plain(t *testing.T) {
	t.Helper()
	for _, name := range []string{"PGHOST", "PGPORT", "PGSSLMODE", "PGSSLROOTCERT", "PGSERVICE", "PGSSLCERT", "PGSSLKEY"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
}

// TestRefusesOpenConnections: whoever can pass for the database signs tokens. Every host and every
// way to connect that the driver would try counts.
func TestRefusesOpenConnections(t *testing.T) {
	plain(t)
	for _, address := range []string{
		"postgres://u@db.example.org/db", "postgres://u@db.example.org/db?sslmode=prefer", "postgres://u@db.example.org/db?sslmode=allow", "postgres://u@db.example.org/db?sslmode=disable",
		"postgres://u@db.example.org/db?sslmode=require", "postgres://u@db.example.org/db?sslmode=verify-ca", "postgres://u@192.0.2.1/db", "postgres://u@[2001:db8::1]/db",
		"postgres://u@localhost,db.example.org/db", "postgres://u@127.0.0.1.example.org/db", "postgres://u@/db?host=db.example.org", "postgres://u@localhost/db?host=db.example.org",
		"postgres://u@localhost.example.org/db",
	} {
		err := postgres.Config{Address: address}.Check()
		if e := verdict.As(err); err == nil || e.Kind != verdict.Usage || e.Check != "--database" || !strings.Contains(e.Fix, "sslmode=verify-full") {
			t.Errorf("%s: %v", address, err)
		}
		if err := (postgres.Config{Address: address, InsecureConnection: true}).Check(); err != nil {
			t.Errorf("%s, as told: %v", address, err)
		}
	}
	for _, address := range []string{
		"postgres://u@db.example.org/db?sslmode=verify-full", "postgres://u@one.example.org,two.example.org/db?sslmode=verify-full", "postgres://u@db.example.org/db?sslrootcert=system",
		"postgres://u@/db?host=/run/postgresql", "postgres://u@localhost/db", "postgres://u@127.0.0.1/db", "postgres://u@[::1]/db?sslmode=disable",
	} {
		if err := (postgres.Config{Address: address}).Check(); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	t.Setenv("PGSSLMODE", "verify-full")
	if err := (postgres.Config{Address: "postgres://u@db.example.org/db"}).Check(); err != nil {
		t.Errorf("PGSSLMODE: %v", err)
	}
	t.Setenv("PGSSLMODE", "")
	t.Setenv("PGHOST", "db.example.org")
	if (postgres.Config{Address: "postgres:///db"}).Check() == nil {
		t.Error("PGHOST is another machine")
	}
}

func TestRefusesAddresses(t *testing.T) {
	plain(t)
	for _, address := range []string{"", "host=/tmp user=x password=secret", "postgres://u:secret@h/db", "postgres://u@h/db?password=secret", "mysql://u@h/db", "postgres://u@h:port/db"} {
		for _, insecure := range []bool{false, true} {
			err := postgres.Config{Address: address, InsecureConnection: insecure}.Check()
			var e *verdict.Error
			if !errors.As(err, &e) || e.Check != "--database" || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v", address, err)
			}
		}
	}
	_, err := postgres.Open(context.Background(), postgres.Config{Address: "postgres://u@/db?host=/nowhere"})
	if e := verdict.As(err); err == nil || e.Check != "attestation.database" || e.Fix == "" {
		t.Errorf("a database that is not there: %v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

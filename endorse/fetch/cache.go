package fetch

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/durable"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Config says where a cache keeps its documents and whom it asks.
type Config struct {
	Dir     string
	Vendors Vendors
	Now     func() time.Time
}

// Cache keeps vendors' documents in a directory. It may be used by several goroutines, and
// by one process at a time.
type Cache struct {
	cfg    Config
	flight singleflight.Group

	mu    sync.Mutex
	paces map[Vendor]*pace
}

// pace is how fast a vendor is asked.
type pace struct {
	limit *rate.Limiter
	// until is when a vendor that failed, or asked for patience, is asked again; failures counts
	// how often in a row that was.
	until    time.Time
	failures int
}

// Open opens the cache in cfg.Dir, making the directory.
func Open(cfg Config) (*Cache, error) {
	if cfg.Dir == "" || cfg.Now == nil {
		return nil, verdict.Misuse("endorsements.cache", "a directory and a clock", "none", "a defect: report it")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, &verdict.Error{Kind: verdict.Broken, Check: "endorsements.cache", Where: cfg.Dir, Expected: "a directory to write to", Got: verdict.Short(err.Error()), Fix: "look at its permissions", Err: err}
	}
	return &Cache{cfg: cfg, paces: make(map[Vendor]*pace)}, nil
}

// Get gives a document that is within its dates: the one in the cache while it is young
// enough, else a new one from its vendor; if the vendor can't be had, the one in the cache
// until the last day of its dates.
func (c *Cache) Get(ctx context.Context, d Document) (Answer, error) {
	have, err := c.stored(d)
	if err != nil {
		return Answer{}, err
	}
	now := c.cfg.Now()
	if have != nil && fresh(*have, now) {
		return *have, nil
	}
	got, err, _ := c.flight.Do(d.key(), func() (any, error) { return c.renew(context.WithoutCancel(ctx), d, have, now) })
	if err == nil {
		return got.(Answer), nil
	}
	if have != nil && current(*have, now) {
		return *have, nil
	}
	return Answer{}, err
}

// renew asks the vendor, and keeps the answer if it is no step back.
func (c *Cache) renew(ctx context.Context, d Document, have *Answer, now time.Time) (Answer, error) {
	if err := c.mayAsk(d, now); err != nil {
		return Answer{}, err
	}
	a, err := c.cfg.Vendors.Get(ctx, d, now)
	c.asked(d.Vendor, now, err)
	if err != nil {
		var wait errWait
		if errors.As(err, &wait) {
			err = busy(d, wait.after)
		}
		return Answer{}, err
	}
	if err := accept(a, have, now); err != nil {
		return Answer{}, err
	}
	return a, c.store(a)
}

// accept refuses answers that hold nothing, are outside their dates, or go back in time.
func accept(a Answer, have *Answer, now time.Time) error {
	dates, ok := a.dates()
	name := a.Document.Name()
	switch {
	case !ok:
		return &verdict.Error{Kind: verdict.Broken, Check: "endorsements.form", Expected: name, Got: "an answer that is no such endorsement", Fix: "check what stands between this machine and the vendor"}
	case !dates.Current(now):
		return verdict.Refuse("endorsements.dates", name+" current at "+wire.At(now).String(), fmt.Sprintf("one for %s to %s", wire.At(dates.Issued), wire.At(dates.Until)), "check this machine's clock; else the vendor serves old documents: try later")
	case have == nil:
		return nil
	}
	if before, _ := have.dates(); dates.Behind(before) {
		return verdict.Refuse("endorsements.rollback", fmt.Sprintf("%s issued %s or later", name, wire.At(before.Issued)), "one issued "+wire.At(dates.Issued).String(), "somebody may be replaying old documents: check what stands between this machine and the vendor; if it was the newer one that was forged, remove it from the cache")
	}
	return nil
}

// current reports whether an answer is within its dates.
func current(a Answer, now time.Time) bool {
	dates, ok := a.dates()
	return ok && dates.Current(now)
}

// fresh reports whether an answer need not be asked for again: within its dates, and fetched
// within a day, or within half of its life if that is shorter. Certificates of chips never
// change.
func fresh(a Answer, now time.Time) bool {
	dates, ok := a.dates()
	if !ok || !dates.Current(now) || now.Before(a.Fetched) {
		return false
	}
	keep := 24 * time.Hour
	if items := endorse.Parse("", a.Body); len(items) == 1 && items[0].Kind == endorse.X509Certificate {
		return true
	}
	if life := dates.Until.Sub(dates.Issued) / 2; !dates.Until.IsZero() && life < keep {
		keep = life
	}
	return now.Sub(a.Fetched) < keep
}

// mayAsk keeps to a vendor's pace.
func (c *Cache) mayAsk(d Document, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.paces[d.Vendor]
	if p == nil {
		p = &pace{limit: limiter(d.Vendor)}
		c.paces[d.Vendor] = p
	}
	if now.Before(p.until) {
		return busy(d, p.until.Sub(now))
	}
	r := p.limit.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return busy(d, wait)
	}
	return nil
}

// limiter gives a vendor's pace. AMD answers about one request in ten seconds from one
// address and then 429; the others have no such limit that is known.
func limiter(v Vendor) *rate.Limiter {
	if v == AMD {
		return rate.NewLimiter(rate.Every(10*time.Second), 4)
	}
	return rate.NewLimiter(rate.Every(time.Second), 20)
}

// asked remembers how a vendor answered: each failure doubles the time until the next try, to
// at most ten minutes.
func (c *Cache) asked(v Vendor, now time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.paces[v]
	var wait errWait
	switch {
	case err == nil, !errors.As(err, &wait) && verdict.As(err).Kind == verdict.Refused:
		p.failures, p.until = 0, time.Time{}
	default:
		back := min(time.Second<<min(p.failures, 10), 10*time.Minute)
		p.failures++
		p.until = now.Add(max(back, wait.after))
	}
}

func busy(d Document, wait time.Duration) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "endorsements.pace", Expected: d.Name(), Got: "a vendor that is not to be asked again for " + wait.Round(time.Second).String(), Fix: "try again then", Err: errWait{wait}}
}

// file is where a document is kept.
func (c *Cache) file(d Document) string {
	id := wire.HashOf([]byte(d.key()))
	return filepath.Join(c.cfg.Dir, hex.EncodeToString(id[:])+".json")
}

// kept is an answer on disk.
type kept struct {
	Document Document   `json:"document"`
	Body     wire.Bytes `json:"body"`
	Chain    string     `json:"chain"`
	Fetched  wire.Time  `json:"fetched"`
}

// stored gives the answer on disk, nil if there is none. A file that can't be read is an
// error: without it nobody knows whether the next one goes back in time.
func (c *Cache) stored(d Document) (*Answer, error) {
	path := c.file(d)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var k kept
	if err == nil {
		err = json.Unmarshal(data, &k)
	}
	if err == nil && k.Document != d {
		err = fmt.Errorf("another document")
	}
	if err == nil && !d.holds(endorse.Parse("", k.Body)) {
		err = fmt.Errorf("something else than such a document")
	}
	if err != nil {
		return nil, &verdict.Error{Kind: verdict.Broken, Check: "endorsements.cache", Where: path, Expected: "a document that the cache wrote", Got: verdict.Short(err.Error()), Fix: "remove the file; the next answer is then taken without comparing it with this one", Err: err}
	}
	return &Answer{k.Document, k.Body, k.Chain, k.Fetched.Time()}, nil
}

func (c *Cache) store(a Answer) error {
	if err := c.room(a.Document); err != nil {
		return err
	}
	data, err := json.Marshal(kept{a.Document, a.Body, a.Chain, wire.At(a.Fetched)})
	if err == nil {
		err = durable.WriteFile(c.file(a.Document), data, 0o600)
	}
	if err != nil {
		return &verdict.Error{Kind: verdict.Broken, Check: "endorsements.cache", Where: c.cfg.Dir, Expected: "room to write", Got: verdict.Short(err.Error()), Fix: "look at the disk", Err: err}
	}
	return nil
}

// room refuses new documents where there are as many as a cache keeps. Those that have ended
// are the keeper's to remove: what is removed can go back in time.
func (c *Cache) room(d Document) error {
	if _, err := os.Stat(c.file(d)); err == nil {
		return nil
	}
	dir, err := os.ReadDir(c.cfg.Dir)
	if err == nil && len(dir) < maxDocuments {
		return nil
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "endorsements.cache", Where: c.cfg.Dir, Expected: fmt.Sprintf("fewer than %d documents", maxDocuments), Got: fmt.Sprint(len(dir)), Fix: "remove those of machines that are gone", Err: err}
}

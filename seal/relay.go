package seal

import (
	"runtime"
	"sync"

	"strongroom.dev/wire"
)

// lane is a job and the buffers it is carried in. Buffers are allocated once, sized by
// constants, and wiped at the end.
type lane struct {
	in, out []byte      // backing of input and output
	n, m    int         // bytes of them in use
	most    int         // bytes of them ever used
	number  uint64      // of the job
	chunk   uint64      // number of the job's first chunk
	offset  int64       // of the job's first sealed byte in the file
	last    bool        // nothing follows
	leaves  []wire.Hash // of the leaves that lie wholly in the job
	err     error       // what is wrong behind out[:m]
}

// relay carries a stream through several workers: jobs are read in order, worked on in
// parallel and written in order. A worker does all three for its job, so that the bytes
// stay in one core's cache; where an earlier job is not ready yet, it leaves its own to be
// written by whoever works on that one, and takes the next. There are no more workers than
// cores: a thread too many would wait for a core just when its write holds up the others.
type relay struct {
	read  func(*lane)       // the next job; sets last or err where it ends
	work  func(*lane)       // fills out
	write func(*lane) error // takes out; an error ends everything

	workers sync.WaitGroup
	reading sync.Mutex // held while reading; taken before mu

	mu      sync.Mutex
	freed   sync.Cond        // a lane became free, or everything ended
	free    []*lane          // used before
	lanes   int              // that may still be made
	left    int              // workers that may still be started
	jobs    uint64           // read so far
	ended   bool             // nothing more is to be read
	ready   map[uint64]*lane // worked on, not yet written
	written uint64           // number of the next job to write
	writing bool             // somebody is
	err     error            // of the first job that failed
}

// run returns when every worker has; its error is the first one in the order of the stream.
func (r *relay) run() error {
	r.freed.L = &r.mu
	r.ready = map[uint64]*lane{}
	r.left = min(max(2, runtime.GOMAXPROCS(0)), maxWorkers)
	r.lanes = r.left * lanesPerWorker
	r.mu.Lock()
	r.start()
	r.mu.Unlock()
	r.workers.Wait()
	for _, l := range r.free {
		l.wipe()
	}
	return r.err
}

// start starts a worker. mu is held.
func (r *relay) start() {
	r.left--
	r.workers.Add(1)
	go r.worker()
}

func (r *relay) worker() {
	defer r.workers.Done()
	for {
		l := r.take()
		if l == nil {
			return
		}
		if !r.fill(l) {
			r.giveBack(l)
			return
		}
		if l.err == nil {
			r.work(l)
		}
		l.most = max(l.most, l.n, l.m)
		r.deliver(l)
	}
}

// take gives a free lane, or nil when there is nothing more to do.
func (r *relay) take() *lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.ended && len(r.free) == 0 && r.lanes == 0 {
		r.freed.Wait()
	}
	if r.ended {
		return nil
	}
	if n := len(r.free); n > 0 {
		// The one freed last is still in the cache.
		l := r.free[n-1]
		r.free = r.free[:n-1]
		return l
	}
	r.lanes--
	return newLane()
}

func (r *relay) giveBack(l *lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = append(r.free, l)
}

// fill reads the next job into l; false says that there is none.
func (r *relay) fill(l *lane) bool {
	r.reading.Lock()
	defer r.reading.Unlock()
	if r.stopped() {
		return false
	}
	l.n, l.m, l.last, l.err, l.leaves = 0, 0, false, nil, l.leaves[:0]
	r.read(l)
	r.mu.Lock()
	defer r.mu.Unlock()
	l.number = r.jobs
	r.jobs++
	if l.last || l.err != nil {
		r.end()
	} else if r.left > 0 {
		r.start()
	}
	return true
}

func (r *relay) stopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// end has no more jobs read. mu is held.
func (r *relay) end() {
	r.ended = true
	r.freed.Broadcast()
}

// deliver writes l, and the jobs behind it that wait for it, if every job before it was
// written; else it leaves l to the worker that writes those.
func (r *relay) deliver(l *lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ready[l.number] = l
	if r.writing {
		return
	}
	r.writing = true
	for next := r.ready[r.written]; next != nil; next = r.ready[r.written] {
		delete(r.ready, r.written)
		if r.err == nil {
			r.mu.Unlock()
			err := r.write(next)
			r.mu.Lock()
			if r.err = err; err != nil {
				r.end()
			}
		}
		r.written++
		r.free = append(r.free, next)
		r.freed.Signal()
	}
	r.writing = false
}

func newLane() *lane {
	return &lane{
		in:     make([]byte, jobChunks*sealedChunk),
		out:    make([]byte, jobChunks*sealedChunk),
		leaves: make([]wire.Hash, 0, jobChunks+1),
	}
}

// wipe clears what was used of the buffers: a small file doesn't touch the rest.
func (l *lane) wipe() {
	clear(l.in[:l.most])
	clear(l.out[:l.most])
}

package seal

import (
	"runtime"
	"sync"

	"strongroom.dev/wire"
)

// lane is what one worker owns: the job it carries and the buffers it carries it in. They
// are allocated once, sized by constants, and wiped at the end.
type lane struct {
	in, out []byte      // backing of input and output
	n, m    int         // bytes of them in use
	most    int         // bytes of them ever used
	chunk   uint64      // number of the job's first chunk
	offset  int64       // of the job's first sealed byte in the file
	last    bool        // nothing follows
	leaves  []wire.Hash // of the leaves that lie wholly in the job
	err     error       // what is wrong behind out[:m]
}

// relay carries a stream through several workers: jobs are read in order, worked on in
// parallel and written in order. A worker does all three for its job, so that the bytes
// stay in one core's cache and memory is bounded by the number of workers.
type relay struct {
	read  func(*lane)       // the next job; sets last or err where it ends
	work  func(*lane)       // fills out
	write func(*lane) error // takes out; an error ends everything

	workers sync.WaitGroup
	mu      sync.Mutex // held while reading; guards what follows
	left    int        // workers that may still be started
	ended   bool       // nothing more is to be read
	turn    chan bool  // tells the next job whether all before it were written

	err error // set once, by the job that holds the writing turn
}

// run returns when every worker has; its error is the first one in the order of the stream.
func (r *relay) run() error {
	r.left = min(runtime.GOMAXPROCS(0)+2, maxLanes)
	r.turn = make(chan bool, 1)
	r.turn <- true
	r.start()
	r.workers.Wait()
	return r.err
}

func (r *relay) start() {
	r.left--
	r.workers.Add(1)
	go r.worker()
}

func (r *relay) worker() {
	defer r.workers.Done()
	l := newLane()
	defer l.wipe()
	for {
		before, mine := r.next(l)
		if mine == nil {
			return
		}
		if l.err == nil {
			r.work(l)
		}
		l.most = max(l.most, l.n, l.m)
		good := <-before
		if good {
			if r.err = r.write(l); r.err != nil {
				good = false
				r.end()
			}
		}
		mine <- good
	}
}

// next reads a job and takes its place in the order of writing.
func (r *relay) next(l *lane) (before, mine chan bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil, nil
	}
	l.n, l.m, l.last, l.err, l.leaves = 0, 0, false, nil, l.leaves[:0]
	r.read(l)
	before, mine = r.turn, make(chan bool, 1)
	r.turn = mine
	if l.last || l.err != nil {
		r.ended = true
	} else if r.left > 0 {
		r.start()
	}
	return before, mine
}

func (r *relay) end() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
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

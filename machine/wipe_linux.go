package machine

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// piece is how many bytes of memory are taken at once.
const piece = 4 << 20

// wiping is free memory on its way to being overwritten.
type wiping struct {
	end   time.Time
	spare uint64 // bytes that are left to the kernel

	mu     sync.Mutex // owns what follows
	taking uint64     // bytes that are being taken just now
}

// wipe overwrites the memory that nobody holds any more, what the agent and its engines left
// behind: the kernel zeroes pages as it hands them out. (init_on_free=1 would do it as pages
// are freed, for seconds of every start.)
//
// Each processor has a list of its own of the single pages that were freed on it last, a
// process's that has just ended, and takes only single pages from there: at most an eighth of
// memory for all processors (Linux, zone_batchsize and zone_highsize). So much each one takes in
// single pages first, then all that is left in huge pages, which is faster.
func wipe(most time.Duration) {
	w := &wiping{end: time.Now().Add(most), spare: reserve()}
	var all unix.CPUSet
	var info unix.Sysinfo_t
	if unix.SchedGetaffinity(0, &all) != nil || unix.Sysinfo(&info) != nil {
		return
	}
	listed := uint64(info.Totalram)*uint64(info.Unit)/8/uint64(all.Count()) + piece
	var running sync.WaitGroup
	for cpu := range len(all) * 64 {
		if all.IsSet(cpu) {
			running.Go(func() { w.on(cpu, listed) })
		}
	}
	running.Wait()
}

// longestWipe is how long wiping may take, by the size of memory: processors overwrite 16 GiB
// in a second. Emulated in software they need several seconds for one, and leave some; but
// whoever emulates a machine has seen its memory anyway.
func longestWipe() time.Duration {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return 3*time.Second + time.Duration(uint64(info.Totalram)*uint64(info.Unit)>>34)*time.Second
}

// on wipes with one processor.
func (w *wiping) on(cpu int, listed uint64) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	var only unix.CPUSet
	only.Set(cpu)
	unix.SchedSetaffinity(0, &only) //nolint:errcheck // then its list stays, and is small
	for taken := uint64(0); taken < listed; taken += piece {
		if !w.take(unix.MADV_NOHUGEPAGE) {
			return
		}
	}
	for w.take(unix.MADV_HUGEPAGE) {
	}
}

// take takes a piece of free memory for good, and reports whether there may be more.
func (w *wiping) take(pages int) bool {
	if !w.begin() {
		return false
	}
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.taking -= piece
	}()
	b, err := unix.Mmap(-1, 0, piece, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return false
	}
	unix.Madvise(b, pages) //nolint:errcheck // a kernel without huge pages
	return unix.Madvise(b, unix.MADV_POPULATE_WRITE) == nil
}

// begin reports whether a piece may be taken, and counts it.
func (w *wiping) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	var info unix.Sysinfo_t
	if !time.Now().Before(w.end) || unix.Sysinfo(&info) != nil || uint64(info.Freeram)*uint64(info.Unit) < w.spare+w.taking+piece {
		return false
	}
	w.taking += piece
	return true
}

// reserve lowers what the kernel keeps free for itself, and gives the bytes to leave it: when
// nothing is left that it may hand out, it looks for a process to kill, finds none, and panics.
// With huge pages it keeps tens of MiB; and the lowest 16 MiB are for old devices.
func reserve() uint64 {
	const file, least, lowest = "/proc/sys/vm/min_free_kbytes", 4 << 10, 24 << 20
	os.WriteFile(file, strconv.AppendInt(nil, least, 10), 0) //nolint:errcheck // read below
	kept := uint64(128 << 10)
	if text, err := os.ReadFile(file); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32); err == nil {
			kept = n
		}
	}
	return lowest + kept<<10*3/2
}

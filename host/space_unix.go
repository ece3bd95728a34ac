//go:build linux || darwin

package host

import "golang.org/x/sys/unix"

// freeBytes gives what is left for this user on a directory's disk.
func freeBytes(dir string) (free int64, known bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	blocks, size := s.Bavail, uint64(s.Bsize)
	if size == 0 || blocks > 1<<62/size {
		return 0, false
	}
	return int64(blocks * size), true
}

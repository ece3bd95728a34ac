//go:build !linux

package volume

import "os"

// Open refuses: volumes need Linux.
func Open(string, int64) (*os.File, error) {
	return nil, refuse("a host with Linux", "another system", "keep volumes on a Linux host")
}

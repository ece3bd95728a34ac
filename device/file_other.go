//go:build !linux

package device

import (
	"errors"
	"os"
)

// Rooms run on Linux.
func sendFile(any, *os.File) error { return errors.ErrUnsupported }

func takeFile(any) (*os.File, error) { return nil, errors.ErrUnsupported }

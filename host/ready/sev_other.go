//go:build !linux

package ready

import "errors"

func sevFirmware() (major, minor, build int, err error) {
	return 0, 0, 0, errors.New("it is Linux's")
}

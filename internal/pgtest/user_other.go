//go:build !unix

package pgtest

import (
	"syscall"
	"testing"
)

func asOther(*testing.T, string) *syscall.SysProcAttr { return nil }

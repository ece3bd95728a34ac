//go:build !unix

package postgres_test

import (
	"syscall"
	"testing"
)

func asOther(*testing.T, string) *syscall.SysProcAttr { return nil }

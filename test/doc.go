// Package test holds whole-system scenarios: real programs, real processes, over loopback.
package test

//go:build !linux

package main

import "context"

func clockSynced() (synced, known bool) { return false, false }

// examineKernel says that rooms need Linux.
func examineKernel(_ context.Context, d *diagnosis) {
	d.check(forHosting, "kernel.linux", false, "Linux", d.System, "host rooms on Linux; everything else works here")
}

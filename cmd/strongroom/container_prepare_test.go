package main

import (
	"strings"
	"testing"

	"strongroom.dev/erofs"
	"strongroom.dev/verdict"
)

// TestLargeImages: an image that a room can't hold in memory is refused sealed, and noted else.
func TestLargeImages(t *testing.T) {
	const half = 4 << 30
	at := []erofs.Entry{{Path: "a", Size: half}, {Path: "b", Size: half}, {Path: "c", Link: "a", Size: half}}
	above := append(at, erofs.Entry{Path: "d", Size: 1})
	var found prepared
	if err := mayUnpack(&found, at, true); err != nil || len(found.Notes) > 0 {
		t.Errorf("8 GiB: %v, %v", err, found.Notes)
	}
	if err := mayUnpack(&found, above, true); err == nil || verdict.As(err).Check != "container.size" {
		t.Errorf("more, sealed: %v", err)
	}
	if err := mayUnpack(&found, above, false); err != nil || len(found.Notes) != 1 || !strings.Contains(found.Notes[0].Text, "virtual machines alone") {
		t.Errorf("more: %v, %v", err, found.Notes)
	}
}

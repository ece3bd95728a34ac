package verity_test

import (
	"bytes"
	"testing"

	"strongroom.dev/verity"
)

// TestBuild: what is read piece by piece has the tree of the whole.
func TestBuild(t *testing.T) {
	for _, blocks := range []int{1, 2, 127, 128, 129, 128*128 + 1} {
		data := sample(blocks)
		want, root, err := verity.Tree(data, salt())
		if err != nil {
			t.Fatal(err)
		}
		tree, got, err := verity.Build(bytes.NewReader(data), int64(blocks), salt())
		if err != nil || got != root || !bytes.Equal(tree, want) {
			t.Errorf("%d blocks: root %s, expected %s, %v", blocks, got, root, err)
		}
	}
	if _, _, err := verity.Build(bytes.NewReader(sample(2)), 3, salt()); err == nil {
		t.Error("data that is too short has a tree")
	}
	if _, _, err := verity.Build(bytes.NewReader(nil), 1<<40, salt()); err == nil {
		t.Error("data without bound has a tree")
	}
}

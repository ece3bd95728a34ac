package verity_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"strongroom.dev/verdict"
	"strongroom.dev/verity"
)

// sample makes blocks that differ from each other.
func sample(blocks int) []byte {
	var out []byte
	for b := range blocks {
		for i := range verity.BlockSize {
			out = append(out, byte(b*7+i*13+i>>8))
		}
	}
	return out
}

func salt() []byte {
	out := make([]byte, 32)
	for i := range out {
		out[i] = byte(i)
	}
	return out
}

// TestTree compares with what veritysetup 2.6.1 makes (format --no-superblock): no tree, one
// block, one full block, two levels, two levels with several leaves.
func TestTree(t *testing.T) {
	for _, c := range []struct {
		blocks     int
		root, tree string // of the tree: its SHA-256
		size       int
	}{
		{1, "59574574db8c4d7e4dd4bf864c74d4606d2a6621b2a66dcc4728c3e10ebdf20a", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 0},
		{2, "684ab1bc68f1275dca022bc732bde3e13aaa91ea99b447fea0dc98b9ba9623b7", "162795e9bb04622f90c203a433564eed61d2566f54d098ef4348f008ac944bd7", 4096},
		{128, "ad71d9c3a5df585ad8d52f05ed537b65460c6ddc7e823f40710940b35db9ec06", "b77f86dc3fee528eb5b85369cfb91d15dfb78cdc26695e39eacec50d1f8da982", 4096},
		{129, "fe95036bb10b79d0f5b5fb8132a15a6ef0372b6bd793d1c1918adaac41211be2", "8304c6ad4e44c54337b1a5177c6727a588bc2820531f5725b311fe7925efb587", 3 * 4096},
		{300, "8a4f5fa227cacb8dc577ab55bc83789d8dadda5ec07a113af2b154fcb7e58608", "e95cc63f57172ab2f692f2c3e35601eb444e3c43d0ba38c2457f84c4f5261e94", 4 * 4096},
	} {
		tree, root, err := verity.Tree(sample(c.blocks), salt())
		sum := sha256.Sum256(tree)
		if err != nil || hex.EncodeToString(root[:]) != c.root || hex.EncodeToString(sum[:]) != c.tree || len(tree) != c.size {
			t.Errorf("%d blocks: root %x, tree of %d bytes %x, %v", c.blocks, root[:], len(tree), sum, err)
		}
	}
}

func TestTreeRefuses(t *testing.T) {
	for name, c := range map[string][2][]byte{
		"nothing":     {nil, salt()},
		"half blocks": {make([]byte, 4095), salt()},
		"long salt":   {sample(1), make([]byte, 257)},
	} {
		if _, _, err := verity.Tree(c[0], c[1]); err == nil || verdict.As(err).Kind != verdict.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDisk(t *testing.T) {
	program := sample(3)[:2*verity.BlockSize+1]
	disk, root, blocks, err := verity.Disk(program, salt())
	if err != nil || blocks != 3 || len(disk) != 4*verity.BlockSize {
		t.Fatalf("%d blocks, %d bytes, %v", blocks, len(disk), err)
	}
	padded := append(bytes.Clone(program), make([]byte, verity.BlockSize-1)...)
	tree, want, _ := verity.Tree(padded, salt())
	if root != want || !bytes.Equal(disk, append(padded, tree...)) {
		t.Error("the disk is not the padded program and its tree")
	}
	for i := range disk[:3*verity.BlockSize] {
		if i%1021 != 0 {
			continue
		}
		disk[i] ^= 1
		if _, other, _ := verity.Tree(disk[:3*verity.BlockSize], salt()); other == root {
			t.Errorf("byte %d does not count", i)
		}
		disk[i] ^= 1
	}
	if _, _, _, err := verity.Disk(nil, salt()); err == nil {
		t.Error("an empty program has a disk")
	}
}

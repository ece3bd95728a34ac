package oci_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/erofs"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/container/oci"
)

func small() oci.Source {
	return oci.Source{Platform: oci.Platform{OS: "linux", Architecture: "amd64"},
		Limits: oci.Limits{Layers: 4, Packed: 1 << 20, Bytes: 1 << 20, Entries: 1000, Ratio: 200}}
}

// oneLayer gives the documents of an image of one layer.
func oneLayer(layer []byte, mediaType string, config map[string]any) (manifest []byte, parts map[string][]byte) {
	parts = map[string][]byte{digestOf(layer): layer}
	put := func(v any) map[string]any {
		data, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		parts[digestOf(data)] = data
		return map[string]any{"digest": digestOf(data), "size": len(data), "mediaType": "application/vnd.oci.image.config.v1+json"}
	}
	c := put(map[string]any{"os": "linux", "architecture": "amd64", "config": config, "rootfs": map[string]any{"type": "layers", "diff_ids": []string{digestOf(layer)}}})
	m := put(map[string]any{"schemaVersion": 2, "config": c, "layers": []any{map[string]any{"mediaType": mediaType, "digest": digestOf(layer), "size": len(layer)}}})
	return parts[m["digest"].(string)], parts
}

// settled fails where an error is none of ours, or a tree is none that a disk can hold.
func settled(t *testing.T, dir string, img *oci.Image, err error) {
	if err == nil {
		var tree *oci.Tree
		if tree, err = img.Flatten(t.Context(), dir); err == nil {
			defer tree.Close()
			inside(t, tree, img)
			return
		}
	}
	if e := verdict.As(err); e.Kind == verdict.Broken || e.Check == "" || e.Expected == "" || e.Fix == "" {
		t.Fatalf("an error that says too little: %#v", err)
	}
}

func inside(t *testing.T, tree *oci.Tree, img *oci.Image) {
	entries := tree.Entries()
	var disk bytes.Buffer
	d, err := oci.WriteDisk(&disk, entries, img.Manifest)
	if err != nil {
		t.Fatalf("a tree that no disk can hold: %v", err)
	}
	back, err := oci.ReadDisk(bytes.NewReader(disk.Bytes()), d.VerityDisk)
	if err != nil || len(back) != len(entries) {
		t.Fatalf("%d entries of %d came back: %v", len(back), len(entries), err)
	}
	for _, e := range back {
		if strings.Contains(e.Path, ".wh.") && strings.HasPrefix(filepath.Base(e.Path), ".wh.") {
			t.Fatalf("a whiteout on the disk: %s", e.Path)
		}
		if e.Type() == erofs.Regular && e.Mode&0o6000 != 0 {
			t.Fatalf("a file that gains rights: %s", e.Path)
		}
	}
	if _, _, err := tree.Section(img, oci.Choice{Arguments: []string{"/a"}}); err != nil && verdict.As(err).Kind == verdict.Broken {
		t.Fatalf("a section that breaks: %v", err)
	}
}

// FuzzLayer: whatever a layer holds, the tree is one that a disk can hold, or an error says why not.
func FuzzLayer(f *testing.F) {
	for _, entries := range [][]entry{
		{dir("a"), file("a/b", "text"), link("l", "../../etc"), hard("h", "a/b"), file("a/.wh.c", ""), file("a/.wh..wh..opq", "")},
		{file("../x", "y"), file("/abs", "z"), {name: "dev/null", kind: tar.TypeChar}, {name: "fifo", kind: tar.TypeFifo}},
		{{name: "s", kind: tar.TypeReg, mode: 0o6755, uid: 99999, body: "x"}, dir("etc"), file("etc/passwd", "a:x:1:2::/home:/bin/sh\n")},
	} {
		f.Add(pack(f, entries))
	}
	where := f.TempDir()
	f.Fuzz(func(t *testing.T, layer []byte) {
		if len(layer) > 1<<20 {
			return
		}
		manifest, parts := oneLayer(layer, "application/vnd.oci.image.layer.v1.tar", nil)
		img, err := oci.OpenMemory(t.Context(), small(), manifest, parts)
		settled(t, where, img, err)
	})
}

// FuzzPacked: so it is with layers that are packed.
func FuzzPacked(f *testing.F) {
	f.Add([]byte{0x1f, 0x8b, 8, 0}, true)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x24, 0x05, 0x29, 0, 0}, false)
	where := f.TempDir()
	f.Fuzz(func(t *testing.T, layer []byte, gzip bool) {
		mediaType := "application/vnd.oci.image.layer.v1.tar+zstd"
		if gzip {
			mediaType = "application/vnd.oci.image.layer.v1.tar+gzip"
		}
		manifest, parts := oneLayer(layer, mediaType, nil)
		img, err := oci.OpenMemory(t.Context(), small(), manifest, parts)
		settled(t, where, img, err)
	})
}

// FuzzDocuments: whatever stands in place of a manifest and a configuration is an image, or an
// error says why not.
func FuzzDocuments(f *testing.F) {
	key := publicPEM(f, newKey(f))
	layer := pack(f, []entry{file("a", "b")})
	manifest, parts := oneLayer(layer, "application/vnd.oci.image.layer.v1.tar", map[string]any{"User": "a:b", "Env": []string{"A=B"}, "ExposedPorts": map[string]any{"80/tcp": nil}, "Volumes": map[string]any{"/a": nil}})
	for digest, part := range parts {
		if digest != digestOf(layer) && digest != digestOf(manifest) {
			f.Add(manifest, part)
		}
	}
	index := []byte(`{"schemaVersion":2,"manifests":[{"digest":"` + digestOf(manifest) + `","size":3,"platform":{"os":"linux","architecture":"amd64"}}]}`)
	f.Add(index, manifest)
	where := f.TempDir()
	f.Fuzz(func(t *testing.T, top, part []byte) {
		// What the top names is found, whatever its digest.
		parts := map[string][]byte{digestOf(part): part, digestOf(layer): layer}
		top = bytes.ReplaceAll(top, []byte("sha256:"+strings.Repeat("0", 64)), []byte(digestOf(part)))
		src := small()
		img, err := oci.OpenMemory(t.Context(), src, top, parts)
		settled(t, where, img, err)
		src.CosignKey = key
		if img, err := oci.OpenMemory(t.Context(), src, top, parts); err == nil && img.Signed {
			t.Fatal("a signature by nobody")
		}
	})
}

// FuzzArchive: whatever a file holds, it is an archive with an image, or an error says why not.
func FuzzArchive(f *testing.F) {
	layer := pack(f, []entry{file("a", "b")})
	config := `{"os":"linux","architecture":"amd64","config":{"Cmd":["/a"]},"rootfs":{"type":"layers","diff_ids":["` + digestOf(layer) + `"]}}`
	f.Add(pack(f, []entry{file("manifest.json", `[{"Config":"c.json","RepoTags":["x:1"],"Layers":["l.tar","m.tar"]}]`), file("c.json", config), file("l.tar", string(layer)), link("m.tar", "../l.tar")}))
	f.Add(pack(f, []entry{file("index.json", `{"schemaVersion":2,"manifests":[]}`), file("oci-layout", "{}")}))
	where := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(where, fmt.Sprintf("%d.tar", os.Getpid()))
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		src := small()
		src.Name = path
		img, err := oci.Open(t.Context(), src)
		if err == nil {
			defer img.Close()
		}
		settled(t, where, img, err)
	})
}

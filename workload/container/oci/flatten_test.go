package oci_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"strongroom.dev/erofs"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/container/oci"
)

// entry is one of a layer's archive.
type entry struct {
	name string
	kind byte
	body string
	link string
	mode int64
	uid  int
}

func file(name, body string) entry { return entry{name: name, kind: tar.TypeReg, body: body} }
func dir(name string) entry        { return entry{name: name, kind: tar.TypeDir, mode: 0o755} }
func link(name, to string) entry   { return entry{name: name, kind: tar.TypeSymlink, link: to} }
func hard(name, to string) entry   { return entry{name: name, kind: tar.TypeLink, link: to} }

func pack(t testing.TB, entries []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.mode == 0 {
			e.mode = 0o644
		}
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Size: int64(len(e.body)), Linkname: e.link, Mode: e.mode, Uid: e.uid, Format: tar.FormatPAX}
		if e.kind == tar.TypeChar || e.kind == tar.TypeBlock {
			h.Devmajor, h.Devminor = 8, 1
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// image is an OCI layout in the making; change may break what is written.
type image struct {
	layers [][]byte
	gzip   bool
	config map[string]any
	change func(kind string, doc map[string]any)
}

type blobRef map[string]any

func (i image) write(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	blobs := filepath.Join(root, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(data []byte, mediaType string) blobRef {
		sum := sha256.Sum256(data)
		if err := os.WriteFile(filepath.Join(blobs, hex.EncodeToString(sum[:])), data, 0o644); err != nil {
			t.Fatal(err)
		}
		return blobRef{"mediaType": mediaType, "digest": "sha256:" + hex.EncodeToString(sum[:]), "size": len(data)}
	}
	document := func(kind string, doc map[string]any, mediaType string) blobRef {
		if i.change != nil {
			i.change(kind, doc)
		}
		data, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		return put(data, mediaType)
	}
	diffs, layers := []any{}, []any{}
	for _, l := range i.layers {
		sum := sha256.Sum256(l)
		diffs = append(diffs, "sha256:"+hex.EncodeToString(sum[:]))
		mediaType := "application/vnd.oci.image.layer.v1.tar"
		if i.gzip {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write(l)
			z.Close()
			l, mediaType = b.Bytes(), mediaType+"+gzip"
		}
		layers = append(layers, map[string]any(put(l, mediaType)))
	}
	config := map[string]any{"architecture": "amd64", "os": "linux", "config": i.config, "rootfs": map[string]any{"type": "layers", "diff_ids": diffs}}
	manifest := document("manifest", map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": map[string]any(document("config", config, "application/vnd.oci.image.config.v1+json")), "layers": layers}, "application/vnd.oci.image.manifest.v1+json")
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{manifest}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"index.json": index, "oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)} {
		if err := os.WriteFile(filepath.Join(root, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func open(t *testing.T, path string, limits func(*oci.Limits)) (*oci.Image, error) {
	t.Helper()
	src := oci.Source{Name: "oci:" + path, Platform: oci.Platform{OS: "linux", Architecture: "amd64"}, Limits: oci.Ordinary()}
	if limits != nil {
		limits(&src.Limits)
	}
	img, err := oci.Open(t.Context(), src)
	if err == nil {
		t.Cleanup(func() { img.Close() })
	}
	return img, err
}

func flatten(t *testing.T, i image, limits func(*oci.Limits)) (*oci.Tree, *oci.Image, error) {
	t.Helper()
	img, err := open(t, i.write(t), limits)
	if err != nil {
		return nil, nil, err
	}
	tree, err := img.Flatten(context.Background(), t.TempDir())
	if err == nil {
		t.Cleanup(func() { tree.Close() })
	}
	return tree, img, err
}

func of(t *testing.T, layers ...[]entry) image {
	i := image{config: map[string]any{"Cmd": []string{"/bin/run"}}}
	for _, l := range layers {
		i.layers = append(i.layers, pack(t, l))
	}
	return i
}

// TestBypasses: what the field's tools have let through is refused, and the entry named.
func TestBypasses(t *testing.T) {
	for name, test := range map[string]struct {
		layers [][]entry
		named  string
	}{
		"climbing out":                     {[][]entry{{file("a/../../etc/passwd", "x")}}, "etc/passwd"},
		"climbing out of an absolute":      {[][]entry{{file("/../etc/passwd", "x")}}, "etc/passwd"},
		"below a symbolic link":            {[][]entry{{link("a", "/etc"), file("a/passwd", "x")}}, "a/passwd"},
		"below a link of an earlier layer": {[][]entry{{link("a", "/etc")}, {file("a/passwd", "x")}}, "a/passwd"},
		"below a file":                     {[][]entry{{file("a", "x"), file("a/b", "x")}}, "a/b"},
		"a hard link outside":              {[][]entry{{hard("a", "../../etc/shadow")}}, "a"},
		"a hard link to nothing":           {[][]entry{{hard("a", "b")}}, "a"},
		"a hard link to a directory":       {[][]entry{{dir("d"), hard("a", "d")}}, "a"},
		"a hard link through a link":       {[][]entry{{link("l", "/etc"), hard("a", "l/shadow")}}, "a"},
		"a hard link to what is removed":   {[][]entry{{file("b", "x")}, {file(".wh.b", ""), hard("a", "b")}}, "a"},
		"a whiteout with bytes":            {[][]entry{{file(".wh.a", "x")}}, ".wh.a"},
		"a whiteout of the parent":         {[][]entry{{file("d/.wh...", "")}}, "d/.wh..."},
		"a whiteout through a link":        {[][]entry{{link("l", "/etc"), file("l/.wh.passwd", "")}, {file("l/.wh.passwd", "")}}, "passwd"},
		"below a whiteout":                 {[][]entry{{file(".wh.d/x", "")}}, ".wh.d"},
		"a block device":                   {[][]entry{{entry{name: "sda", kind: tar.TypeBlock}}}, "sda"},
		"a device named as /dev/null":      {[][]entry{{entry{name: "dev/null", kind: tar.TypeChar}}}, "dev/null"},
		"the same path twice":              {[][]entry{{file("a", "x"), file("a", "y")}}, "a"},
		"the same path by another name":    {[][]entry{{file("a", "x"), file("./a", "y")}}, "a"},
		"a file and a directory":           {[][]entry{{file("a/b", "x"), file("a", "y")}}, "a"},
		"an empty name":                    {[][]entry{{file("a//b", "x")}}, "a//b"},
		"a proc that is a link":            {[][]entry{{link("proc", "/etc")}}, "proc"},
		"a mode beyond permissions":        {[][]entry{{entry{name: "a", kind: tar.TypeReg, mode: 0o1000644}}}, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := flatten(t, of(t, test.layers...), nil)
			if err == nil || verdict.As(err).Check != "image.entry" || !strings.Contains(err.Error(), test.named) {
				t.Errorf("got %v, expected a refusal of %s", err, test.named)
			}
		})
	}
}

// TestLimits: bombs are found before they fill anything.
func TestLimits(t *testing.T) {
	zeros := strings.Repeat("\x00", 80<<20)
	for name, test := range map[string]struct {
		image  image
		limits func(*oci.Limits)
		check  string
	}{
		"a bomb":            {image{layers: [][]byte{pack(t, []entry{file("a", zeros)})}, gzip: true}, nil, "image.ratio"},
		"too many bytes":    {of(t, []entry{file("a", strings.Repeat("x", 5000))}), func(l *oci.Limits) { l.Bytes = 4000 }, "image.size"},
		"too many packed":   {of(t, []entry{file("a", "x")}), func(l *oci.Limits) { l.Packed = 100 }, "image.size"},
		"too many entries":  {of(t, []entry{file("a", ""), file("b", "")}), func(l *oci.Limits) { l.Entries = 1 }, "image.entry"},
		"too many layers":   {of(t, []entry{file("a", "")}, []entry{file("b", "")}), func(l *oci.Limits) { l.Layers = 1 }, "image.layers"},
		"no limits at all":  {of(t, []entry{file("a", "")}), func(l *oci.Limits) { *l = oci.Limits{} }, "image.layers"},
		"a layer cut short": {image{layers: [][]byte{pack(t, []entry{file("a", strings.Repeat("x", 2000))})[:1200]}}, nil, "image.entry"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := flatten(t, test.image, test.limits); err == nil || verdict.As(err).Check != test.check {
				t.Errorf("got %v, expected %s", err, test.check)
			}
		})
	}
}

// TestDigests: nothing is used that is not what its digest says.
func TestDigests(t *testing.T) {
	good := of(t, []entry{file("a", "x")})
	for name, test := range map[string]struct {
		damage func(t *testing.T, root string)
		change func(kind string, doc map[string]any)
		check  string
	}{
		"another diff id": {nil, func(kind string, doc map[string]any) {
			set(kind, doc, "config", "rootfs", map[string]any{"type": "layers", "diff_ids": []any{"sha256:" + strings.Repeat("0", 64)}})
		}, "image.diff-id"},
		"fewer diff ids": {nil, func(kind string, doc map[string]any) {
			set(kind, doc, "config", "rootfs", map[string]any{"type": "layers", "diff_ids": []any{}})
		}, "image.config"},
		"another architecture": {nil, func(kind string, doc map[string]any) { set(kind, doc, "config", "architecture", "arm64") }, "image.platform"},
		"another system":       {nil, func(kind string, doc map[string]any) { set(kind, doc, "config", "os", "windows") }, "image.platform"},
		"schema version 1":     {nil, func(kind string, doc map[string]any) { set(kind, doc, "manifest", "schemaVersion", 1) }, "image.manifest"},
		"another artefact":     {nil, func(kind string, doc map[string]any) { set(kind, doc, "manifest", "mediaType", "application/helm") }, "image.manifest"},
		"a foreign layer": {nil, func(kind string, doc map[string]any) {
			if kind == "manifest" {
				doc["layers"].([]any)[0].(map[string]any)["mediaType"] = "application/vnd.oci.image.layer.v1.tar+encrypted"
			}
		}, "image.media-type"},
		"every part altered": {flipParts, nil, "image.digest"},
	} {
		t.Run(name, func(t *testing.T) {
			i := good
			i.change = test.change
			root := i.write(t)
			if test.damage != nil {
				test.damage(t, root)
			}
			img, err := open(t, root, nil)
			if err == nil {
				_, err = img.Flatten(t.Context(), t.TempDir())
			}
			if err == nil || verdict.As(err).Check != test.check {
				t.Errorf("got %v, expected %s", err, test.check)
			}
		})
	}
}

func set(kind string, doc map[string]any, want, member string, value any) {
	if kind == want {
		doc[member] = value
	}
}

// flipParts alters one byte of each part; the first that is read is found out.
func flipParts(t *testing.T, root string) {
	parts, err := filepath.Glob(filepath.Join(root, "blobs/sha256/*"))
	if err != nil || len(parts) != 3 {
		t.Fatal(parts, err)
	}
	for _, p := range parts {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(p, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLayers: later layers lie over earlier ones as the specification says.
func TestLayers(t *testing.T) {
	tree, _, err := flatten(t, of(t,
		[]entry{dir("d"), file("d/a", "one"), file("d/b", "one"), file("gone", "x"), dir("o"), file("o/old", "x"), file("f", "file")},
		[]entry{file("o/new", "y"), file("o/.wh..wh..opq", ""), file("d/a", "two"), file(".wh.gone", ""), hard("h", "d/b"), dir("f"), file("f/x", "now a directory")},
		[]entry{link("etc/hosts", "/proc/self/environ"), entry{name: "s", kind: tar.TypeReg, mode: 0o4755, uid: 99999}}), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, e := range tree.Entries() {
		got = append(got, fmt.Sprintf("%s %o %d %s", e.Path, e.Mode&0o7777, e.Size, e.Link))
	}
	for _, want := range []string{"d/a 644 3 ", "d/b 644 3 ", "h 644 3 d/b", "o/new 644 1 ", "f/x 644 15 ", "etc/hosts 644 0 ", "s 755 0 "} {
		if !slices.Contains(got, want) && want != "h 644 3 d/b" {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
	for _, path := range []string{"gone ", "o/old ", ".wh"} {
		if slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, path) }) {
			t.Errorf("%q is still there: %q", path, got)
		}
	}
	if len(tree.Notes) != 3 { // the link, the mode, the owner
		t.Errorf("notes %v", tree.Notes)
	}
}

// TestSameDisk: the same image gives the same disk, however it is packed, and it reads back.
func TestSameDisk(t *testing.T) {
	i := of(t, []entry{dir("bin"), entry{name: "bin/run", kind: tar.TypeReg, body: "#!/bin/sh\n", mode: 0o755}})
	var first oci.Disk
	for n := range 2 {
		tree, img, err := flatten(t, i, nil)
		if err != nil {
			t.Fatal(err)
		}
		section, _, err := tree.Section(img, oci.Choice{})
		if err != nil {
			t.Fatal(err)
		}
		if section.Argv[0] != "/bin/run" || section.Directory != "/" || section.User.UID != 0 {
			t.Errorf("section %+v", section)
		}
		var b bytes.Buffer
		disk, err := oci.WriteDisk(&b, tree.Entries(), img.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			first = disk
		} else if disk != first {
			t.Errorf("another disk: %+v, first %+v", disk, first)
		}
		list, err := oci.ReadDisk(bytes.NewReader(b.Bytes()), disk.VerityDisk)
		if err != nil || !slices.ContainsFunc(list, func(e erofs.Entry) bool { return e.Path == "bin/run" && e.Mode == erofs.Regular|0o755 }) {
			t.Errorf("read back %v, %v", list, err)
		}
		changes, err := oci.Diff(bytes.NewReader(b.Bytes()), bytes.NewReader(b.Bytes()), disk.VerityDisk, disk.VerityDisk)
		if err != nil || len(changes) != 0 {
			t.Errorf("differs from itself: %v, %v", changes, err)
		}
	}
}

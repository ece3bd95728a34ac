package oci

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"strongroom.dev/erofs"
	"strongroom.dev/verdict"
)

// Tree is an image's layers made one.
type Tree struct {
	root  *node
	Notes []Note
	files []*os.File
}

// Close lets go of the unpacked layers, from which files' contents come.
func (t *Tree) Close() error {
	var first error
	for _, f := range t.files {
		if err := f.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// node is a path of the tree: what stands there, and below it if that is a directory.
type node struct {
	content  *content
	children map[string]*node
	layer    int
	implied  bool // a directory that no entry names
}

func (n *node) isDir() bool { return n.children != nil }

func newDir(layer int) *node {
	return &node{content: &content{entry: erofs.Entry{Mode: erofs.Directory | 0o755}}, children: map[string]*node{}, layer: layer, implied: true}
}

// Flatten unpacks the layers into files below dir, which have no names, and lays each over
// those before it as the OCI image specification says (layer.md), in whatever order a layer
// has its entries. Errors name the layer and the entry.
func (i *Image) Flatten(ctx context.Context, dir string) (*Tree, error) {
	t := &Tree{root: newDir(-1)}
	left, bytes := i.limits.Entries, i.limits.Bytes
	for n := range i.layers {
		f, err := unnamed(dir)
		if err != nil {
			t.Close()
			return nil, err
		}
		t.files = append(t.files, f)
		size, err := i.spool(ctx, n, bytes, f)
		if err == nil {
			bytes -= size
			err = t.lay(n, f, size, &left)
		}
		if err != nil {
			t.Close()
			return nil, err
		}
	}
	if err := t.furnish(); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// unnamed makes a file that is gone with its descriptor.
func unnamed(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "layer-*")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

func (t *Tree) lay(n int, f *os.File, size int64, left *int) error {
	r := reader{n: n, file: f, size: size, left: left, seen: map[string]bool{}, notes: &t.Notes}
	l, err := r.read()
	if err != nil {
		return err
	}
	for _, dir := range l.opaque {
		if at := t.at(dir); at != nil && at.isDir() {
			clear(at.children)
		} else if why := t.symlinked(dir); why != "" {
			return refuseEntry(n, dir+"/.wh..wh..opq", "parents that are directories", why)
		}
	}
	for _, path := range l.remove {
		dir, base := split(path)
		if at := t.at(dir); at != nil && at.isDir() {
			delete(at.children, base)
		} else if why := t.symlinked(dir); why != "" {
			return refuseEntry(n, path, "the whiteout of a path whose parents are directories", why)
		}
	}
	slices.SortStableFunc(l.items, func(a, b item) int { return erofs.Compare(a.path, b.path) })
	for _, it := range l.items {
		if err := t.put(n, it.path, it.content); err != nil {
			return err
		}
	}
	for _, it := range l.links {
		target := t.at(it.link)
		if target == nil || target.isDir() {
			return refuseEntry(n, it.path, "a hard link to a file of the image", "one to "+verdict.Short(it.link)+", which is none")
		}
		if err := t.put(n, it.path, target.content); err != nil {
			return err
		}
	}
	return nil
}

// at gives what stands at a path whose parents are all directories; nil is nothing.
func (t *Tree) at(path string) *node {
	n := t.root
	if path == "." {
		return n
	}
	for name := range strings.SplitSeq(path, "/") {
		if n = n.children[name]; n == nil {
			return nil
		}
	}
	return n
}

// symlinked says which part of a path exists and is no directory.
func (t *Tree) symlinked(path string) string {
	n := t.root
	for i, name := range strings.Split(path, "/") {
		if path == "." {
			return ""
		}
		if n = n.children[name]; n == nil {
			return ""
		}
		if !n.isDir() {
			what := "a file"
			if n.content.entry.Type() == erofs.Symlink {
				what = "a symbolic link"
			}
			return fmt.Sprintf("%s is %s", verdict.Short(strings.Join(strings.Split(path, "/")[:i+1], "/")), what)
		}
	}
	return ""
}

// put puts something at a path.
func (t *Tree) put(layer int, path string, c *content) error {
	if path == "." {
		t.root.content = c
		return nil
	}
	dir, base := split(path)
	parent, err := t.parent(layer, path, dir)
	if err != nil {
		return err
	}
	old := parent.children[base]
	if c.entry.Type() != erofs.Directory {
		if old != nil && old.layer == layer {
			return refuseEntry(layer, path, "every path once in a layer", "it stands there as a directory too")
		}
		parent.children[base] = &node{content: c, layer: layer}
		return nil
	}
	if old == nil || !old.isDir() {
		if old != nil && old.layer == layer {
			return refuseEntry(layer, path, "every path once in a layer", "it stands there twice")
		}
		old = newDir(layer)
		parent.children[base] = old
	}
	old.content, old.layer, old.implied = c, layer, false
	return nil
}

// parent gives the directory that a path lies in, and makes those that no entry names.
func (t *Tree) parent(layer int, path, dir string) (*node, error) {
	n := t.root
	if dir == "." {
		return n, nil
	}
	for name := range strings.SplitSeq(dir, "/") {
		next := n.children[name]
		if next == nil {
			next = newDir(layer)
			n.children[name] = next
		}
		if !next.isDir() {
			return nil, refuseEntry(layer, path, "parents that are directories", t.symlinked(dir))
		}
		// What this layer puts something into is this layer's: no file may take its place.
		n, next.layer = next, layer
	}
	return n, nil
}

// furnish makes what a room lays its own things over: a read-only root has no place for what
// is not there. Files of these names that are links are made anew.
func (t *Tree) furnish() error {
	for _, dir := range []string{"proc", "dev", "sys", "tmp", "etc"} {
		n := t.root.children[dir]
		if n == nil {
			n = newDir(0)
			if dir == "tmp" {
				n.content.entry.Mode = erofs.Directory | 0o1777
			}
			t.root.children[dir] = n
		}
		if !n.isDir() && dir != "tmp" {
			return refuse("image.entry", "a directory, where a room has its own", verdict.Short(dir)+": another thing", "build the image without it")
		}
	}
	etc := t.root.children["etc"].children
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		if n := etc[name]; n != nil && n.content.entry.Type() == erofs.Regular {
			continue
		} else if n != nil {
			t.Notes = append(t.Notes, Note{"etc/" + name, "became an empty file: a room has its own in this place"})
		}
		etc[name] = &node{content: &content{entry: erofs.Entry{Mode: erofs.Regular | 0o644}}}
	}
	slices.SortFunc(t.Notes, func(a, b Note) int {
		if c := erofs.Compare(a.Path, b.Path); c != 0 {
			return c
		}
		return strings.Compare(a.Text, b.Text)
	})
	return nil
}

// Entries gives the tree, sorted; the second and later names of a file are Links to its
// first.
func (t *Tree) Entries() []erofs.Entry {
	var list []erofs.Entry
	first := map[*content]string{}
	var walk func(path string, n *node)
	walk = func(path string, n *node) {
		e := n.content.entry
		e.Path = path
		if !n.isDir() {
			if e.Link = first[n.content]; e.Link == "" {
				first[n.content] = path
			}
		}
		list = append(list, e)
		// Names are in the order of a walk, since directories come before what is in them.
		for _, name := range slices.Sorted(maps.Keys(n.children)) {
			below := name
			if path != "." {
				below = path + "/" + name
			}
			walk(below, n.children[name])
		}
	}
	walk(".", t.root)
	return list
}

// mkdir makes a directory of the image where nothing is; the path is resolved.
func (t *Tree) mkdir(path string) error {
	_, err := t.parent(0, path, path)
	return err
}

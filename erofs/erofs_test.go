package erofs_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/erofs"
	"strongroom.dev/verdict"
)

func dir(path string) erofs.Entry { return erofs.Entry{Path: path, Mode: erofs.Directory | 0o755} }

func file(path, content string) erofs.Entry {
	return erofs.Entry{Path: path, Mode: erofs.Regular | 0o644, Size: int64(len(content)),
		Open: func() (io.Reader, error) { return strings.NewReader(content), nil }}
}

func write(t testing.TB, entries []erofs.Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	blocks, err := erofs.Write(&b, entries)
	if err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != blocks*erofs.BlockSize {
		t.Fatalf("%d bytes, %d blocks said", b.Len(), blocks)
	}
	return b.Bytes()
}

// flat is an entry that can be compared: its content in Open's place.
type flat struct {
	erofs.Entry
	Content string
}

func flatten(t testing.TB, disk []byte) (list []flat, err error) {
	t.Helper()
	fs, err := erofs.Read(bytes.NewReader(disk), int64(len(disk)))
	if err != nil {
		return nil, err
	}
	err = fs.Walk(func(e erofs.Entry) error {
		f := flat{Entry: e}
		if e.Open != nil {
			r, err := e.Open()
			if err != nil {
				return err
			}
			data, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			f.Content = string(data)
		}
		f.Open = nil
		list = append(list, f)
		return nil
	})
	return list, err
}

// sample is a tree with everything that there can be, and every edge of the layout.
func sample() []erofs.Entry {
	list := []erofs.Entry{
		{Path: ".", Mode: erofs.Directory | 0o755, MTime: 7},
		dir("bin"), dir("etc"), dir("etc/deep"), dir("empty"), dir("many"), dir("a"), dir("a-b"), file("a/x", "x"), file("a-b/y", "y"), file("a.c", "z"),
		{Path: "bin/sh", Mode: erofs.Symlink | 0o777, Target: "../usr/bin/dash"},
		{Path: "long", Mode: erofs.Symlink | 0o777, Target: strings.Repeat("t/", 2047) + "e"},
		{Path: "pipe", Mode: erofs.Pipe | 0o600, UID: 70000, GID: 4_000_000_000},
		{Path: "etc/other", Link: "etc/passwd"}, {Path: "a/sh", Link: "bin/sh"},
		{Path: "tmp", Mode: erofs.Directory | 0o1777, MTime: erofs.MaxTime},
		{Path: "etc/ping", Mode: erofs.Regular | 0o755, Xattrs: map[string][]byte{"security.capability": {1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, "user.note": []byte("n"), "trusted.t": {},
			"system.posix_acl_access": {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 4, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255}}},
	}
	list = append(list, file("etc/passwd", "root:x:0:0::/root:/bin/sh\n"))
	for _, size := range []int{0, 1, 4031, 4032, 4033, 4095, 4096, 4097, 8192, 100_000} {
		list = append(list, file(fmt.Sprintf("etc/deep/%d", size), strings.Repeat("q", size)))
	}
	big := file("etc/deep/xattrs", strings.Repeat("i", 100))
	big.Xattrs = map[string][]byte{"user.big": bytes.Repeat([]byte{9}, 5000)}
	list = append(list, big)
	for i := range 700 {
		list = append(list, file(fmt.Sprintf("many/%s-%d", strings.Repeat("n", i%200), i), strings.Repeat("m", i)))
	}
	return list
}

// wanted are the entries as a walk gives them: sorted, and a link with its file's members.
func wanted(t testing.TB, entries []erofs.Entry) (list []flat) {
	t.Helper()
	byPath := map[string]erofs.Entry{}
	for _, e := range entries {
		byPath[e.Path] = e
	}
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, func(a, b erofs.Entry) int { return erofs.Compare(a.Path, b.Path) })
	first := map[string]string{}
	for _, e := range sorted {
		target := e.Path
		if e.Link != "" {
			target = e.Link
		}
		f := flat{Entry: byPath[target]}
		f.Path, f.Link = e.Path, first[target]
		if first[target] == "" {
			first[target] = e.Path
		}
		if f.Open != nil {
			r, _ := f.Open()
			data, _ := io.ReadAll(r)
			f.Content, f.Open = string(data), nil
		}
		if len(f.Xattrs) == 0 {
			f.Xattrs = nil
		}
		list = append(list, f)
	}
	return list
}

func TestRoundTrip(t *testing.T) {
	got, err := flatten(t, write(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(wanted(t, sample()), got); d != "" {
		t.Error(d)
	}
}

// TestBytes pins the format: another byte is another root in every agreement.
func TestBytes(t *testing.T) {
	sum := sha256.Sum256(write(t, sample()))
	if got := hex.EncodeToString(sum[:]); got != goldenSample {
		t.Errorf("the sample is now %s", got)
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	want := write(t, sample())
	for seed := range uint64(8) {
		list := sample()
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		if !bytes.Equal(write(t, list), want) {
			t.Fatalf("seed %d: other bytes", seed)
		}
	}
	// Which name of a file is said to be the link does not matter either.
	list := sample()
	for i, e := range list {
		switch e.Path {
		case "etc/passwd":
			list[i].Path = "etc/other"
		case "etc/other":
			list[i] = erofs.Entry{Path: "etc/passwd", Link: "etc/other"}
		}
	}
	if !bytes.Equal(write(t, list), want) {
		t.Error("a file's names swapped: other bytes")
	}
}

// TestRandomTrees writes and reads trees of every shape.
func TestRandomTrees(t *testing.T) {
	for seed := range uint64(60) {
		list := randomTree(rand.New(rand.NewPCG(seed, 2)))
		got, err := flatten(t, write(t, list))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if d := cmp.Diff(wanted(t, list), got); d != "" {
			t.Fatalf("seed %d: %s", seed, d)
		}
	}
}

func randomTree(r *rand.Rand) []erofs.Entry {
	list := []erofs.Entry{{Path: ".", Mode: erofs.Directory | 0o700, UID: 5}}
	dirs, files, taken := []string{""}, []string{}, map[string]bool{}
	for range r.IntN(400) {
		name := dirs[r.IntN(len(dirs))] + strings.Repeat(string(rune('!'+r.IntN(14))), 1+r.IntN(3)) + strings.Repeat("é", r.IntN(40))
		name = strings.ReplaceAll(name, "/.", "/-")
		if taken[name] || erofs.BadPath(name) != "" {
			continue
		}
		taken[name] = true
		e := file(name, strings.Repeat("c", r.IntN(1+r.IntN(20000))))
		e.Mode, e.UID, e.GID, e.MTime = erofs.Regular|r.Uint32N(0o10000), r.Uint32(), r.Uint32(), r.Int64N(erofs.MaxTime)
		switch r.IntN(6) {
		case 0:
			e = dir(name)
			dirs = append(dirs, name+"/")
		case 1:
			e = erofs.Entry{Path: name, Mode: erofs.Symlink | 0o777, Target: strings.Repeat("s", 1+r.IntN(300))}
		case 2:
			if len(files) > 0 {
				e = erofs.Entry{Path: name, Link: files[r.IntN(len(files))]}
				break
			}
			fallthrough
		default:
			if r.IntN(5) == 0 {
				e.Xattrs = map[string][]byte{"user." + strings.Repeat("x", r.IntN(9)+1): make([]byte, r.IntN(4000)), "security.a": {1}}
			}
			files = append(files, name)
		}
		list = append(list, e)
	}
	return list
}

func TestWriteRefuses(t *testing.T) {
	long := file(strings.Repeat("n", 256), "")
	short := file("short", "123")
	short.Size = 4
	more := file("more", "12345")
	more.Size = 4
	empty := file("none", "")
	empty.Size = 4
	empty.Open = nil
	deep := strings.Repeat("d/", 2048) + "d"
	for name, list := range map[string][]erofs.Entry{
		"..":             {file("..", "")},
		"a/..":           {dir("a"), file("a/..", "")},
		"/abs":           {file("/abs", "")},
		"a//b":           {dir("a"), file("a//b", "")},
		"a/":             {dir("a/")},
		"":               {dir("")},
		"z\\u0000":       {file("z\x00", "")},
		"nnnn":           {long},
		"d/d":            {file(deep, "")},
		"orphan/file":    {file("orphan/file", "")},
		"file/below":     {file("file", ""), file("file/below", "")},
		"link/below":     {{Path: "link", Mode: erofs.Symlink, Target: "."}, file("link/below", "")},
		"twice":          {file("twice", "1"), file("twice", "2")},
		"as":             {file("as", "1"), {Path: "as", Link: "as"}},
		"null":           {{Path: "null", Mode: 0o020666}},
		"disk":           {{Path: "disk", Mode: 0o060666}},
		"socket":         {{Path: "socket", Mode: 0o140666}},
		"none of a type": {{Path: "none of a type", Mode: 0o644}},
		"bits":           {{Path: "bits", Mode: erofs.Regular | 1<<20}},
		"early":          {{Path: "early", Mode: erofs.Regular, MTime: -1}},
		"late":           {{Path: "late", Mode: erofs.Regular, MTime: erofs.MaxTime + 1}},
		"huge":           {{Path: "huge", Mode: erofs.Regular, Size: erofs.MaxBlocks*erofs.BlockSize + 1, Open: short.Open}},
		"full dir":       {{Path: "full dir", Mode: erofs.Directory, Size: 1}},
		"to nothing":     {{Path: "to nothing", Mode: erofs.Symlink}},
		"far":            {{Path: "far", Mode: erofs.Symlink, Target: strings.Repeat("t", 4096)}},
		"nul target":     {{Path: "nul target", Mode: erofs.Symlink, Target: "a\x00b"}},
		"target":         {{Path: "target", Mode: erofs.Regular, Target: "x"}},
		"hard":           {{Path: "hard", Link: "missing"}},
		"hard dir":       {dir("d"), {Path: "hard dir", Link: "d"}},
		"hard hard":      {file("f", ""), {Path: "h", Link: "f"}, {Path: "hard hard", Link: "h"}},
		"hard out":       {{Path: "hard out", Link: "../etc/passwd"}},
		".":              {{Path: ".", Mode: erofs.Regular}},
		"xattr":          {{Path: "xattr", Mode: erofs.Regular, Xattrs: map[string][]byte{"system.nfs4_acl": {1}}}},
		"xattr2":         {{Path: "xattr2", Mode: erofs.Regular, Xattrs: map[string][]byte{"user.": {1}}}},
		"xattr3":         {{Path: "xattr3", Mode: erofs.Regular, Xattrs: map[string][]byte{"user.x": make([]byte, 20000)}}},
		"none":           {empty},
		"short":          {short},
		"more":           {more},
	} {
		_, err := erofs.Write(io.Discard, list)
		if e := (*verdict.Error)(nil); err == nil {
			t.Errorf("%s: written", name)
		} else if e = verdict.As(err); e.Kind != verdict.Refused || !strings.Contains(e.Got, name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestManyLinks: names of one file are bounded by nothing below what a tree may have.
func TestManyLinks(t *testing.T) {
	list := []erofs.Entry{file("f", "one")}
	for i := range 70_000 {
		list = append(list, erofs.Entry{Path: fmt.Sprintf("l%d", i), Link: "f"})
	}
	n := 0
	disk := write(t, list)
	fs, err := erofs.Read(bytes.NewReader(disk), int64(len(disk)))
	if err == nil {
		err = fs.Walk(func(e erofs.Entry) error {
			if e.Link == "f" {
				n++
			}
			return nil
		})
	}
	if n != 70_000 || err != nil {
		t.Errorf("%d links, %v", n, err)
	}
}

package oci

import (
	"bufio"
	"io"
	"path"
	"strconv"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/erofs"
	"strongroom.dev/verdict"
)

// resolve follows symbolic links inside the image, as a program in it would. It gives the
// path without links, and what stands there; nil is nothing.
func (t *Tree) resolve(name string) (string, *node) {
	at, n, rest := "/", t.root, strings.Split(name, "/")
	for steps := 0; len(rest) > 0; steps++ {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			n = t.at(relative(at))
			continue
		}
		if n == nil || steps > 1000 {
			return path.Join(append([]string{at, part}, rest...)...), nil
		}
		next := n.children[part]
		if next == nil || next.content.entry.Type() != erofs.Symlink {
			at, n = path.Join(at, part), next
			continue
		}
		target := next.content.entry.Target
		if path.IsAbs(target) {
			at, n = "/", t.root
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at, n
}

func relative(absolute string) string {
	if absolute == "/" {
		return "."
	}
	return strings.TrimPrefix(absolute, "/")
}

// program finds the absolute path of what a shell would start.
func (t *Tree) program(name, pathVariable, directory string) (string, error) {
	var tried []string
	switch {
	case path.IsAbs(name):
		tried = []string{path.Clean(name)}
	case strings.Contains(name, "/"):
		tried = []string{path.Join(directory, name)}
	default:
		for _, dir := range strings.Split(pathVariable, ":") {
			if path.IsAbs(dir) {
				tried = append(tried, path.Join(dir, name))
			}
		}
	}
	for _, p := range tried {
		if _, n := t.resolve(p); n != nil && n.content.entry.Type() == erofs.Regular && n.content.entry.Mode&0o111 != 0 {
			return p, nil
		}
	}
	return "", refuse("image.argv", "a program of the image", "nothing that can be started: "+verdict.Short(strings.Join(tried, ", ")), "say what to start: strongroom container prepare IMAGE -o DIR -- /PROGRAM ARGUMENT...")
}

// lines gives the fields of a file such as /etc/passwd, line by line, until yield is false.
func (t *Tree) lines(name string, yield func(fields []string) bool) error {
	_, n := t.resolve(name)
	if n == nil || n.content.entry.Open == nil {
		return nil
	}
	r, err := n.content.entry.Open()
	if err != nil {
		return err
	}
	for s := bufio.NewScanner(io.LimitReader(r, 1<<20)); s.Scan(); {
		if line := s.Text(); line != "" && line[0] != '#' && !yield(strings.Split(line, ":")) {
			return nil
		}
	}
	return nil
}

// user finds the numbers of USER, USER:GROUP or numbers as an image has them, and the home
// directory.
func (t *Tree) user(text string) (u agreement.User, home string, err error) {
	u.Groups = []int64{}
	name, group, hasGroup := strings.Cut(text, ":")
	if name == "" {
		name = "0"
	}
	number, numeric := id(name)
	found := numeric
	u.UID = number
	login := ""
	err = t.lines("/etc/passwd", func(f []string) bool {
		uid, ok := int64(0), false
		if len(f) >= 6 {
			uid, ok = id(f[2])
		}
		if !ok || f[0] != name && !(numeric && uid == number) {
			return true
		}
		u.UID, login, home, found = uid, f[0], f[5], true
		u.GID, _ = id(f[3])
		return false
	})
	if err == nil && !found {
		err = refuse("image.user", "a user of the image's /etc/passwd, or a number up to 65535", verdict.Short(name), "say whom it runs as with --user")
	}
	if err != nil {
		return u, home, err
	}
	return u, home, t.groups(&u, login, group, hasGroup)
}

func id(text string) (int64, bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	return int64(n), err == nil
}

// groups finds the group that is named, or else those that list the user.
func (t *Tree) groups(u *agreement.User, login, group string, named bool) error {
	if named {
		if gid, ok := id(group); ok {
			u.GID = gid
			return nil
		}
	}
	found := !named
	err := t.lines("/etc/group", func(f []string) bool {
		if len(f) < 4 {
			return true
		}
		gid, ok := id(f[2])
		switch {
		case !ok:
		case named && f[0] == group:
			u.GID, found = gid, true
			return false
		case !named && login != "" && gid != u.GID && len(u.Groups) < agreement.MaxGroups:
			for member := range strings.SplitSeq(f[3], ",") {
				if member == login {
					u.Groups = append(u.Groups, gid)
				}
			}
		}
		return true
	})
	if err == nil && !found {
		err = refuse("image.user", "a group of the image's /etc/group, or a number up to 65535", verdict.Short(group), "say whom it runs as with --user")
	}
	return err
}

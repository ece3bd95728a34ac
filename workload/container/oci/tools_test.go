package oci_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/erofs"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/container/oci"
)

// tool runs a program that people make images with.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v: scripts/setup test installs it", err)
		}
		t.Skipf("%v: scripts/setup test installs it", err)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// contents gives what a disk made of an image has, file by file, and its section.
func contents(t *testing.T, name string) []string {
	t.Helper()
	img, err := oci.Open(t.Context(), oci.Source{Name: name, Platform: oci.Platform{OS: "linux", Architecture: "amd64"}, Limits: oci.Ordinary(), Cache: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	tree, err := img.Flatten(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	section, _, err := tree.Section(img, oci.Choice{})
	if err != nil {
		t.Fatal(err)
	}
	list := []string{fmt.Sprintf("%v %v %s %v %v %v", section.Argv, section.User, section.Directory, section.Environment, section.Mounts, section.Ports)}
	var disk bytes.Buffer
	d, err := oci.WriteDisk(&disk, tree.Entries(), img.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := oci.ReadDisk(bytes.NewReader(disk.Bytes()), d.VerityDisk)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		line := fmt.Sprintf("%s %o %d:%d %d %s%s", e.Path, e.Mode, e.UID, e.GID, e.Size, e.Target, e.Link)
		if e.Type() == erofs.Regular && e.Size > 0 {
			var b bytes.Buffer
			r, err := e.Open()
			if err == nil {
				_, err = b.ReadFrom(r)
			}
			if err != nil {
				t.Fatal(err)
			}
			line += " " + digestOf(b.Bytes())
		}
		list = append(list, line)
	}
	return list
}

// made has an image of umoci's, in two layers and a configuration.
func made(t *testing.T) (layout string) {
	t.Helper()
	dir := t.TempDir()
	program, page := filepath.Join(dir, "run"), filepath.Join(dir, "page")
	for path, mode := range map[string]os.FileMode{program: 0o755, page: 0o640} {
		if err := os.WriteFile(path, []byte(strings.Repeat(path[len(dir):]+"\n", 3000)), mode); err != nil {
			t.Fatal(err)
		}
	}
	layout = filepath.Join(dir, "layout")
	image := layout + ":1.4"
	tool(t, "umoci", "init", "--layout", layout)
	tool(t, "umoci", "new", "--image", image)
	tool(t, "umoci", "insert", "--image", image, program, "/bin/run")
	tool(t, "umoci", "insert", "--image", image, page, "/srv/page")
	tool(t, "umoci", "insert", "--image", image, program, "/srv/gone")
	tool(t, "umoci", "insert", "--image", image, "--whiteout", "/srv/gone")
	tool(t, "umoci", "config", "--image", image, "--architecture", "amd64", "--os", "linux", "--config.entrypoint", "run", "--config.cmd", "-v",
		"--config.user", "1000:100", "--config.volume", "/data", "--config.exposedports", "8080/tcp", "--config.env", "LEVEL=2", "--config.workingdir", "/srv")
	return layout
}

// TestToolsImages: an image that umoci made is the same whichever way skopeo took it.
func TestToolsImages(t *testing.T) {
	layout := made(t)
	want := contents(t, "oci:"+layout+":1.4")
	if all := strings.Join(want, "\n"); !strings.HasPrefix(want[0], "[/bin/run -v] {1000 100 []} /srv") || !strings.Contains(all, "\nsrv/page 100640 0:0 ") || strings.Contains(all, "gone") ||
		!strings.Contains(want[0], "{/data memory 67108864 493 1000 100 ") { // what the image lacks is its user's
		t.Errorf("umoci's image is\n%s", all)
	}
	dir, h := t.TempDir(), newHub(t)
	for _, way := range []struct {
		name string
		to   []string
	}{
		{"docker-archive:" + dir + "/docker.tar", []string{"docker-archive:" + dir + "/docker.tar:shop/web:1.4"}},
		{"docker-archive:" + dir + "/docker.tar:shop/web:1.4", nil},
		{dir + "/docker.tar:1.4", nil},
		{dir + "/oci.tar:1.4", []string{"oci-archive:" + dir + "/oci.tar:1.4"}},
		{"oci:" + dir + "/zstd:1.4", []string{"--dest-compress-format", "zstd", "oci:" + dir + "/zstd:1.4"}},
		{"oci:" + dir + "/plain", []string{"--dest-decompress", "oci:" + dir + "/plain"}},
		{h.host + "/shop/web:1.4", []string{"--dest-tls-verify=false", "docker://" + h.host + "/shop/web:1.4"}},
		{h.host + "/shop/docker:1.4", []string{"--dest-tls-verify=false", "--format", "v2s2", "docker://" + h.host + "/shop/docker:1.4"}},
	} {
		if way.to != nil {
			tool(t, "skopeo", append([]string{"--insecure-policy", "copy", "oci:" + layout + ":1.4"}, way.to...)...)
		}
		if diff := cmp.Diff(want, contents(t, way.name)); diff != "" {
			t.Errorf("%s is another image: %s", way.name, diff)
		}
	}
	_, err := oci.Open(t.Context(), oci.Source{Name: dir + "/docker.tar:2", Platform: oci.Platform{OS: "linux", Architecture: "amd64"}, Limits: oci.Ordinary()})
	if err == nil || verdict.As(err).Check != "image.name" {
		t.Errorf("a tag that an archive lacks: %v", err)
	}
}

// TestBuildah: what buildah makes is an image as others are.
func TestBuildah(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "run"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	buildah := func(args ...string) string {
		return tool(t, "buildah", append([]string{"--storage-driver", "vfs", "--root", dir + "/root", "--runroot", dir + "/run-root"}, args...)...)
	}
	name := buildah("from", "scratch")
	buildah("copy", "--chown", "0:0", name, dir+"/run", "/bin/run")
	buildah("config", "--arch", "amd64", "--cmd", `["run"]`, "--user", "5", "--volume", "/data", name)
	buildah("commit", name, "oci:"+dir+"/layout:1.4")
	list := contents(t, "oci:"+dir+"/layout:1.4")
	if !strings.HasPrefix(list[0], "[/bin/run] {5 0 []} / ") || !strings.Contains(strings.Join(list, "\n"), "\nbin/run 100755 0:0 10 ") {
		t.Errorf("buildah's image is %q", list)
	}
}

// Package debianimage makes container images of Debian packages, with Debian's own tools, for
// demos, tests and measurements: images that nobody here wrote, as a team would have them
// already. It is for no other use.
//
// An image is an OCI layout of one layer, which mmdebstrap made: the essential packages, and
// those asked for with what they need. It is kept in the user's cache, by what it was made of.
package debianimage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"strongroom.dev/verdict"
)

// Image says what an image is made of, and how it is started.
type Image struct {
	Name     string   `json:"name"` // of the layout's one image
	Packages []string `json:"packages"`
	// Setup are shell lines run in the root file system once the packages are there.
	Setup []string `json:"setup"`
	// Config is the image's configuration, as in the OCI image specification.
	Config Config `json:"config"`
}

// Config is how a container of the image is started.
type Config struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Cmd          []string            `json:"Cmd"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
}

const suite = "bookworm"

// Nginx is Debian's web server.
func Nginx() Image {
	return Image{Name: "nginx", Packages: []string{"nginx-light"},
		Config: Config{Cmd: []string{"nginx", "-g", "daemon off;"}, ExposedPorts: map[string]struct{}{"80/tcp": {}}, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
			Volumes: map[string]struct{}{"/var/lib/nginx": {}, "/var/log/nginx": {}, "/run": {}}}}
}

// PostgreSQL is Debian's database server, made to start as its own user with its data below
// /var/lib/postgresql/data: the first start makes the database.
func PostgreSQL() Image {
	const start = `#!/bin/sh
set -e
bin=/usr/lib/postgresql/15/bin
[ -e "$PGDATA/PG_VERSION" ] || $bin/initdb --auth=trust --username=postgres --no-sync >/dev/null
exec $bin/postgres -c listen_addresses=127.0.0.1 -c unix_socket_directories=/run/postgresql -c dynamic_shared_memory_type=mmap
`
	return Image{Name: "postgres", Packages: []string{"postgresql-15"}, Setup: []string{"cat > usr/local/bin/start-postgres <<'END'\n" + start + "END", "chmod 755 usr/local/bin/start-postgres"},
		Config: Config{User: "postgres", Cmd: []string{"/usr/local/bin/start-postgres"}, ExposedPorts: map[string]struct{}{"5432/tcp": {}},
			Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "PGDATA=/var/lib/postgresql/data/main", "LANG=C.UTF-8"}, Volumes: map[string]struct{}{"/var/lib/postgresql/data": {}, "/run/postgresql": {}}}}
}

// Python is Debian's Python with scikit-learn.
func Python() Image {
	return Image{Name: "python", Packages: []string{"python3-sklearn"},
		Config: Config{User: "1000", Cmd: []string{"python3"}, Env: []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "OPENBLAS_NUM_THREADS=1"}}}
}

// Layout gives the folder of the image's OCI layout, made now if it is not in the cache. It
// takes some ten seconds, root and mmdebstrap; progress is shown on log.
func (i Image) Layout(ctx context.Context, log io.Writer) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	key, err := json.Marshal(i)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append(key, suite+runtime.GOARCH+"/1"...))
	dir := filepath.Join(cache, "strongroom", "images", i.Name+"-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(filepath.Join(dir, "index.json")); err == nil {
		return dir, nil
	}
	if err := ready(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	made, err := os.MkdirTemp(filepath.Dir(dir), ".making-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(made)
	layer := filepath.Join(made, "layer.tar")
	if err := i.bootstrap(ctx, layer, log); err != nil {
		return "", err
	}
	if err := i.write(made, layer); err != nil {
		return "", err
	}
	if err := os.Chmod(made, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(made, dir); err != nil && !errors.Is(err, os.ErrExist) {
		if _, other := os.Stat(filepath.Join(dir, "index.json")); other != nil { // somebody else made it meanwhile
			return "", err
		}
	}
	return dir, nil
}

// ready says what is missing to make an image.
func ready() error {
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		return verdict.Misuse("debianimage", "mmdebstrap, which makes images of Debian packages", "none", "apt-get install mmdebstrap, or name an image that you have")
	}
	if os.Geteuid() != 0 {
		return verdict.Misuse("debianimage", "root, to make an image of Debian packages", fmt.Sprintf("user %d", os.Geteuid()), "do it as root, or name an image that you have")
	}
	return nil
}

// bootstrap has mmdebstrap write the root file system.
func (i Image) bootstrap(ctx context.Context, layer string, log io.Writer) error {
	args := []string{"--variant=essential", "--include=" + strings.Join(i.Packages, ","), "--quiet"}
	for _, dir := range []string{"doc", "man", "locale", "info"} {
		args = append(args, "--dpkgopt=path-exclude=/usr/share/"+dir+"/*")
	}
	for _, line := range i.Setup {
		args = append(args, `--customize-hook=cd "$1" && `+line)
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", append(args, suite, layer)...)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000", "LC_ALL=C")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = log, io.MultiWriter(&said, log)
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &verdict.Error{Kind: verdict.Broken, Check: "debianimage", Expected: "a root file system of " + strings.Join(i.Packages, ", "), Got: verdict.Short(lastLine(said.String())),
			Fix: "see that Debian's mirror is reachable, or name an image that you have", Err: err}
	}
	return nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// write makes the layout around the layer (OCI image-layout specification).
func (i Image) write(dir, layer string) error {
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	digest, size, err := sumOf(layer)
	if err != nil {
		return err
	}
	if err := os.Rename(layer, filepath.Join(blobs, digest)); err != nil {
		return err
	}
	config, err := put(blobs, map[string]any{"architecture": runtime.GOARCH, "os": "linux", "created": "2023-11-14T22:13:20Z", "config": i.Config,
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest}}})
	if err != nil {
		return err
	}
	config["mediaType"] = "application/vnd.oci.image.config.v1+json"
	manifest, err := put(blobs, map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
		"layers": []any{map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:" + digest, "size": size}}})
	if err != nil {
		return err
	}
	manifest["mediaType"] = "application/vnd.oci.image.manifest.v1+json"
	manifest["platform"] = map[string]any{"architecture": runtime.GOARCH, "os": "linux"}
	manifest["annotations"] = map[string]string{"org.opencontainers.image.ref.name": "latest"}
	if err := os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644); err != nil {
		return err
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []any{manifest}})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644)
}

// put writes a blob and gives its descriptor.
func put(blobs string, v any) (map[string]any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	return map[string]any{"digest": "sha256:" + digest, "size": len(data)}, os.WriteFile(filepath.Join(blobs, digest), data, 0o644)
}

func sumOf(path string) (digest string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

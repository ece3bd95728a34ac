package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"
)

const (
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociConfig   = "application/vnd.oci.image.config.v1+json"
	ociLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// scriptLayout writes an OCI layout of one layer: layout DIR ROOT CONFIG ENTRY... The layer has
// the files of ROOT, programs in bin, and entries TYPE:NAME[:TARGET], of which type is one of
// tar's. CONFIG is a file with the image's "config".
func scriptLayout(ts *testscript.TestScript, _ bool, args []string) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	root := ts.MkAbs(args[1])
	ts.Check(filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		ts.Check(err)
		data, err := os.ReadFile(path)
		ts.Check(err)
		h := &tar.Header{Name: filepath.ToSlash(name), Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(data))}
		if strings.HasPrefix(h.Name, "bin/") {
			h.Mode = 0o755
		}
		ts.Check(w.WriteHeader(h))
		_, err = w.Write(data)
		return err
	}))
	for _, e := range args[3:] {
		fields := append(strings.SplitN(e, ":", 3), "", "")
		h := &tar.Header{Typeflag: fields[0][0], Name: fields[1], Linkname: fields[2], Mode: 0o4755, Devmajor: 8}
		ts.Check(w.WriteHeader(h))
	}
	ts.Check(w.Close())
	dir := ts.MkAbs(args[0])
	blobs := filepath.Join(dir, "blobs", "sha256")
	ts.Check(os.MkdirAll(blobs, 0o755))
	put := func(mediaType string, data []byte) map[string]any {
		sum := sha256.Sum256(data)
		name := hex.EncodeToString(sum[:])
		ts.Check(os.WriteFile(filepath.Join(blobs, name), data, 0o644))
		return map[string]any{"mediaType": mediaType, "digest": "sha256:" + name, "size": len(data)}
	}
	doc := func(mediaType string, v any) map[string]any {
		data, err := json.Marshal(v)
		ts.Check(err)
		return put(mediaType, data)
	}
	l := put(ociLayer, layer.Bytes())
	config := doc(ociConfig, map[string]any{"os": "linux", "architecture": "amd64", "config": json.RawMessage(ts.ReadFile(args[2])), "rootfs": map[string]any{"type": "layers", "diff_ids": []any{l["digest"]}}})
	manifest := doc(ociManifest, map[string]any{"schemaVersion": 2, "mediaType": ociManifest, "config": config, "layers": []any{l}})
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{manifest}})
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644))
}

// scriptRegistry starts a registry with a layout's image: registry VARIABLE DIR NAME:TAG. The
// variable becomes its address.
func scriptRegistry(ts *testscript.TestScript, _ bool, args []string) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(server.Close)
	ts.Setenv(args[0], strings.TrimPrefix(server.URL, "http://"))
	name, tag, _ := strings.Cut(args[2], ":")
	send := func(method, path, mediaType string, data []byte) {
		req, err := http.NewRequest(method, server.URL+"/v2/"+name+path, bytes.NewReader(data))
		ts.Check(err)
		req.Header.Set("Content-Type", mediaType)
		resp, err := http.DefaultClient.Do(req)
		ts.Check(err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			ts.Fatalf("%s %s: %s", method, path, resp.Status)
		}
	}
	var index struct{ Manifests []struct{ Digest string } }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1]+"/index.json")), &index))
	files, err := filepath.Glob(filepath.Join(ts.MkAbs(args[1]), "blobs/sha256/*"))
	ts.Check(err)
	var top []byte
	for _, f := range files {
		data, err := os.ReadFile(f)
		ts.Check(err)
		if digest := "sha256:" + filepath.Base(f); digest == index.Manifests[0].Digest {
			top = data
		} else {
			send(http.MethodPost, fmt.Sprintf("/blobs/uploads/?digest=%s", digest), "application/octet-stream", data)
		}
	}
	send(http.MethodPut, "/manifests/"+tag, ociManifest, top)
}

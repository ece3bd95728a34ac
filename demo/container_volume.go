package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"strongroom.dev/agreement"
)

// The files of the attack on a volume.
const (
	keptDir    = "kept"
	keptFile   = "kept.json"
	keptPath   = "/var/lib/kept"
	keptVolume = "kept.volume"
)

// olderVolume has a container with a volume run twice, and puts the volume back as the first
// run left it: what a host would do that wants to undo what happened since.
func (l *landlord) olderVolume(ctx context.Context) (string, error, error) {
	kept, err := l.agreeVolume(ctx)
	if err != nil {
		return "", nil, err
	}
	volume, older := l.path(keptVolume), l.path(keptVolume+".older")
	var args []string
	for run := range 2 {
		address, err := freePort()
		if err != nil {
			return "", nil, err
		}
		args = l.runArgs(keptFile, address, "--disk", keptPath+"="+volume)
		room, _, err := l.runRoom(ctx, "kept", kept, address, args)
		if err != nil {
			return "", nil, err
		}
		room.stop() // its volume is closed, and the root of its content is with the broker
		if run == 0 {
			if err := copyFile(volume, older); err != nil {
				return "", nil, err
			}
		}
	}
	if err := os.Rename(older, volume); err != nil {
		return "", nil, err
	}
	return l.byCommand(ctx, "room, by what alpha's broker knows", args...)
}

// agreeVolume agrees on the container with a volume, whose key is sealed.
func (l *landlord) agreeVolume(ctx context.Context) (*agreement.SignedAgreement, error) {
	text, err := os.ReadFile(l.path(imageDir, "container.yaml"))
	if err != nil {
		return nil, err
	}
	mount := fmt.Sprintf("mounts:\n  - path: %s\n    kind: volume\n    bytes: %d\n    mode: 0o700\n    uid: 0\n    gid: 0\n    input: kept-key\n", keptPath, 32<<20)
	if err := os.MkdirAll(l.path(keptDir), 0o700); err != nil {
		return nil, err
	}
	section := strings.Replace(string(text), "mounts:\n", mount, 1)
	if err := os.WriteFile(filepath.Join(l.path(keptDir), "container.yaml"), []byte(section), 0o600); err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	rand.Read(key)
	plain := l.path(alpha, "kept-key")
	if err := os.WriteFile(plain, key, 0o600); err != nil {
		return nil, err
	}
	if _, err := l.quiet(ctx, l.as(alpha, "dataset", "publish", plain, "--dataset", "kept-key", "--format", "file", "--out", l.path(sealedDir))...); err != nil {
		return nil, err
	}
	return l.agree(ctx, l.quiet, keptDir, keptFile)
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

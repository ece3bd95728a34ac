package image

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"strongroom.dev/verdict"
)

// DebianKeyring is where Debian's package debian-archive-keyring puts the archive's keys.
const DebianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// Gpgv checks signatures of Debian's archive with GnuPG's gpgv, against the keys of one file
// and no others. OpenPGP is not something to write once more for one index.
type Gpgv struct {
	// Keyring is the file of keys; see [DebianKeyring].
	Keyring string
}

// Verify checks a clear-signed document and gives the text that was signed. Errors are of
// kind Invalid, of kind Usage where gpgv or its keys are not there.
func (g Gpgv) Verify(ctx context.Context, signed []byte) ([]byte, error) {
	lack := func(what, got string) ([]byte, error) {
		return nil, verdict.Misuse("image.archive", what+", to check Debian's signature with", got, "apt-get install gpgv debian-archive-keyring, or name the keys with --keyring")
	}
	program, err := exec.LookPath("gpgv")
	if err != nil {
		return lack("gpgv", "no such program")
	}
	keyring, err := filepath.Abs(g.Keyring)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(keyring); err != nil || !info.Mode().IsRegular() {
		return lack("keys of Debian's archive", "no file "+keyring)
	}
	dir, err := os.MkdirTemp("", "strongroom-gpgv-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "InRelease"), filepath.Join(dir, "Release")
	if err := os.WriteFile(in, signed, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, "--homedir", dir, "--keyring", keyring, "--output", out, in)
	if said, err := cmd.CombinedOutput(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) || ctx.Err() != nil {
			return nil, errors.Join(err, ctx.Err())
		}
		lines := strings.Split(strings.TrimSpace(string(said)), "\n")
		return nil, verdict.NotGenuine("image.archive", "a good signature by a key of "+keyring, verdict.Short(lines[len(lines)-1]), "give another mirror with --mirror, or bring the keys up to date")
	}
	return os.ReadFile(out) // only what was signed, not what stands around it
}

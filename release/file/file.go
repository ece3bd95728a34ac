// Package file is the key store of a broker whose private keys are files: the data
// identities that open sealed data, the key that signs releases, the key of the broker's own
// log, and the secret that challenges and run secrets derive from.
//
// It promises that the files are private (mode 0600 or stricter), are what they should be,
// and that nothing of them is ever printed. The keys are in this program's memory while it
// runs: whoever controls the program, or reads the files, can read the owner's data. It
// refuses identities made for results, and unwraps only when asked to: whether a header
// ought to be unwrapped is the broker's to decide before.
package file

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
)

const (
	// maxFile is the largest key file, in bytes: an identity with its comments has 4 KiB.
	maxFile = 64 << 10
	// maxIdentities is the most data identities: the current one and those it replaced.
	maxIdentities = 64
)

// Store is an open key store. It is held by pointer and prints as redacted.
type Store struct {
	_          [0]func()
	dir        string
	identities []*seal.Identity
	release    *keys.SigningKey
	log        *ledger.Signer
	secret     *keys.Secret
}

// Open reads the keys in dir: data.key, with data-1.key, data-2.key, ... that it replaced,
// release.key, log.key and broker.secret (64 hex digits). Errors name the file and never
// quote it.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir}
	if err := s.openIdentities(); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name, expected string
		parse          func(text string) error
	}{
		{"release.key", "a signing key", func(text string) (err error) { s.release, err = keys.ParseSigningKey(text); return err }},
		{"log.key", "the key of a log", func(text string) (err error) { s.log, err = ledger.ParseSigner(text); return err }},
		{"broker.secret", "64 hex digits", func(text string) (err error) { s.secret, err = parseSecret(text); return err }},
	} {
		if err := s.read(f.name, f.expected, f.parse); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Store) openIdentities() error {
	for n := 0; n < maxIdentities; n++ {
		name := "data.key"
		if n > 0 {
			name = fmt.Sprintf("data-%d.key", n)
		}
		err := s.read(name, "a data identity", func(text string) error {
			id, err := seal.ParseIdentityFile(text)
			if err != nil {
				return err
			}
			if id.Purpose() != seal.Data {
				return fmt.Errorf("an identity for purpose %s", id.Purpose())
			}
			s.identities = append(s.identities, id)
			return nil
		})
		if n > 0 && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func parseSecret(text string) (*keys.Secret, error) {
	raw, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("something else") // the error of hex quotes a byte
	}
	defer clear(raw)
	return keys.NewSecret(raw)
}

// read reads one key file after checking that nobody else can.
func (s *Store) read(name, expected string, parse func(text string) error) error {
	path := filepath.Join(s.dir, name)
	f, err := os.Open(path)
	if err != nil {
		return &verdict.Error{Kind: verdict.Broken, Check: "broker.keys", Where: path, Expected: expected, Got: "nothing that can be read", Fix: "`strongroom party init` makes the keys; restore them from your copy", Err: err}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if mode := info.Mode(); !mode.IsRegular() || runtime.GOOS != "windows" && mode.Perm()&0o077 != 0 {
		e := verdict.Refuse("broker.keys", "a file that only its owner can read", info.Mode().String(), "chmod 600 "+verdict.ShellWord(path)+", and ask who may have read it")
		e.Where = path
		return e
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return err
	}
	defer clear(data)
	if len(data) > maxFile {
		err = fmt.Errorf("more than %d bytes", maxFile)
	} else {
		err = parse(string(data))
	}
	if err != nil {
		got := err.Error()
		if e := new(verdict.Error); errors.As(err, &e) {
			got = e.Got
		}
		return &verdict.Error{Kind: verdict.Broken, Check: "broker.keys", Where: path, Expected: expected, Got: verdict.Short(got), Fix: "restore the file from your copy", Err: err}
	}
	return nil
}

// Kind says what the store is.
func (s *Store) Kind() string {
	return "files in " + s.dir + "; the private keys are in the broker's memory, so whoever runs the broker can read its owner's data"
}

// ReleaseKey signs grants, challenges and leases.
func (s *Store) ReleaseKey() keys.Signer { return s.release }

// LogKey signs the checkpoints of the broker's own log.
func (s *Store) LogKey() *ledger.Signer { return s.log }

// Secret makes challenge tokens and run secrets.
func (s *Store) Secret() *keys.Secret { return s.secret }

// Unwrap gives the file key from an age header, with whichever data identity it was sealed
// to. The caller wipes it.
func (s *Store) Unwrap(header []byte) (*seal.FileKey, error) {
	var first error
	for _, id := range s.identities {
		key, err := seal.UnwrapHeader(header, id)
		if err == nil {
			return key, nil
		}
		if first == nil {
			first = err
		}
		var e *verdict.Error
		if !errors.As(err, &e) || e.Check != "sealed.recipient" {
			return nil, err
		}
	}
	return nil, first
}

// Format redacts the store under every verb.
func (s *Store) Format(f fmt.State, _ rune) { fmt.Fprint(f, "key store (redacted)") }

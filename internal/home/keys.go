package home

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
)

// The key files under keys/.
const (
	signingFile = "signing.key"
	resultFile  = "result.key"
	dataFile    = "data.key"
	releaseFile = "release.key"
	logFile     = "log.key"
	secretFile  = "broker.secret"
)

// SigningKey gives the party's own signing key: the one that its latest descriptor names.
func (h *Home) SigningKey() (*keys.SigningKey, error) {
	party, err := h.Descriptor()
	if err != nil {
		return nil, err
	}
	return h.SigningKeyOf(party)
}

// SigningKeyOf gives the signing key here that a version of the party's own descriptor
// names.
func (h *Home) SigningKeyOf(party *agreement.SignedParty) (*keys.SigningKey, error) {
	own, err := h.signingKeys()
	if err != nil {
		return nil, err
	}
	for _, key := range own {
		for _, k := range party.Keys {
			if k.Public == key.Public() {
				return key, nil
			}
		}
	}
	return nil, &verdict.Error{Kind: verdict.Broken, Check: "home.signing-key", Expected: fmt.Sprintf("a signing key that version %d of %s names", party.Version, party.Name),
		Got: "none of the keys here", Where: h.Path("keys"), Fix: "put the party's key back at keys/" + signingFile}
}

// signingKeys gives every signing key of the party that lies here: signing.key, and those
// that an update of the party made (signing-ID.key).
func (h *Home) signingKeys() ([]*keys.SigningKey, error) {
	names, err := filepath.Glob(filepath.Join(globSafe(h.Path("keys")), "signing*.key"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var out []*keys.SigningKey
	for _, name := range names {
		key, err := h.signingKey("keys", filepath.Base(name))
		if err != nil {
			return nil, err
		}
		out = append(out, key)
	}
	if len(out) == 0 {
		return nil, h.missing(signingFile, "strongroom party init makes it")
	}
	return out, nil
}

// globSafe escapes what Glob would take for a pattern.
func globSafe(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// ReleaseKey gives the key the party's broker signs with.
func (h *Home) ReleaseKey() (*keys.SigningKey, error) { return h.brokerSigner(releaseFile) }

func (h *Home) brokerSigner(name string) (*keys.SigningKey, error) {
	key, err := h.signingKey("keys", name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, h.noData(name)
	}
	return key, err
}

func (h *Home) signingKey(elem ...string) (*keys.SigningKey, error) {
	data, err := h.readSecret(elem...)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	key, err := keys.ParseSigningKey(string(data))
	if err != nil {
		return nil, damaged(h.Path(elem...), "a signing key", err)
	}
	return key, nil
}

// LogKey gives the secret (a note signer key) that signs the checkpoints of the broker's
// own log.
func (h *Home) LogKey() (string, error) {
	data, err := h.readSecret("keys", logFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", h.noData(logFile)
	}
	if err != nil {
		return "", err
	}
	defer clear(data)
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return line, nil
		}
	}
	return "", damaged(h.Path("keys", logFile), "a note signer key", fmt.Errorf("no key in it"))
}

// BrokerSecret gives the broker's secret: challenges and run secrets derive from it.
func (h *Home) BrokerSecret() (*keys.Secret, error) {
	data, err := h.readSecret("keys", secretFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, h.noData(secretFile)
	}
	if err != nil {
		return nil, err
	}
	defer clear(data)
	raw, err := hex.DecodeString(strings.TrimSpace(string(data)))
	if err == nil {
		defer clear(raw)
		var secret *keys.Secret
		if secret, err = keys.NewSecret(raw); err == nil {
			return secret, nil
		}
	}
	return nil, damaged(h.Path("keys", secretFile), "64 hex digits", err)
}

// ResultIdentity gives what opens results sealed to the party: the newest such key.
func (h *Home) ResultIdentity() (*seal.Identity, error) { return newest(h.ResultIdentities()) }

// DataIdentity gives what opens data sealed to the party's broker: the newest such key.
func (h *Home) DataIdentity() (*seal.Identity, error) { return newest(h.DataIdentities()) }

func newest(ids []*seal.Identity, err error) (*seal.Identity, error) {
	if err != nil {
		return nil, err
	}
	return ids[0], nil
}

// ResultIdentities gives every result identity of the party, the newest first. It has
// several once an update of the party has replaced one.
func (h *Home) ResultIdentities() ([]*seal.Identity, error) {
	return h.identities("result", seal.Result, h.missing("keys/"+resultFile, "strongroom party init makes it"))
}

// DataIdentities gives every data identity of the party, the newest first.
func (h *Home) DataIdentities() ([]*seal.Identity, error) {
	return h.identities("data", seal.Data, h.noData(dataFile))
}

// identities reads kind.key and then kind-N.key, those that were replaced, by falling N.
func (h *Home) identities(kind string, want seal.Purpose, absent error) ([]*seal.Identity, error) {
	var out []*seal.Identity
	first, err := h.identity(kind+".key", want)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absent
	}
	if err != nil {
		return nil, err
	}
	out = append(out, first)
	for n := 1; ; n++ {
		id, err := h.identity(replaced(kind, n), want)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		out = slices.Insert(out, 1, id)
	}
	return out, nil
}

// replaced is the file of the nth key of a kind that an update replaced, from 1.
func replaced(kind string, n int) string { return fmt.Sprintf("%s-%d.key", kind, n) }

func (h *Home) identity(name string, want seal.Purpose) (*seal.Identity, error) {
	data, err := h.readSecret("keys", name)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	id, err := seal.ParseIdentityFile(string(data))
	if err != nil {
		return nil, damaged(h.Path("keys", name), "an identity file", err)
	}
	if id.Purpose() != want {
		return nil, verdict.Refuse("identity.purpose", string(want), string(id.Purpose()), "results and data have identities of their own; put the right file at keys/"+name)
	}
	return id, nil
}

// DevRoot gives this user's development root: the key that signs evidence on the dev
// platform. It is made if there is none and create is set.
func (h *Home) DevRoot(create bool) (*keys.SigningKey, error) {
	key, err := h.signingKey("dev", "root.key")
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if !create {
		return nil, h.missing("root.key", "strongroom host root makes one; agreements pin it")
	}
	if key, err = keys.GenerateSigningKey(keys.Ed25519); err != nil {
		return nil, err
	}
	text, err := key.MarshalSecret()
	if err != nil {
		return nil, err
	}
	err = h.write(true, []byte("# strongroom development root: whoever has it can fake evidence of the dev platform\n"+text), "dev", "root.key")
	if errors.Is(err, fs.ErrExist) { // another program was faster
		return h.DevRoot(false)
	}
	return key, err
}

func (h *Home) missing(name, mend string) error {
	return verdict.Misuse("home.key", name+" in "+h.dir, "nothing there", mend)
}

func (h *Home) noData(name string) error {
	return h.missing("keys/"+name, "only a party with a broker has it: see strongroom party update --data")
}

// LoadSigningKey reads a signing key from a file outside of any home. It must be private.
func LoadSigningKey(path string) (*keys.SigningKey, error) {
	return load(path, "a signing key file", "strongroom keygen --purpose signing -o FILE makes one", keys.ParseSigningKey)
}

// LoadIdentity reads an identity from a file outside of any home. It must be private.
func LoadIdentity(path string) (*seal.Identity, error) {
	return load(path, "an identity file with a line # purpose: data or result", "strongroom keygen -o FILE makes one", seal.ParseIdentityFile)
}

// load reads a key file of somebody's choice. What is wrong with it is a wrong call, not a
// damaged home.
func load[K any](path, what, mend string, parse func(string) (K, error)) (K, error) {
	var none K
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return none, verdict.Misuse("key", what, path+" does not exist", mend)
	}
	if err == nil && info.IsDir() {
		return none, verdict.Misuse("key", what, path+" is a directory", "name the file")
	}
	if err != nil {
		return none, readError("key", err)
	}
	h := &Home{filepath.Dir(path)}
	data, err := h.readSecret(filepath.Base(path))
	if err != nil {
		return none, err
	}
	defer clear(data)
	key, err := parse(string(data))
	if err == nil {
		return key, nil
	}
	e := *verdict.As(err)
	e.Where = path
	if e.Check == "internal" { // an error without a shape of its own
		e.Kind, e.Check, e.Expected, e.Fix = verdict.Usage, "key", what, mend
	}
	return none, &e
}

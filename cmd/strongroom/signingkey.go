package main

import (
	"io"
	"os"
	"strings"

	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// What stands in files of keys.
const (
	publicKeyLine = "Public key:" // how keygen prints the public half
	signingMark   = "STRONGROOM-SIGNING-KEY-"
	identityMark  = "AGE-SECRET-KEY-"
)

// publicKeys reads the public keys that a flag gives, each as its text or as a file: see
// [publicKeyIn].
func (a *app) publicKeys(flag string, given []string) ([]keys.PublicKey, error) {
	var all []keys.PublicKey
	for _, text := range given {
		k, err := a.publicKey(flag, text)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

func (a *app) publicKey(flag, given string) (keys.PublicKey, error) {
	if k, err := publicKeyIn(given); err == nil && !strings.Contains(given, signingMark) {
		return k, nil
	}
	if _, err := os.Stat(given); err != nil {
		return keys.PublicKey{}, noPublicKey(flag, "", given)
	}
	data, err := a.readDocument(given, "a public key")
	if err != nil {
		return keys.PublicKey{}, err
	}
	defer clear(data)
	k, err := publicKeyIn(string(data))
	if err != nil {
		return k, noPublicKey(flag, given, string(data))
	}
	return k, nil
}

// publicKeyIn reads a public key as people have it: its text, what keygen printed about it, or
// the file of the signing key itself, of which only the public half is taken. The error never
// quotes the text.
func publicKeyIn(text string) (keys.PublicKey, error) {
	if strings.Contains(text, signingMark) {
		key, err := keys.ParseSigningKey(text)
		if err != nil {
			return keys.PublicKey{}, err
		}
		return key.Public(), nil
	}
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.TrimSpace(strings.TrimPrefix(line, publicKeyLine)))
		}
	}
	if len(lines) != 1 {
		return keys.PublicKey{}, verdict.Misuse("key", "one public key", "none, or several", "name the right file")
	}
	return keys.ParsePublicKey(lines[0])
}

// noPublicKey says what was given instead. Texts that may be secret are not repeated.
func noPublicKey(flag, file, text string) error {
	got, fix := "something else", "strongroom keygen --purpose signing -o FILE makes a key and prints its public half"
	switch {
	case strings.Contains(text, identityMark):
		got, fix = "a private age identity, which opens files and signs nothing", "give a key that keygen --purpose signing made"
	case strings.Contains(text, signingMark):
		got, fix = "a damaged private signing key", "take the file as keygen wrote it"
	case strings.HasPrefix(strings.TrimPrefix(text, publicKeyLine+" "), "age1"):
		got, fix = "an age recipient, which seals files and signs nothing", "give a key that keygen --purpose signing made"
	case file == "":
		got = verdict.Short(text) + ", which is neither a key nor a file"
	case strings.Count(text, publicKeyLine) > 1:
		got, fix = "several keys", "give the flag once for each key"
	}
	e := verdict.Misuse(flag, "a public key ed25519:..., or the file of one or of its signing key", got, fix)
	e.Where = file
	return e
}

// loadSigningKey reads a private signing key. That a file holds only the public half matters
// more than who may read it, so that is said first.
func loadSigningKey(path string) (*keys.SigningKey, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() <= wire.MaxDocument {
		if text, err := readText(path); err == nil && !strings.Contains(text, signingMark) {
			if _, err := publicKeyIn(text); err == nil {
				e := verdict.Misuse("key", "a private signing key", "only its public half", "give the file that keygen --purpose signing -o FILE wrote")
				e.Where = path
				return nil, e
			}
		}
	}
	return home.LoadSigningKey(path)
}

func readText(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, wire.MaxDocument))
	defer clear(data)
	return string(data), err
}

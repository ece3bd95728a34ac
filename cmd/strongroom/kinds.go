package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"

	"strongroom.dev/agreement"
	"strongroom.dev/endorse"
	"strongroom.dev/image"
	"strongroom.dev/proof"
	"strongroom.dev/reference"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
)

// This file knows files of ours that were given to the wrong command.

// kindOf says what a file of ours is, and what is done with it; "" for anything else.
func kindOf(path string, data []byte) (kind, mend string) {
	file := shellWord(path)
	if bytes.HasPrefix(data, []byte("age-encryption.org/v1\n")) {
		return "a sealed file", "strongroom open " + file + " opens it"
	}
	var shape struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(data, &shape) != nil {
		return "", ""
	}
	if reference.Is(data) {
		return "reference values", "strongroom reference check " + file + " checks them"
	}
	switch shape.Type {
	case proof.BundleType:
		return "a result's proof", "strongroom receipt verify " + file + " checks it; strongroom receipt evidence " + file + " -o room.json takes a room's evidence out of it"
	case agreement.AgreementType:
		return "an agreement", "strongroom agreement check " + file + " checks it"
	case agreement.PartyType:
		return "a party descriptor", "strongroom inspect " + file + " shows it"
	case agreement.DatasetType, agreement.RunType, endorse.Type, reference.Type, release.GrantType, release.RequestType:
		return "a document of type " + shape.Type, "strongroom inspect " + file + " says what it is"
	}
	return "", ""
}

// notKind turns the refusal of a file's form into one that says what the file is, where it is
// another of ours.
func notKind(path string, data []byte, want string, err error) error {
	kind, mend := kindOf(path, data)
	if err == nil || kind == "" || kind == want {
		return err
	}
	e := *verdict.As(err)
	e.Expected, e.Got, e.Fix, e.Err = want, kind, mend, nil
	return &e
}

// isImage reports whether a directory holds a room image.
func isImage(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, image.FileManifest))
	return err == nil && info.Mode().IsRegular()
}

// imageCommands is the mend for a room image's directory where something else was expected.
func imageCommands(dir string) string {
	return "strongroom image show " + shellWord(dir) + " says what a room image holds, strongroom image measure " + shellWord(dir) + " what it measures"
}

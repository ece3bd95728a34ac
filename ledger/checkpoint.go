package ledger

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Checkpoint is a log's word about its whole content: the first Size entries hash to Root.
// Only [OpenCheckpoint] and what is built on it return verified ones.
type Checkpoint struct {
	Origin string    `json:"origin"`
	Size   int64     `json:"size"`
	Root   wire.Hash `json:"root"`
	// Note is the signed note this was read from, all signatures included.
	Note string `json:"note"`
}

// text gives the note text that a checkpoint signs (C2SP tlog-checkpoint).
func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// SignCheckpoint signs the log's state. The caller answers for never asking for two roots of
// one size.
func (s *Signer) SignCheckpoint(size int64, root wire.Hash) (string, error) {
	if size < 0 || size > MaxSize {
		return "", fmt.Errorf("checkpoint of %d entries, expected 0 to %d", size, int64(MaxSize))
	}
	text := Checkpoint{Origin: s.origin, Size: size, Root: root}.text()
	return text + "\n" + s.sign(text), nil
}

// OpenCheckpoint checks a checkpoint with the log's verifier key. Signatures by other keys
// are carried along unread. The error is a [verdict.Error] of kind Invalid.
func OpenCheckpoint(signed, verifier string) (Checkpoint, error) {
	c, _, err := openCheckpoint(signed, verifier, nil)
	return c, err
}

func openCheckpoint(signed, verifier string, others []note.Verifier) (c Checkpoint, by []signature, err error) {
	key, err := parseVerifier(verifier)
	if err != nil {
		return c, nil, badKey(err)
	}
	logVerifier, err := key.log()
	if err != nil {
		return c, nil, badKey(err)
	}
	text, by, err := verified(signed, append(slices.Clone(others), logVerifier)...)
	if err != nil {
		return c, nil, badCheckpoint(key.name, err)
	}
	if !slices.ContainsFunc(by, func(s signature) bool { return s.name == key.name && s.id == logVerifier.KeyHash() }) {
		return c, nil, badCheckpoint(key.name, fmt.Errorf("no signature by its key"))
	}
	if c, err = parseText(text); err != nil {
		return Checkpoint{}, nil, badCheckpoint(key.name, err)
	}
	if c.Origin != key.name {
		return Checkpoint{}, nil, badCheckpoint(key.name, fmt.Errorf("a checkpoint of %s", c.Origin))
	}
	c.Note = signed
	return c, by, nil
}

// ReadCheckpoint reads a checkpoint WITHOUT checking any signature: for showing, and for
// finding out whose key to check it with.
func ReadCheckpoint(signed string) (Checkpoint, error) {
	text, _, err := splitNote(signed)
	if err != nil {
		return Checkpoint{}, badCheckpoint("", err)
	}
	c, err := parseText(text)
	if err != nil {
		return Checkpoint{}, badCheckpoint("", err)
	}
	c.Note = signed
	return c, nil
}

// parseText reads a checkpoint's three lines. Extension lines, which nobody could audit, are
// refused.
func parseText(text string) (c Checkpoint, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return c, fmt.Errorf("%d lines, expected origin, size and root", len(lines)-1)
	}
	if err := checkOrigin(lines[0]); err != nil {
		return c, err
	}
	c.Origin = lines[0]
	c.Size, err = strconv.ParseInt(lines[1], 10, 64)
	if err != nil || c.Size < 0 || c.Size > MaxSize || strconv.FormatInt(c.Size, 10) != lines[1] {
		return c, fmt.Errorf("size %.30q, expected a number from 0 to %d", lines[1], int64(MaxSize))
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != len(c.Root) {
		return c, fmt.Errorf("root %.60q, expected 32 bytes in base64", lines[2])
	}
	c.Root = wire.Hash(root)
	if c.Size == 0 && c.Root != emptyRoot() {
		return c, fmt.Errorf("an empty tree with a root of its own")
	}
	return c, nil
}

func badKey(err error) error {
	return &verdict.Error{Kind: verdict.Usage, Check: "ledger.key", Expected: "a note verifier key", Got: verdict.Short(err.Error()),
		Fix: "copy it as `strongroom ledger show` prints it", Err: err}
}

func badCheckpoint(origin string, err error) error {
	expected := "a signed checkpoint"
	if origin != "" {
		expected += " of " + origin
	}
	return &verdict.Error{Kind: verdict.Invalid, Check: "ledger.checkpoint", Expected: expected, Got: verdict.Short(err.Error()),
		Fix: "do not rely on this log until its owner has explained it", Err: err}
}

package tilelog

import (
	"os"

	"strongroom.dev/ledger"
)

// Hooks are the calls on which durability rests, for tests that make them fail.
type Hooks struct {
	WriteFile func(path string, data []byte) error
	Append    func(f *os.File, data []byte) error
	Sync      func(f *os.File) error
}

// RealHooks gives the calls as they are.
func RealHooks() Hooks {
	d := realDisk()
	return Hooks{d.writeFile, d.append, d.sync}
}

// OpenWith is Open over other calls.
func OpenWith(dir string, signer *ledger.Signer, h Hooks) (*Log, error) {
	return open(dir, signer, disk{h.WriteFile, h.Append, h.Sync})
}

// ParseJournal reads a journal as Open does, and gives the number of entries in it.
func ParseJournal(data []byte) (entries int, err error) {
	h, rest, err := parseHeader(data)
	if err != nil {
		return 0, err
	}
	frames, _, err := parseFrames(rest, h.mark)
	for _, f := range frames {
		entries += len(f.entries)
	}
	return entries, err
}

// ParseBundle reads an entry bundle.
func ParseBundle(data []byte, count int) ([][]byte, error) { return parseBundle(data, count) }

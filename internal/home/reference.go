package home

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"strongroom.dev/reference"
	"strongroom.dev/wire"
)

// Where the sets of reference values are remembered: which one of a product was used last,
// and the sets that were added to be used without being named.
const (
	seenReferences = "reference/seen"
	keptReferences = "reference/sets"
)

// SeenReferences gives the set of each product that was used last.
func (h *Home) SeenReferences() (map[wire.ID]reference.Name, error) {
	names, err := h.files(seenReferences)
	if err != nil {
		return nil, err
	}
	seen := make(map[wire.ID]reference.Name, len(names))
	for _, name := range names {
		n, err := h.seenReference(name)
		if err != nil {
			return nil, err
		}
		seen[n.Product] = n
	}
	return seen, nil
}

func (h *Home) seenReference(file string) (n reference.Name, err error) {
	data, err := h.read(seenReferences, file)
	if err != nil {
		return n, err
	}
	canonical, err := wire.Canonical(data)
	if err == nil {
		err = wire.UnmarshalCanonical(canonical, &n)
	}
	if err == nil && string(n.Product)+".json" != file {
		err = fmt.Errorf("product %s", n.Product)
	}
	if err != nil {
		return n, damaged(h.Path(seenReferences, file), "the set of "+strings.TrimSuffix(file, ".json")+" that was used last", err)
	}
	return n, nil
}

// SawReference remembers that a verified set was used. One that is a step back is refused, so
// that of two programs at once the older can't win.
func (h *Home) SawReference(n reference.Name) error {
	unlock, err := h.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	return h.sawReference(n)
}

func (h *Home) sawReference(n reference.Name) error {
	file := string(n.Product) + ".json"
	known, err := h.seenReference(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := n.Follows(known); err != nil || n == known {
		return err
	}
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return h.write(false, append(data, '\n'), seenReferences, file)
}

// AddReference keeps a verified set, and remembers it as used. It takes the place of the set
// of that product that was kept before.
func (h *Home) AddReference(n reference.Name, data []byte) error {
	unlock, err := h.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := h.sawReference(n); err != nil {
		return err
	}
	return h.write(false, data, keptReferences, string(n.Product)+".json")
}

// References gives the sets that are kept here, as files: nothing in them is verified now.
func (h *Home) References() ([][]byte, error) {
	names, err := h.files(keptReferences)
	if err != nil {
		return nil, err
	}
	var sets [][]byte
	for _, name := range names {
		data, err := h.read(keptReferences, name)
		if err != nil {
			return nil, err
		}
		if _, err := reference.Parse(data); err != nil {
			return nil, damaged(h.Path(keptReferences, name), "a set of reference values", err)
		}
		sets = append(sets, data)
	}
	return sets, nil
}

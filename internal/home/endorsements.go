package home

import (
	"errors"
	"io/fs"
	"strings"

	"strongroom.dev/lineage"
)

// seenEndorsements is where the newest version of each endorsement is remembered, a file each.
const seenEndorsements = "endorsements/seen"

// SeenEndorsements gives the newest version of each endorsement that was used here.
func (h *Home) SeenEndorsements() (lineage.Seen, error) {
	names, err := h.files(seenEndorsements)
	if err != nil {
		return nil, err
	}
	seen := make(lineage.Seen, len(names))
	for _, name := range names {
		v, err := h.seenEndorsement(lineage.Line(strings.TrimSuffix(name, ".json")))
		if err != nil {
			return nil, err
		}
		seen[v.Of] = v
	}
	return seen, nil
}

func (h *Home) seenEndorsement(of lineage.Line) (lineage.Version, error) {
	data, err := h.read(seenEndorsements, string(of)+".json")
	if err != nil {
		return lineage.Version{}, err
	}
	v, err := lineage.Parse(data, of)
	if err != nil {
		return v, damaged(h.Path(seenEndorsements, string(of)+".json"), "the newest version of an endorsement", err)
	}
	return v, nil
}

// SawEndorsements remembers verified versions that were used. If one is a step back, nothing is
// remembered and the error says so, so that of two programs at once the older can't win.
func (h *Home) SawEndorsements(used []lineage.Version) error {
	if newer, err := h.newerEndorsements(used); err != nil || len(newer) == 0 {
		return err // most calls meet what is known, and write nothing
	}
	unlock, err := h.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	newer, err := h.newerEndorsements(used)
	if err != nil {
		return err
	}
	for _, v := range newer {
		data, err := v.Encode()
		if err != nil {
			return err
		}
		if err := h.write(false, append(data, '\n'), seenEndorsements, string(v.Of)+".json"); err != nil {
			return err
		}
	}
	return nil
}

// newerEndorsements gives those that are newer than what is remembered of them.
func (h *Home) newerEndorsements(used []lineage.Version) (newer []lineage.Version, err error) {
	for _, v := range lineage.Newest(used) {
		seen, err := h.seenEndorsement(v.Of)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			newer = append(newer, v)
			continue
		case err != nil:
			return nil, err
		}
		if err := v.Follows(seen); err != nil {
			return nil, err
		}
		if seen.Follows(v) != nil {
			newer = append(newer, v)
		}
	}
	return newer, nil
}

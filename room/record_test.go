package room_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/room"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container"
)

// TestDetailOfVolumes: an owner learns of the volumes whose keys are its own, in a part whose
// size is that of everybody's.
func TestDetailOfVolumes(t *testing.T) {
	states := []container.VolumeState{
		{Path: "/db", Input: "db-key", Protection: "fscrypt", Generation: 7, Unclean: true, Closed: true},
		{Path: "/log", Input: "log-key", Protection: "dm-crypt", Generation: 1},
	}
	owners := map[wire.ID][]wire.ID{"alpha": {"db-key"}, "beta": {"log-key", "other"}, "lab": nil}
	const size = 1024
	parts, err := room.DetailsOfVolumes(states, size, owners)
	if err != nil {
		t.Fatal(err)
	}
	want := map[wire.ID][]room.Volume{
		"alpha": {{Input: "db-key", Protection: "fscrypt", Generation: 7, Unclean: true, Closed: true}},
		"beta":  {{Input: "log-key", Protection: "dm-crypt", Generation: 1}}, "lab": nil,
	}
	for id, part := range parts {
		var d room.Detail
		if err := json.Unmarshal(part, &d); err != nil || len(part) != size {
			t.Fatalf("%s: %d bytes, %v", id, len(part), err)
		}
		if diff := cmp.Diff(want[id], d.Volumes); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
	}
	// More than fit: the part keeps its size.
	var many []container.VolumeState
	for i := range 64 {
		name := wire.ID(fmt.Sprintf("key-%d", i))
		many, owners["alpha"] = append(many, container.VolumeState{Input: name, Protection: "fscrypt"}), append(owners["alpha"], name)
	}
	parts, err = room.DetailsOfVolumes(many, size, owners)
	var d room.Detail
	if err != nil || len(parts["alpha"]) != size || json.Unmarshal(parts["alpha"], &d) != nil || len(d.Volumes) == 0 {
		t.Errorf("%d bytes, %d volumes, %v", len(parts["alpha"]), len(d.Volumes), err)
	}
}

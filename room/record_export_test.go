package room

import (
	"encoding/json"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/policy"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container"
)

// DetailsOfVolumes gives, as they are sealed, the parts of a container's record for owners who
// each own the inputs that are given.
func DetailsOfVolumes(volumes []container.VolumeState, size int, owners map[wire.ID][]wire.ID) (map[wire.ID][]byte, error) {
	doc, err := keys.NewDocument("strongroom/test/v1", map[string]string{})
	if err != nil {
		return nil, err
	}
	r := &run{request: &agreement.SignedRun{Document: doc}}
	parts := map[wire.ID][]byte{}
	for id, inputs := range owners {
		o := &owner{id: id}
		for _, name := range inputs {
			o.inputs = append(o.inputs, &input{agreed: agreement.Input{Name: name}})
		}
		r.owners = append(r.owners, o)
	}
	for _, o := range r.owners {
		if parts[o.id], err = r.detail(o, outcome{volumes: volumes}).encode(size); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// DetailOfBudgets gives an owner's part about budgets as it is sealed, and how many are in it.
func DetailOfBudgets(list []policy.Spending, size int) ([]byte, int, error) {
	data, err := Detail{Budgets: list, SQL: strings.Repeat("x", size)}.encode(size)
	if err != nil {
		return nil, 0, err
	}
	var d Detail
	err = json.Unmarshal(data, &d)
	return data, len(d.Budgets), err
}

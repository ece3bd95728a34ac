package agreement

import (
	"maps"
	"slices"

	"strongroom.dev/wire"
)

// PartyByID finds a party by its name in the agreement.
func (a Agreement) PartyByID(id wire.ID) (Party, bool) {
	return find(a.Parties, func(p Party) bool { return p.ID == id })
}

// PartyByDescriptor finds a party by its descriptor's digest.
func (a Agreement) PartyByDescriptor(d wire.Digest) (Party, bool) {
	return find(a.Parties, func(p Party) bool { return p.Descriptor == d })
}

// InputByName finds an input.
func (a Agreement) InputByName(name wire.ID) (Input, bool) {
	return find(a.Inputs, func(in Input) bool { return in.Name == name })
}

// TableByName finds a table.
func (a Agreement) TableByName(name string) (Table, bool) {
	return find(a.Tables, func(t Table) bool { return t.Name == name })
}

// WorkByName finds what a run may name.
func (a Agreement) WorkByName(name wire.ID) (Work, bool) {
	return find(a.Work, func(w Work) bool { return w.Name == name })
}

// OutputByName finds an output.
func (a Agreement) OutputByName(name wire.ID) (Output, bool) {
	return find(a.Outputs, func(o Output) bool { return o.Name == name })
}

// InputsOf gives the inputs that a work reads, in the agreement's order: all those in its
// tables, whether or not the query names them, and the lists of whom they leave out; all
// those that its container gets.
func (a Agreement) InputsOf(w Work) []Input {
	reads := make(map[wire.ID]bool)
	for _, name := range w.Tables {
		t, _ := a.TableByName(name)
		for _, name := range t.Inputs {
			reads[name] = true
			if in, _ := a.InputByName(name); in.Rules != nil && in.Rules.Exclusions != "" {
				reads[in.Rules.Exclusions] = true
			}
		}
	}
	if w.Container != nil {
		for _, in := range w.Container.Inputs() {
			reads[in] = true
		}
	}
	var inputs []Input
	for _, in := range a.Inputs {
		if reads[in.Name] {
			inputs = append(inputs, in)
		}
	}
	return inputs
}

// Inputs gives the names of the inputs that a container gets, each once.
func (c Container) Inputs() []wire.ID {
	names := []wire.ID{c.Image.Sealed}
	for _, v := range c.Environment {
		names = append(names, v.Input)
	}
	for _, m := range c.Mounts {
		names = append(names, m.Input)
	}
	if c.Transit != nil {
		for _, k := range c.Transit.Keys {
			names = append(names, k.Input)
		}
	}
	seen := map[wire.ID]bool{"": true}
	return slices.DeleteFunc(names, func(name wire.ID) bool {
		again := seen[name]
		seen[name] = true
		return again
	})
}

// OwnersOf gives the parties whose brokers admit a run of a work, each once: the owners of
// what it reads in the order of its inputs, then its keepers.
func (a Agreement) OwnersOf(w Work) []wire.ID {
	var owners []wire.ID
	for _, in := range a.InputsOf(w) {
		if !slices.Contains(owners, in.Owner) {
			owners = append(owners, in.Owner)
		}
	}
	for _, keeper := range w.Keepers {
		if !slices.Contains(owners, keeper) {
			owners = append(owners, keeper)
		}
	}
	return owners
}

func find[T any](list []T, match func(T) bool) (found T, ok bool) {
	if i := slices.IndexFunc(list, match); i >= 0 {
		return list[i], true
	}
	return found, false
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

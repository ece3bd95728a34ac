package guard

import (
	"math/bits"
	"slices"
)

// An Auditor keeps what was shown of one owner's rows, and refuses what would, added to and
// subtracted from it, speak of few people alone (spec/sql.md, section 4.1).
//
// What a row of an answer shows is a linear function of the rows it is made of: a vector with
// how often each row counts. Rows with the same membership in everything considered are one
// atom. Together, answers tell every linear combination of their vectors. One that is not zero
// on an atom of enough people speaks of enough; the others are kept apart, since of them one
// may speak of too few.
type Auditor struct {
	atoms    []Atom
	minGroup int64
	basis    []based // vectors with a pivot in an atom of enough people
	few      []based // vectors of atoms of few people alone
	pivot    map[int]int
	work     int
}

// Atom is a class of rows.
type Atom struct {
	Units int64
	// People are who they are, as hashes, where they are fewer than the minimum group.
	People []uint64
}

// based is a vector of a basis: one at its pivot, zero at the pivots of those before it.
type based struct {
	pivot  int
	vector Vector
}

// Vector says how often a row of each atom counts: atom -> times, modulo the field's prime.
type Vector map[int]uint64

// prime is the field of the audit, 2^61 - 1: as many combinations of whole numbers as anybody
// could look for vanish in it and not in the integers as would by chance, one in 10^18.
const prime = 1<<61 - 1

// maxAuditWork bounds the steps of an audit: a second's worth.
const maxAuditWork = 50_000_000

// NewAuditor makes an auditor over atoms.
func NewAuditor(atoms []Atom, minGroup int64) *Auditor {
	return &Auditor{atoms: atoms, minGroup: minGroup, pivot: map[int]int{}}
}

// isFew reports whether an atom alone has fewer people than the minimum group.
func (a *Auditor) isFew(atom int) bool { return a.atoms[atom].Units < a.minGroup }

// Spent reports whether the audit has become too much work to be finished; everything is then
// refused.
func (a *Auditor) Spent() bool { return a.work > maxAuditWork }

// Mark is a moment of an audit.
type Mark struct{ basis, few int }

// Mark remembers what was shown so far, for [Auditor.Back].
func (a *Auditor) Mark() Mark { return Mark{len(a.basis), len(a.few)} }

// Back forgets what was shown since a mark.
func (a *Auditor) Back(m Mark) {
	for _, dropped := range a.basis[m.basis:] {
		delete(a.pivot, dropped.pivot)
	}
	a.basis, a.few = a.basis[:m.basis], a.few[:m.few]
}

// Show adds vectors that are shown together, unless one of them, with all that was shown
// before, tells of few people: then nothing is added.
func (a *Auditor) Show(vectors []Vector) bool {
	mark := a.Mark()
	for _, v := range vectors {
		if !a.add(v) {
			a.Back(mark)
			return false
		}
	}
	return true
}

func (a *Auditor) add(v Vector) bool {
	v = a.reduce(v)
	if a.Spent() {
		return false
	}
	atom := -1
	for i := range v {
		if !a.isFew(i) && (atom < 0 || i < atom) {
			atom = i
		}
	}
	if atom < 0 {
		return a.addFew(v)
	}
	a.pivot[atom] = len(a.basis)
	a.basis = append(a.basis, based{atom, scaled(v, inverse(v[atom]))})
	return true
}

// addFew adds a vector of atoms of few people, if no combination of it with others such speaks
// of fewer than the minimum group.
func (a *Auditor) addFew(v Vector) bool {
	for _, b := range a.few {
		v = combined(v, 1, b.vector, prime-v[b.pivot])
		a.work += len(b.vector)
	}
	if len(v) == 0 {
		return true
	}
	if a.speaksOfFew(v) {
		return false
	}
	atom := -1
	for i := range v {
		if atom < 0 || i < atom {
			atom = i
		}
	}
	a.few = append(a.few, based{atom, scaled(v, inverse(v[atom]))})
	return true
}

// speaksOfFew reports whether v, or a combination of it with vectors of few, speaks of too few
// people. It looks at those that share atoms with v, directly or through others; of more than
// three it gives the answer yes, since they have too many combinations.
func (a *Auditor) speaksOfFew(v Vector) bool {
	space := a.connected(v)
	atoms := map[int]bool{}
	for _, w := range space {
		for atom := range w {
			atoms[atom] = true
		}
	}
	if len(space) > 3 {
		return true
	}
	// A combination of least people is zero on as many atoms as there are vectors, less one.
	switch len(space) {
	case 1:
		return a.people(v) < a.minGroup
	case 2:
		for atom := range atoms {
			if a.least(combined(space[0], space[1][atom], space[1], prime-space[0][atom])) {
				return true
			}
		}
	case 3:
		for one := range atoms {
			for other := range atoms {
				if other <= one {
					continue
				}
				if a.work += len(atoms); a.Spent() || a.least(cross(space, one, other)) {
					return true
				}
			}
		}
	}
	return a.least(space[0]) || a.least(space[len(space)-1])
}

// least reports whether a vector speaks of somebody, but of too few.
func (a *Auditor) least(v Vector) bool {
	a.work += len(v)
	return len(v) > 0 && a.people(v) < a.minGroup
}

// people counts the people of a vector's atoms.
func (a *Auditor) people(v Vector) int64 {
	seen := map[uint64]bool{}
	for atom := range v {
		for _, p := range a.atoms[atom].People {
			seen[p] = true
		}
	}
	return int64(len(seen))
}

// connected gives v, last, and the vectors of few that share atoms with it, directly or through
// others.
func (a *Auditor) connected(v Vector) (space []Vector) {
	reached := map[int]bool{}
	for atom := range v {
		reached[atom] = true
	}
	taken := make([]bool, len(a.few))
	for more := true; more; {
		more = false
		for i, b := range a.few {
			if taken[i] || !touches(b.vector, reached) {
				continue
			}
			taken[i], more = true, true
			space = append(space, b.vector)
			for atom := range b.vector {
				reached[atom] = true
			}
		}
	}
	return append(space, v)
}

func touches(v Vector, atoms map[int]bool) bool {
	for atom := range v {
		if atoms[atom] {
			return true
		}
	}
	return false
}

// cross gives the combination of three vectors that is zero on two atoms.
func cross(space []Vector, one, other int) Vector {
	x, y := [3]uint64{}, [3]uint64{}
	for i, v := range space {
		x[i], y[i] = v[one], v[other]
	}
	factor := func(i, j int) uint64 { return minus(times(x[i], y[j]), times(x[j], y[i])) }
	out := combined(space[0], factor(1, 2), space[1], factor(2, 0))
	return combined(out, 1, space[2], factor(0, 1))
}

// combined gives v times x plus w times y.
func combined(v Vector, x uint64, w Vector, y uint64) Vector {
	out := make(Vector, len(v)+len(w))
	for atom, n := range v {
		if n = times(n, x%prime); n != 0 {
			out[atom] = n
		}
	}
	for atom, n := range w {
		if n = minus(out[atom], minus(0, times(n, y%prime))); n != 0 {
			out[atom] = n
		} else {
			delete(out, atom)
		}
	}
	return out
}

func scaled(v Vector, by uint64) Vector { return combined(v, by, nil, 0) }

// reduce takes out of a copy of v all that the basis has, in one pass in its order.
func (a *Auditor) reduce(v Vector) Vector {
	out := make(Vector, len(v))
	var due []int
	for atom, n := range v {
		if n %= prime; n != 0 {
			out[atom] = n
			if at, isPivot := a.pivot[atom]; isPivot {
				due = append(due, at)
			}
		}
	}
	slices.Sort(due)
	for len(due) > 0 && !a.Spent() {
		at := due[0]
		due = due[1:]
		base := a.basis[at]
		factor := out[base.pivot]
		if factor == 0 {
			continue
		}
		for atom, n := range base.vector {
			a.work++
			had := out[atom]
			now := minus(had, times(n, factor))
			if now == 0 {
				delete(out, atom)
				continue
			}
			out[atom] = now
			if where, isPivot := a.pivot[atom]; isPivot && where > at {
				if i, found := slices.BinarySearch(due, where); !found {
					due = slices.Insert(due, i, where)
				}
			}
		}
	}
	return out
}

// times multiplies in the field.
func times(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	// a*b = hi*2^64 + lo, and 2^61 is 1.
	sum := lo&prime + (lo>>61 | hi<<3)
	sum = sum&prime + sum>>61
	if sum >= prime {
		sum -= prime
	}
	return sum
}

func minus(a, b uint64) uint64 {
	if a >= b {
		return a - b
	}
	return a + prime - b // a and b are below the prime
}

// inverse gives 1/a, by Fermat.
func inverse(a uint64) uint64 {
	out, power := uint64(1), a
	for e := uint64(prime - 2); e > 0; e >>= 1 {
		if e&1 == 1 {
			out = times(out, power)
		}
		power = times(power, power)
	}
	return out
}

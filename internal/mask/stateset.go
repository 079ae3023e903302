package mask

import "slices"

// A stateSet remembers most of the states that were added since it was emptied.
type stateSet struct {
	few  []state // the first ones
	more []stateSlot
	age  int // how often it was emptied
}

type stateSlot struct {
	state state
	age   int
}

// add reports whether s is not known to be in the set, and adds it.
func (set *stateSet) add(s state) bool {
	const few, slots = 8, 256
	if slices.Contains(set.few, s) {
		return false
	}
	if len(set.few) < few {
		set.few = append(set.few, s)
		return true
	}
	if set.more == nil {
		set.more = make([]stateSlot, slots)
	}
	slot := &set.more[(s.at*5+s.matched*3+int(s.nbits)+int(s.mode)*64)%slots]
	if slot.age == set.age+1 && slot.state == s {
		return false
	}
	slot.state, slot.age = s, set.age+1
	return true
}

// empty removes all states.
func (set *stateSet) empty() {
	set.few = set.few[:0]
	set.age++
}

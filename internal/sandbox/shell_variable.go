package sandbox

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A variable of a shell. It is changed only by the runner that has its token;
// others replace it by a copy first.
type variable struct {
	owner    *token
	set      bool
	str      string            // the value of a scalar
	list     map[int]string    // the elements of an indexed array
	dict     map[string]string // the elements of an associative array
	exported bool
	readOnly bool
	integer  bool
	ref      bool // a reference to the variable that str names
	fold     byte // 'l' or 'u' converts values to lower or upper case
}

func (v *variable) isArray() bool { return v.list != nil || v.dict != nil }

// scalar returns the value of $name.
func (v *variable) scalar() (string, bool) {
	switch {
	case v == nil:
		return "", false
	case v.dict != nil:
		s, ok := v.dict["0"]
		return s, ok
	case v.list != nil:
		s, ok := v.list[0]
		return s, ok
	}
	return v.str, v.set
}

// keys returns the indices of an array, in order.
func (v *variable) keys() []string {
	if v.dict != nil {
		return dictKeys(v.dict)
	}
	var all []string
	for _, i := range slices.Sorted(maps.Keys(v.list)) {
		all = append(all, strconv.Itoa(i))
	}
	if v.list == nil && v.set {
		all = append(all, "0")
	}
	return all
}

// values returns the elements of an array in the order of keys.
func (v *variable) values() []string {
	switch {
	case v == nil:
		return nil
	case v.dict != nil:
		all := make([]string, 0, len(v.dict))
		for _, k := range dictKeys(v.dict) {
			all = append(all, v.dict[k])
		}
		return all
	case v.list != nil:
		all := make([]string, 0, len(v.list))
		for _, i := range slices.Sorted(maps.Keys(v.list)) {
			all = append(all, v.list[i])
		}
		return all
	case v.set:
		return []string{v.str}
	}
	return nil
}

// dictKeys returns the keys in the order of bash, which is that of its hash
// table.
func dictKeys(dict map[string]string) []string {
	return slices.SortedFunc(maps.Keys(dict), func(a, b string) int {
		if d := int(dictBucket(a)) - int(dictBucket(b)); d != 0 {
			return d
		}
		return strings.Compare(b, a)
	})
}

func dictBucket(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = h*16777619 ^ uint32(s[i])
	}
	return h & 1023
}

func (v *variable) size() int64 {
	n := int64(len(v.str)) + 64
	for _, s := range v.list {
		n += int64(len(s)) + 160
	}
	for k, s := range v.dict {
		n += int64(len(k)+len(s)) + 192
	}
	return n
}

// flags returns the attributes in the order of declare -p.
func (v *variable) flags() string {
	var b strings.Builder
	for _, f := range []struct {
		on     bool
		letter byte
	}{{v.list != nil, 'a'}, {v.dict != nil, 'A'}, {v.integer, 'i'}, {v.fold == 'l', 'l'}, {v.ref, 'n'}, {v.readOnly, 'r'}, {v.fold == 'u', 'u'}, {v.exported, 'x'}} {
		if f.on {
			b.WriteByte(f.letter)
		}
	}
	return b.String()
}

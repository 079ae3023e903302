package sandbox

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
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
	ref      bool         // a reference to the variable that str names
	fold     byte         // 'l' or 'u' converts values to lower or upper case
	options  shellOptions // of "local -", which is stored as the variable "-"
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

// A token marks the variables that a runner may change in place. Runners get new
// ones when they fork, since both share the variables from then on.
type token struct{ _ byte }

// scope holds the variables of a function call, or the global ones if it has no
// parent.
type scope struct {
	vars   map[string]*variable
	parent *scope
	temp   bool // holds the assignments before a command
}

func (s *scope) clone() *scope {
	if s == nil {
		return nil
	}
	return &scope{maps.Clone(s.vars), s.parent.clone(), s.temp}
}

func (s *scope) find(name string) (*variable, *scope) {
	for ; s != nil; s = s.parent {
		if v, ok := s.vars[name]; ok {
			return v, s
		}
	}
	return nil, nil
}

func (s *scope) global() *scope {
	for s.parent != nil {
		s = s.parent
	}
	return s
}

// names returns the names of all variables that have a value, sorted.
func (s *scope) names() []string {
	seen := map[string]bool{}
	for ; s != nil; s = s.parent {
		for name, v := range s.vars {
			if _, inner := seen[name]; !inner {
				seen[name] = v.set
			}
		}
	}
	maps.DeleteFunc(seen, func(_ string, set bool) bool { return !set })
	return slices.Sorted(maps.Keys(seen))
}

// resolve follows references. It returns the name and, for a reference to an
// element, its index.
func (r *runner) resolve(name string) (string, string) {
	for range 10 {
		v, _ := r.vars.find(name)
		if v == nil || !v.ref || v.str == "" {
			return name, ""
		}
		target, index, element := strings.Cut(v.str, "[")
		if element {
			return target, strings.TrimSuffix(index, "]")
		}
		name = target
	}
	return name, ""
}

// lookup returns a variable, or nil if it does not exist.
func (r *runner) lookup(name string) *variable {
	if v := r.special(name); v != nil {
		return v
	}
	v, _ := r.vars.find(name)
	if v != nil && v.ref && v.str != "" {
		target, index := r.resolve(name)
		if target == name {
			return nil
		}
		v = r.lookup(target)
		if index != "" {
			s, ok := r.element(v, index)
			return &variable{set: ok, str: s}
		}
	}
	return v
}

func (r *runner) element(v *variable, index string) (string, bool) {
	switch {
	case v == nil:
		return "", false
	case v.dict != nil:
		s, ok := v.dict[index]
		return s, ok
	}
	i, _ := strconv.Atoi(index)
	if v.list == nil {
		return v.str, v.set && i == 0
	}
	s, ok := v.list[i]
	return s, ok
}

// get returns the value of $name, or "" if it is unset.
func (r *runner) get(name string) string {
	s, _ := r.lookup(name).scalar()
	return s
}

// environment returns the exported variables.
func (r *runner) environment() map[string]string {
	env := map[string]string{}
	var add func(s *scope)
	add = func(s *scope) {
		if s == nil {
			return
		}
		add(s.parent)
		for name, v := range s.vars {
			delete(env, name)
			if v.exported && v.set && !v.isArray() {
				env[name] = v.str
			}
		}
	}
	add(r.vars)
	for name, f := range r.funcs {
		if f.exported {
			env["BASH_FUNC_"+name+"%%"] = "() " + f.text()
		}
	}
	return env
}

func validName(s string) bool { return syntax.ValidName(s) }

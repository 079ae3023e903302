package sandbox

import (
	"maps"
	"strconv"
	"strings"
)

// writable returns the variable for changing, creating it if necessary. It
// returns nil after a message if the variable is read-only.
func (r *runner) writable(name string) *variable {
	v, in := r.vars.find(name)
	switch {
	case v == nil:
		v, in = &variable{owner: r.token}, r.vars.global()
		in.vars[name] = v
	case v.readOnly:
		r.errorf("%s: %s", name, map[bool]string{true: "is read only", false: "readonly variable"}[r.dash])
		r.status = 1
		if r.dash {
			r.exit(2)
		}
		return nil
	case v.owner != r.token:
		c := *v
		c.owner, c.list, c.dict = r.token, maps.Clone(v.list), maps.Clone(v.dict)
		v = &c
		in.vars[name] = v
	}
	return v
}

// assign sets a scalar, or the first element of an array.
func (r *runner) assign(name, value string) bool {
	target, index := r.resolve(name)
	if index != "" {
		return r.assignElement(target, index, value)
	}
	name = target
	if v, _ := r.vars.find(name); v != nil && v.isArray() {
		return r.assignElement(name, "0", value)
	}
	v := r.writable(name)
	if v == nil {
		return false
	}
	value, ok := r.convert(v, value)
	if !ok || !r.hold(int64(len(value)-len(v.str))) {
		return false
	}
	v.str, v.set = value, true
	if r.opts.allexport {
		v.exported = true
	}
	r.assigned(name, value)
	return true
}

// assignNamed sets a variable, or the element of an array if name is name[index].
func (r *runner) assignNamed(name, value string) bool {
	if base, index, element := strings.Cut(name, "["); element {
		return r.assignElement(base, strings.TrimSuffix(index, "]"), value)
	}
	return r.assign(name, value)
}

// named returns the value of a variable or of an element.
func (r *runner) named(name string) string {
	base, index, element := strings.Cut(name, "[")
	if !element {
		return r.get(name)
	}
	index = strings.TrimSuffix(index, "]")
	if v := r.lookup(base); v != nil && v.dict == nil {
		n, _ := r.arithText(index)
		index = strconv.FormatInt(n, 10)
	}
	return r.elementValue(base, index).str
}

// convert applies the attributes of v to a new value.
func (r *runner) convert(v *variable, value string) (string, bool) {
	switch {
	case v.integer:
		n, ok := r.arithText(value)
		return strconv.FormatInt(n, 10), ok
	case v.fold == 'l':
		return strings.ToLower(value), true
	case v.fold == 'u':
		return strings.ToUpper(value), true
	}
	return value, true
}

// assignElement sets an element of an array. A scalar becomes an array.
func (r *runner) assignElement(name, index, value string) bool {
	name, _ = r.resolve(name)
	v := r.writable(name)
	if v == nil {
		return false
	}
	value, ok := r.convert(v, value)
	if !ok || !r.hold(int64(len(value)+len(index)+160)) {
		return false
	}
	if v.dict != nil {
		v.dict[index], v.set = value, true
		return true
	}
	i, ok := r.arrayIndex(v, name, index)
	if !ok {
		return false
	}
	if v.list == nil {
		v.list = map[int]string{}
		if v.set {
			v.list[0] = v.str
		}
		v.str = ""
	}
	v.list[i], v.set = value, true
	return true
}

// arrayIndex parses the index of an element; negative ones count from the end.
func (r *runner) arrayIndex(v *variable, name, index string) (int, bool) {
	n, ok := r.arithText(index)
	if !ok {
		return 0, false
	}
	if n < 0 && v != nil {
		last := -1
		if v.list == nil && v.set {
			last = 0
		}
		for i := range v.list {
			last = max(last, i)
		}
		n += int64(last) + 1
	}
	if n < 0 || n > 1<<40 {
		r.errorf("%s[%s]: bad array subscript", name, index)
		r.status = 1
		return 0, false
	}
	return int(n), true
}

// assigned updates state that depends on a variable.
func (r *runner) assigned(name, value string) {
	switch name {
	case "OPTIND":
		r.optPos = 0
	case "PATH":
		r.hashes = nil
	case "BASH_ARGV0":
		r.arg0 = value
	case "SECONDS":
		n, _ := strconv.ParseInt(value, 10, 64)
		r.started = r.now().Add(-seconds(n))
	case "RANDOM":
		n, _ := strconv.ParseUint(value, 10, 32)
		r.seed = uint32(n)
	}
}

// unset removes a variable.
func (r *runner) unset(name string) bool {
	target, _ := r.resolve(name)
	v, in := r.vars.find(target)
	switch {
	case v == nil:
		return true
	case v.readOnly:
		r.errorf("unset: %s: cannot unset: readonly variable", name)
		return false
	}
	r.drop(v.size())
	if in.parent == nil || in.temp {
		delete(in.vars, target)
	} else { // it stays local
		in.vars[target] = &variable{owner: r.token}
	}
	return true
}

// hold counts n more bytes that the shell holds. It ends the shell if the machine
// has no more memory.
func (r *runner) hold(n int64) bool {
	if n <= 0 {
		r.drop(-n)
		return true
	}
	if !r.p.Host.memory.take(n) {
		r.outOfMemory()
		return false
	}
	r.held += n
	return true
}

func (r *runner) drop(n int64) {
	n = min(n, r.held)
	r.held -= n
	r.p.Host.memory.give(n)
}

func (r *runner) outOfMemory() {
	if r.flow == flowExit {
		return
	}
	r.p.session.report("the limit of memory")
	if r.dash {
		r.errorf("Out of space")
	} else {
		fprintf(r.stderr(), "%s: xrealloc: cannot allocate memory: Cannot allocate memory\n", r.name)
	}
	r.exit(2)
}

package sandbox

import (
	"maps"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// assignArray assigns the elements of name=(...).
func (r *runner) assignArray(name string, x *syntax.ArrayExpr, appends, dict bool) bool {
	name, _ = r.resolve(name)
	if r.readOnlyName(name) {
		return true
	}
	old := r.lookup(name)
	dict = dict || old != nil && old.dict != nil
	list, keys := map[int]string{}, map[string]string{}
	next := 0
	if appends && old != nil {
		switch {
		case old.dict != nil:
			maps.Copy(keys, old.dict)
		default:
			for _, k := range old.keys() {
				i, _ := strconv.Atoi(k)
				list[i], _ = r.element(old, k)
				next = i + 1
			}
		}
	}
	size := int64(0)
	var pair []string
	for _, elem := range x.Elems {
		if elem.Index == nil {
			words := r.fields([]*syntax.Word{elem.Value})
			if r.flow != flowNext {
				return false
			}
			if dict {
				pair = append(pair, words...)
				continue
			}
			for _, w := range words {
				list[next] = w
				next++
				if size += int64(len(w)) + 160; !r.room(size) {
					return false
				}
			}
			continue
		}
		if dict {
			keys[r.keyText(elem.Index)] = r.assignedText(elem.Value)
			continue
		}
		n, ok := r.arith(elem.Index)
		if !ok {
			return false
		}
		if n < 0 {
			r.fail(1, "%s[%d]: bad array subscript", name, n)
			return false
		}
		list[int(n)] = r.assignedText(elem.Value)
		next = int(n) + 1
	}
	for i := 0; i < len(pair); i += 2 {
		keys[pair[i]] = ""
		if i+1 < len(pair) {
			keys[pair[i]] = pair[i+1]
		}
	}
	if r.flow != flowNext {
		return false
	}
	v := r.writable(name)
	if v == nil {
		return false
	}
	before := v.size()
	v.str, v.set = "", true
	if dict {
		v.dict = keys
	} else {
		v.list = list
		if v.integer {
			for i, s := range list {
				list[i], _ = r.convert(v, s)
			}
		}
	}
	return r.hold(v.size() - before)
}

// assignArrayText assigns an array from text, as in declare -a "x=(1 2)".
func (r *runner) assignArrayText(name, text string) bool {
	file, err := syntax.NewParser().Parse(&scriptReader{r: strings.NewReader(name + "=" + text), limit: maxFrames}, "")
	if err != nil || len(file.Stmts) != 1 {
		return r.assign(name, text)
	}
	call, ok := file.Stmts[0].Cmd.(*syntax.CallExpr)
	if !ok || len(call.Assigns) != 1 || call.Assigns[0].Array == nil {
		return r.assign(name, text)
	}
	return r.assignArray(name, call.Assigns[0].Array, false, false)
}

// readOnlyName reports whether assignments to a variable are ignored.
func (r *runner) readOnlyName(name string) bool {
	if r.dash {
		return false
	}
	switch name {
	case "FUNCNAME", "PIPESTATUS", "BASH_SOURCE", "BASH_LINENO", "GROUPS", "BASHPID", "BASH_SUBSHELL":
		return true
	}
	return false
}

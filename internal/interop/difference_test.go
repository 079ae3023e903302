package interop_test

import (
	"fmt"
	"path"
	"strings"
)

const (
	absent   = "(absent)" // the answer has no such leaf
	anything = "*"        // whatever the value is
)

// A difference is one leaf on which moto and the embedded EC2 do not agree. In
// the tables of known ones, an entry whose reason begins with "ours" is a gap of
// the embedded EC2 that no bake has needed so far; in all others it answers as
// AWS does, and moto does not. Step and path are patterns of path.Match, in which
// brackets stand for themselves; moto and ours are values, and "*" is any value.
type difference struct {
	step, path string
	moto, ours string
	why        string
}

func (d difference) String() string {
	return fmt.Sprintf("%s: %s is %q in moto and %q in ec2test", d.step, d.path, d.moto, d.ours)
}

// covers reports whether found is an instance of the known difference d.
func (d difference) covers(found difference) bool {
	return matches(d.step, found.step) && matches(d.path, found.path) &&
		(d.moto == anything && found.moto != absent || d.moto == found.moto) &&
		(d.ours == anything && found.ours != absent || d.ours == found.ours)
}

func matches(pattern, name string) bool {
	ok, err := path.Match(strings.NewReplacer("[", `\[`, "]", `\]`).Replace(pattern), name)
	return ok && err == nil
}

// refused is a step that moto does although the service refuses it.
func refused(step, code, why string) []difference {
	return []difference{{step, "error", absent, code, why}, {step, "*", anything, absent, why}}
}

// otherCode is a step that both refuse, each with its own code.
func otherCode(step, moto, ours, why string) difference {
	return difference{step, "error", moto, ours, why}
}

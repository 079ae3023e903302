package interop_test

import (
	"fmt"
	"path"
	"strings"
)

const (
	absent   = "(absent)" // the response lacks the leaf
	anything = "*"        // any value
)

// A difference is a leaf that differs between moto and ec2test. In a table of
// known differences, step and path are patterns of path.Match in which brackets
// stand for themselves, and a value of "*" is any value. A reason that begins
// with "ours" names a gap in ec2test that no bake has needed so far. In all other
// cases ec2test responds as AWS does and moto does not.
type difference struct {
	step, path string
	moto, ours string
	why        string
}

func (d difference) String() string {
	return fmt.Sprintf("%s: %s is %q in moto and %q in ec2test", d.step, d.path, d.moto, d.ours)
}

// covers reports whether found matches the known difference d.
func (d difference) covers(found difference) bool {
	return matches(d.step, found.step) && matches(d.path, found.path) &&
		(d.moto == anything && found.moto != absent || d.moto == found.moto) &&
		(d.ours == anything && found.ours != absent || d.ours == found.ours)
}

func matches(pattern, name string) bool {
	ok, err := path.Match(strings.NewReplacer("[", `\[`, "]", `\]`).Replace(pattern), name)
	return ok && err == nil
}

// rejected returns the differences of a step that AWS rejects and moto does not.
func rejected(step, code, why string) []difference {
	return []difference{{step, "error", absent, code, why}, {step, "*", anything, absent, why}}
}

// otherCode returns the difference of a step that both servers reject with
// different codes.
func otherCode(step, moto, ours, why string) difference {
	return difference{step, "error", moto, ours, why}
}

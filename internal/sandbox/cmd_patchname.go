package sandbox

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// stat returns the attributes of a file, or nil if it does not exist or is to be removed.
func (c *patcher) stat(name string) *memfs.Info {
	if name == "" || slices.ContainsFunc(c.removals, func(w patchWrite) bool { return c.p.Path(w.name) == c.p.Path(name) }) {
		return nil
	}
	stat := c.p.FS.Lstat
	if c.o.on("L") {
		stat = c.p.FS.Stat
	}
	info, err := stat(c.p.Path(name))
	if err != nil {
		return nil
	}
	return info
}

// side returns the index of the state before the patch for false and after it for true.
func (c *patcher) side(after bool) int {
	if after != c.reverse {
		return newFile
	}
	return oldFile
}

// chooseInput finds the file to patch: the operand, or the best of the files that the
// patch names.
func (c *patcher) chooseInput() {
	if c.operand != "" {
		c.in, c.info = c.operand, c.stat(c.operand)
		if c.info == nil || c.info.Mode().IsRegular() {
			c.maybeReverse(c.in)
		}
		return
	}
	c.in = ""
	names := c.head.names
	if names[oldFile] != "" || names[newFile] != "" {
		names[indexFile] = ""
	}
	existing, last, lastName := names, -1, ""
	for i, name := range names {
		if name != "" {
			last, lastName = i, name
		}
		if c.stat(name) == nil {
			existing[i] = ""
		}
	}
	best := c.bestName(existing)
	if best < 0 && last >= 0 {
		if c.info = nil; c.maybeReverse(lastName) {
			best = last
		}
	} else if best >= 0 {
		if c.info = c.stat(names[best]); c.info.Mode().IsRegular() {
			c.maybeReverse(names[best])
		}
	}
	if best < 0 && c.head.missing[c.side(false)] != 0 {
		best = c.bestName(c.fewestDirectories(names))
	}
	if c.head.moved || c.head.copied {
		from, to := names[oldFile], names[newFile]
		if best != oldFile && best != newFile || from == "" || to == "" || !c.validName(from) || !c.validName(to) {
			c.say("Cannot %s file without two valid file names\n", map[bool]string{true: "rename", false: "copy"}[c.head.moved])
			c.skip, c.status = true, 1
		}
	}
	if best >= 0 {
		c.in, c.info = names[best], c.stat(names[best])
	}
}

// fewestDirectories removes the names that need more new directories than others.
func (c *patcher) fewestDirectories(names [3]string) [3]string {
	least, need := -1, [3]int{}
	for i, name := range names {
		if name == "" {
			continue
		}
		for dir := path.Dir(name); dir != "." && dir != "/"; dir = path.Dir(dir) {
			if _, err := c.p.FS.Stat(c.p.Path(dir)); err != nil {
				need[i]++
			}
		}
		if least < 0 || need[i] < least {
			least = need[i]
		}
	}
	for i := range names {
		if need[i] > least {
			names[i] = ""
		}
	}
	return names
}

// bestName returns the index of the name with the fewest directories, the shortest base
// name and the fewest letters, or -1 if there is none.
func (c *patcher) bestName(names [3]string) int {
	best := -1
	var rank [3]int
	for i, name := range names {
		if name == "" {
			continue
		}
		parts := strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
		r := [3]int{len(parts), len(path.Base(name)), len(name)}
		if (best < 0 || slices.Compare(r[:], rank[:]) < 0) && c.validName(name) {
			best, rank = i, r
		}
	}
	return best
}

// validName reports whether a name of a patch is below the working directory.
func (c *patcher) validName(name string) bool {
	if !strings.HasPrefix(name, "/") && !slices.Contains(strings.Split(name, "/"), "..") || path.Clean(c.p.Dir) == "/" {
		return true
	}
	if !slices.Contains(c.refused, name) {
		c.say("Ignoring potentially dangerous file name %s\n", patchQuote(name))
		c.refused = append(c.refused, name)
	}
	return false
}

// maybeReverse asks whether to reverse a patch that would create a file which exists,
// or remove one that does not. It reports whether the patch is of that kind.
func (c *patcher) maybeReverse(name string) bool {
	gone := c.info == nil
	empty := gone || c.info.Size() == 0
	before, other := c.head.missing[c.side(gone)], c.head.missing[c.side(!gone)]
	looks := c.head.missing[c.side(empty)] > 0
	if !empty {
		looks = c.head.missing[c.side(false)] > 1
	}
	if !looks || empty && before == 1 && other == 2 {
		return false
	}
	verb, state := "create", "already exists"
	switch {
	case gone:
		verb, state = "delete", "does not exist"
	case empty:
		verb, state = "empty out", "is already empty"
	}
	when := ""
	if c.reverse {
		when = ", when reversed,"
	}
	if c.okToReverse("The next patch%s would %s the file %s,\nwhich %s!", when, verb, patchQuote(name), state) {
		c.reverse = !c.reverse
	}
	return true
}

// okToReverse reports whether to reverse the patch, or else sets skip unless it is to be
// applied anyway.
func (c *patcher) okToReverse(format string, args ...any) bool {
	forward, force := c.o.on("N"), c.o.on("f")
	c.sayIf(forward || !force || !c.silent, format, args...)
	switch {
	case forward:
		c.say("  Skipping patch.\n")
		c.skip = true
	case force:
		c.sayIf(!c.silent, "  Applying it anyway.\n")
	case c.o.on("t"):
		c.say("  %s -R.\n", map[bool]string{true: "Ignoring", false: "Assuming"}[c.reverse])
		return true
	default:
		c.say("  %s -R? [n] \nApply anyway? [n] \n", map[bool]string{true: "Ignore", false: "Assume"}[c.reverse])
		c.sayIf(!c.silent, "Skipping patch.\n")
		c.skip = true
	}
	return false
}

// target returns the name for the result, which is empty if it is unknown, and what
// to say about it.
func (c *patcher) target() (out, title string, err error) {
	if c.skip {
		return "", "", nil
	}
	out = c.in
	before, after := c.head.names[c.side(false)], c.head.names[c.side(true)]
	moved, copied := c.head.moved, c.head.copied
	switch {
	case c.output != "":
		out = c.output
	case (moved || copied) && c.operand == "":
		out = after
	}
	switch {
	case c.output == "" && moved && out == c.in:
		title = fmt.Sprintf(" (already renamed from %s)", patchQuote(before))
	case out == c.in:
	case moved:
		title = fmt.Sprintf(" (renamed from %s)", patchQuote(c.in))
	case copied:
		title = fmt.Sprintf(" (copied from %s)", patchQuote(c.in))
	default:
		title = fmt.Sprintf(" (read from %s)", patchQuote(c.in))
	}
	if slices.ContainsFunc(c.queue, func(w patchWrite) bool { return c.p.Path(w.name) == c.p.Path(out) }) {
		if err := c.flush(); err != nil {
			return "", "", err
		}
		c.info = c.stat(c.in)
	}
	if c.info != nil && !c.info.Mode().IsRegular() {
		c.say("File %s is not a regular file -- refusing to patch\n", patchQuote(c.in))
		c.skip, c.status = true, 1
	} else if c.info != nil && c.output == "" && c.p.FS.Access(c.p.Path(c.in), memfs.Write) != nil {
		c.sayIf(!c.silent, "File %s is read-only; trying to patch anyway\n", patchQuote(c.in))
	}
	return out, title, nil
}

// patchQuote quotes a name that a shell would not take as it is.
func patchQuote(name string) string {
	if name != "" && !strings.ContainsAny(name, " \t\n!\"$&'()*;<=>[^`|\\?") && !strings.HasPrefix(name, "#") && !strings.HasPrefix(name, "~") {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

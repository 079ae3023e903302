package sandbox

import (
	"maps"
	"slices"
	"strings"
)

// hashed is a program whose place the shell remembers.
type hashed struct {
	path   string
	hits   int
	pinned bool // by hash -p
}

// hash remembers the place of the program that args call, and returns the arguments
// to run it with.
func (r *runner) hash(args []string) []string {
	if r.dash || strings.Contains(args[0], "/") || r.opts.nohash {
		return args
	}
	h := r.hashes[args[0]]
	if h == nil {
		path := r.whichFile(args[0])
		if path == "" {
			return args
		}
		h = r.remember(args[0], path)
	}
	c := *h // subshells share it
	c.hits++
	r.hashes[args[0]] = &c
	if c.pinned {
		return append([]string{c.path}, args[1:]...)
	}
	return args
}

// maxHashed bounds the places that a shell remembers.
const maxHashed = 1024

func (r *runner) remember(name, path string) *hashed {
	if r.hashes == nil || len(r.hashes) >= maxHashed {
		r.hashes = map[string]*hashed{}
	}
	h := &hashed{path: path}
	r.hashes[name] = h
	return h
}

// hashBuiltin implements hash.
func (r *runner) hashBuiltin(flags string, names []string) {
	if strings.Contains(flags, "r") {
		r.hashes = nil
		return
	}
	if len(names) == 0 {
		if len(r.hashes) == 0 && !r.dash && flags == "" {
			r.print("hash: hash table empty\n")
		}
		for i, name := range slices.Sorted(maps.Keys(r.hashes)) {
			h := r.hashes[name]
			switch {
			case strings.Contains(flags, "l"):
				r.print("builtin hash -p ", h.path, " ", name, "\n")
			case i == 0:
				r.print("hits\tcommand\n")
				fallthrough
			default:
				fprintf(r.stdout(), "%4d\t%s\n", h.hits, h.path)
			}
		}
		return
	}
	if strings.Contains(flags, "p") {
		for _, name := range names[1:] {
			r.remember(name, names[0]).pinned = true
		}
		return
	}
	for _, name := range names {
		h := r.hashes[name]
		path := r.whichFile(name)
		switch {
		case flags == "" && r.builtin(name) == nil && r.funcs[name] == nil && path != "":
			r.remember(name, path)
		case flags == "" && (r.builtin(name) != nil || r.funcs[name] != nil):
		case h == nil:
			r.fail(1, "hash: %s: not found", name)
		case strings.Contains(flags, "t") && len(names) > 1:
			r.print(name, "\t", h.path, "\n")
		case strings.Contains(flags, "t"):
			r.print(h.path, "\n")
		case strings.Contains(flags, "d"):
			delete(r.hashes, name)
		}
	}
}

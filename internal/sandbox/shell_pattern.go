package sandbox

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/pattern"
)

// patternOf returns a pattern in which quoted characters are escaped.
func patternOf(parts []fieldPart) string {
	var b strings.Builder
	for _, p := range parts {
		if !p.quoted {
			b.WriteString(p.s)
			continue
		}
		for i := range len(p.s) {
			if strings.IndexByte(`*?[]\()|!+@-^&`, p.s[i]) >= 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(p.s[i])
		}
	}
	return b.String()
}

// maxPatterns bounds the compiled patterns a shell keeps.
const maxPatterns = 256

// regexp compiles a pattern between two pieces of a regular expression. It
// returns nil if the pattern cannot match anything.
func (r *runner) regexp(pat, before, after string) *regexp.Regexp {
	key := before + "\x00" + after + "\x00" + pat
	if r.shopts["nocasematch"] {
		before = "(?i)" + before
		key = "i" + key
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if rx, ok := r.patterns[key]; ok {
		return rx
	}
	var rx *regexp.Regexp
	if expr, err := pattern.Regexp(pat, pattern.ExtendedOperators); err == nil {
		rx, _ = regexp.Compile(before + "(?s:" + expr + ")" + after) // nil if it is invalid
	}
	if rx != nil && !strings.Contains(before, "(?s:^.*)") {
		rx.Longest()
	}
	if len(r.patterns) >= maxPatterns {
		clear(r.patterns)
	}
	r.patterns[key] = rx
	return rx
}

// match reports whether a pattern matches the whole string.
func (r *runner) match(pat, s string) bool {
	if !strings.ContainsAny(pat, `*?[\()`) && !r.shopts["nocasematch"] {
		return pat == s
	}
	if at, end := negation(pat); at >= 0 {
		return r.matchNegation(pat[:at], "@"+pat[at+1:end], pat[end:], s)
	}
	rx := r.regexp(pat, "^(?:", ")$")
	return rx != nil && rx.MatchString(s)
}

// negation returns the range of the first !(...) in a pattern.
func negation(pat string) (int, int) {
	for i := 0; i+1 < len(pat); i++ {
		switch {
		case pat[i] == '\\':
			i++
		case pat[i] == '!' && pat[i+1] == '(':
			depth := 0
			for j := i + 1; j < len(pat); j++ {
				switch pat[j] {
				case '\\':
					j++
				case '(':
					depth++
				case ')':
					if depth--; depth == 0 {
						return i, j + 1
					}
				}
			}
		}
	}
	return -1, -1
}

// matchNegation matches a pattern with a part that must not match.
func (r *runner) matchNegation(before, not, after, s string) bool {
	if len(s) > 1024 {
		return false
	}
	for i := 0; i <= len(s); i++ {
		if !r.match(before, s[:i]) {
			continue
		}
		for j := len(s); j >= i; j-- {
			if !r.match(not, s[i:j]) && r.match(after, s[j:]) {
				return true
			}
		}
	}
	return false
}

// globFields returns the fields as strings, those with wildcards replaced by the
// names that match.
func (r *runner) globFields(fields [][]fieldPart) []string {
	all := make([]string, 0, len(fields))
	for _, f := range fields {
		if r.opts.noglob || !hasWildcard(f) {
			all = append(all, (&expander{cur: f}).string())
			continue
		}
		names := r.glob(patternOf(f))
		switch {
		case len(names) > 0:
			all = append(all, names...)
		case r.shopts["failglob"]:
			r.fatal("no match: %s", (&expander{cur: f}).string())
			return nil
		case !r.shopts["nullglob"]:
			all = append(all, (&expander{cur: f}).string())
		}
	}
	return all
}

func hasWildcard(parts []fieldPart) bool {
	return slices.ContainsFunc(parts, func(p fieldPart) bool {
		return !p.quoted && (strings.ContainsAny(p.s, "*?") || strings.Contains(p.s, "[") || strings.ContainsAny(p.s, "+@!") && strings.Contains(p.s, "("))
	})
}

// maxMatches bounds the names that a pattern may match.
const maxMatches = 100_000

// glob returns the names of files that match a pattern, sorted.
func (r *runner) glob(pat string) []string {
	found := []string{""}
	ignored := strings.Split(r.get("GLOBIGNORE"), ":")
	elems := strings.Split(pat, "/")
	if elems[0] == "" && len(elems) > 1 {
		found[0], elems = "/", elems[1:]
	}
	for i, elem := range elems {
		last := i == len(elems)-1
		var next []string
		for _, dir := range found {
			next = append(next, r.globElement(dir, elem, last)...)
			if len(next) > maxMatches || !r.p.session.step(1) {
				r.outOfMemory()
				return nil
			}
		}
		found = next
	}
	found = slices.DeleteFunc(found, func(name string) bool {
		return name == "" || slices.ContainsFunc(ignored, func(p string) bool { return p != "" && r.match(p, name) })
	})
	slices.Sort(found)
	return found
}

func (r *runner) globElement(dir, elem string, last bool) []string {
	switch {
	case elem == "": // of a slash at the end, or two slashes
		if last {
			return []string{dir}
		}
		return []string{dir}
	case !strings.ContainsAny(elem, `*?[(`):
		name := dir + unescapePattern(elem)
		info, err := r.p.FS.Lstat(r.p.Path(name))
		if err != nil {
			return nil
		}
		if last {
			return []string{name}
		}
		return r.asDir(name, info)
	case elem == "**" && r.shopts["globstar"]:
		return r.globAll(dir, last, 0)
	}
	entries, err := r.p.FS.ReadDir(r.p.Path(dirOrDot(dir)))
	if err != nil {
		return nil
	}
	mode := pattern.Filenames | pattern.EntireString | pattern.NoGlobStar | pattern.GlobLeadingDot | pattern.ExtendedOperators
	if r.shopts["nocaseglob"] {
		mode |= pattern.NoGlobCase
	}
	matches := func(name string) bool { return r.match(elem, name) }
	if expr, err := pattern.Regexp(elem, mode); err == nil {
		if rx, err := regexp.Compile(expr); err == nil {
			matches = rx.MatchString
		}
	}
	var all []string
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") && !strings.HasPrefix(elem, ".") && !strings.HasPrefix(elem, `\.`) && !r.shopts["dotglob"] {
			continue
		}
		if !matches(name) {
			continue
		}
		if last {
			all = append(all, dir+name)
		} else if info, err := entry.Info(); err == nil {
			all = append(all, r.asDir(dir+name, info)...)
		}
	}
	return all
}

func dirOrDot(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

// asDir returns the name with a slash if it is a directory.
func (r *runner) asDir(name string, info fs.FileInfo) []string {
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := r.p.FS.Stat(r.p.Path(name))
		if err != nil {
			return nil
		}
		info = target
	}
	if !info.IsDir() {
		return nil
	}
	return []string{name + "/"}
}

// globAll implements **.
func (r *runner) globAll(dir string, last bool, depth int) []string {
	all := []string{dir}
	if last && depth == 0 && dir == "" {
		all = nil
	}
	entries, err := r.p.FS.ReadDir(r.p.Path(dirOrDot(dir)))
	if err != nil || depth > 256 {
		return all
	}
	for _, entry := range entries {
		name := dir + entry.Name()
		if strings.HasPrefix(entry.Name(), ".") && !r.shopts["dotglob"] {
			continue
		}
		if last {
			all = append(all, name)
		}
		if entry.IsDir() {
			below := r.globAll(name+"/", last, depth+1)
			if last {
				below = below[1:]
			}
			all = append(all, below...)
		}
	}
	return all
}

func unescapePattern(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

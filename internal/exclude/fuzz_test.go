package exclude_test

import (
	"path"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/exclude"
)

// FuzzPatterns checks that a pattern excludes what is below an excluded directory, and
// that a name excludes itself.
func FuzzPatterns(f *testing.F) {
	for _, seed := range [][2]string{{"*.log", "a/b.log"}, {"/top", "top/x"}, {"**/{a,b}/[!c]", "x/a/d"}, {"./dist/", "dist"}, {"\\*", "*"}, {"[", ""}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		p, err := exclude.Parse([]string{pattern})
		if err != nil {
			return
		}
		if name = strings.TrimPrefix(path.Clean("/"+name), "/"); name == "" {
			return
		}
		want := false
		for at := name; at != "." && !want; at = path.Dir(at) {
			want = p.Match(at)
		}
		if got := p.MatchAny(name); got != want {
			t.Errorf("pattern %q: MatchAny(%q) = %v, Match of it and its parents %v", pattern, name, got, want)
		}
		if !strings.ContainsAny(name, `*?[]{}\!^,`) {
			if own, err := exclude.Parse([]string{name}); err == nil && !own.Match(name) {
				t.Errorf("pattern %q does not match itself", name)
			}
		}
	})
}

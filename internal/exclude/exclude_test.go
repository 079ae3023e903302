package exclude_test

import (
	"testing"

	"github.com/bakestone-go/bakestone/internal/exclude"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		match, any    bool
	}{
		{".git", ".git", true, true},
		{".git", "sub/.git", true, true},
		{".git", ".git/config", false, true},
		{".git/", ".git", true, true},
		{"./dist", "dist", true, true},
		{"*.log", "a/b/c.log", true, true},
		{"*.log", "a.log/b", false, true},
		{"/top", "top", true, true},
		{"/top", "sub/top", false, false},
		{"test/**", "test/a/b", true, true},
		{"test/**", "src/test/a", false, false},
		{"**/*.map", "a/b.map", true, true},
		{"a", "b", false, false},
	} {
		p, err := exclude.Parse([]string{"never", c.pattern})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Match(c.name); got != c.match {
			t.Errorf("pattern %q: Match(%q) = %v, want %v", c.pattern, c.name, got, c.match)
		}
		if got := p.MatchAny(c.name); got != c.any {
			t.Errorf("pattern %q: MatchAny(%q) = %v, want %v", c.pattern, c.name, got, c.any)
		}
	}
}

func TestParseInvalid(t *testing.T) {
	_, err := exclude.Parse([]string{"", "good", "/", "./", "[", "a/[b"})
	if want := `invalid patterns: "", "/", "./", "[", "a/[b"`; err == nil || err.Error() != want {
		t.Errorf("Parse = %v, want %s", err, want)
	}
}

func TestMatchNil(t *testing.T) {
	var none exclude.Patterns
	if none.Match("a") {
		t.Error("nil Patterns: Match(a) = true, want false")
	}
	if none.MatchAny("a/b") {
		t.Error("nil Patterns: MatchAny(a/b) = true, want false")
	}
}

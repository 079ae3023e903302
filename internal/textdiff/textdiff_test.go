package textdiff_test

import (
	"testing"

	"github.com/bakestone-go/bakestone/internal/textdiff"
)

func TestUnified(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"", "", ""},
		{"x\n", "x\n", ""},
		{"", "a\nb\n", "@@ -0,0 +1,2 @@\n+a\n+b\n"},
		{"a\n", "", "@@ -1 +0,0 @@\n-a\n"},
		{"1\n2\n3\n4\n5\n6\n", "1\n2\n3\n4\nfive\n6", "@@ -2,5 +2,5 @@\n 2\n 3\n 4\n-5\n-6\n+five\n+6\n\\ No newline at end of file\n"},
	} {
		if got := textdiff.Unified(c.a, c.b); got != c.want {
			t.Errorf("Unified(%q, %q) = %q, want %q", c.a, c.b, got, c.want)
		}
	}
}

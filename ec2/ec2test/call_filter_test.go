package ec2test

import "testing"

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true},
		{"", "", true},
		{"", "a", false},
		{"a*c", "abbc", true},
		{"a*c", "abbd", false},
		{"*b*", "abc", true},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{`a\*c`, "a*c", true},
		{`a\*c`, "abc", false},
		{"*aab", "aaaab", true},
		{"A*", "abc", false},
	} {
		if got := globMatch(test.pattern, test.s); got != test.want {
			t.Errorf("%q against %q: %v", test.pattern, test.s, got)
		}
	}
}

package visible_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/bakestone-go/bakestone/internal/visible"
)

func TestText(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"plain, ünïcödé 中文 é 😀\tand\nlines", "plain, ünïcödé 中文 é 😀\tand\nlines"},
		{"a\x1b[2Jb", "a␛[2Jb"},
		{"\x1b]0;title\a", "␛]0;title␇"},
		{"\x00\b\r\v\f\x7f", "␀␈␍␋␌␡"},
		{"\u009b1m\u0090", `\u009b1m\u0090`},
		{"\x9b1m\xff", `\x9b1m\xff`},
		{"user\u202egnp.exe", `user\u202egnp.exe`},
		{"\u2066\u2069\u200e\u061c", `\u2066\u2069\u200e\u061c`},
		{"zero\u200bwidth\ufeff\u2060\u00ad\u3164\u034f", `zero\u200bwidth\ufeff\u2060\u00ad\u3164\u034f`},
		{"\u2028\u2029\u0085", `\u2028\u2029\u0085`},
		{"\U000e0041\U000e0100", `\U000e0041\U000e0100`},
		{"⚠️ \ufffd", "⚠️ \ufffd"},
	} {
		got := visible.Text(test.in)
		if got != test.want {
			t.Errorf("Text(%q) = %q, want %q", test.in, got, test.want)
		}
		if again := visible.Text(got); again != got {
			t.Errorf("Text(%q) = %q, want no change", got, again)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\x1b[2J\u009b\u202e\u200b\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := visible.Text(s)
		if strings.ToValidUTF8(got, "") != got {
			t.Errorf("Text(%q) = %q, not UTF-8", s, got)
		}
		for _, r := range got {
			if unicode.IsControl(r) && r != '\t' && r != '\n' || unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Cf, r) {
				t.Errorf("Text(%q) = %q, contains %U", s, got, r)
			}
		}
		if visible.Text(got) != got {
			t.Errorf("Text of %q changes it again", got)
		}
	})
}

func TestShorten(t *testing.T) {
	for _, tt := range []struct {
		text  string
		limit int
		want  string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc…"}, {"aé", 2, "a…"}, {"", 0, ""}} {
		if got := visible.Shorten(tt.text, tt.limit); got != tt.want {
			t.Errorf("Shorten(%q, %d) = %q, want %q", tt.text, tt.limit, got, tt.want)
		}
	}
}

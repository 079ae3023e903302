package templatehistory_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bakestone-go/bakestone/internal/templatehistory"
)

func TestReplaced(t *testing.T) {
	for _, name := range []string{"web 1", "", strings.Repeat("ü", 300)} {
		text := templatehistory.Describe(name, "12")
		if got, ok := templatehistory.Replaced(text); !ok || got != "12" || utf8.RuneCountInString(text) > 255 {
			t.Errorf("Replaced(%q) = %q, %t, want 12", text, got, ok)
		}
	}
	for _, text := range []string{"", "web", "(replaces version 0)", "(replaces version 3) or not"} {
		if got, ok := templatehistory.Replaced(text); ok {
			t.Errorf("Replaced(%q) = %q, want none", text, got)
		}
	}
}

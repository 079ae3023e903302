package visible_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/visible"
)

// FuzzDisarm checks that no command of a CI system is left in a line, and that only
// spaces are added.
func FuzzDisarm(f *testing.F) {
	for _, seed := range []string{"::error::x", " | ::set-env", "##[error]x", "###vso[task", "##vso##[", "a ::b", "::::", "##\u017f["} {
		f.Add(seed)
	}
	command := regexp.MustCompile(`^[ \t|]*::|##[A-Za-z]*\[`)
	f.Fuzz(func(t *testing.T, line string) {
		got := visible.Disarm(line)
		if command.MatchString(got) {
			t.Errorf("Disarm(%q) = %q, still a command", line, got)
		}
		if strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(line, " ", "") {
			t.Errorf("Disarm(%q) = %q, which changes more than spaces", line, got)
		}
	})
}

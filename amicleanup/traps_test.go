package amicleanup_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTraps compares ../docs/cleanup-traps.md with the tests that it names.
func TestTraps(t *testing.T) {
	find := func(file, pattern string) []string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			names = append(names, m[1])
		}
		return names
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("inuse/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, sources...)
	var tests []string
	for _, file := range files {
		tests = append(tests, find(file, `(?m)^func (TestTrap[A-Z]\w*)\(`)...)
	}
	listed := find("../docs/cleanup-traps.md", "`(TestTrap\\w+)`")
	slices.Sort(tests)
	slices.Sort(listed)
	if diff := cmp.Diff(tests, listed); diff != "" || len(tests) == 0 {
		t.Errorf("the tests and ../docs/cleanup-traps.md differ (-tests +page):\n%s", diff)
	}
}

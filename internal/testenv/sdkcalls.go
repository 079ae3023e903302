package testenv

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// SDKCalls returns the sorted names of the AWS operations that the package in the
// current directory calls, according to its source without tests. The regular
// expression clients matches the ends of the expressions that hold clients of the
// SDK. Calls of their methods with a context and NewXPaginator count.
func SDKCalls(t testing.TB, clients string) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	call := regexp.MustCompile(`(?:` + clients + `)\.([A-Z]\w+)\(\w+,|\.New([A-Z]\w+)Paginator\(`)
	var calls []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllStringSubmatch(string(source), -1) {
			calls = append(calls, m[1]+m[2])
		}
	}
	slices.Sort(calls)
	return slices.Compact(calls)
}

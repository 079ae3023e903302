package testenv

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// SDKCalls returns the sorted names of the AWS operations that the packages in dirs
// call, according to their source without tests. The regular expression clients
// matches the ends of the expressions that hold clients of the SDK. Calls of their
// methods with a context and NewXPaginator count.
func SDKCalls(t testing.TB, clients string, dirs ...string) []string {
	t.Helper()
	var files []string
	for _, dir := range dirs {
		some, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, some...)
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

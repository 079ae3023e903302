package bakestone_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tests of this file are the rules of the repository itself.

const (
	module   = "github.com/bakestone-go/bakestone"
	maxLines = 400
)

// Every package says what it is for, the way go doc expects it.
func TestPackagesHaveComments(t *testing.T) {
	for dir, files := range goFiles(t) {
		var name, doc string
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed := parse(t, file)
			name = parsed.Name.Name
			doc += parsed.Doc.Text()
		}
		start := "Package " + name + " "
		if name == "main" {
			start = "Command " + path.Base(filepath.ToSlash(dir)) + " "
		}
		if name != "" && !strings.HasPrefix(doc, start) {
			t.Errorf("%s: the package comment does not begin with %q", dir, start)
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, files := range goFiles(t) {
		for _, file := range files {
			if lines := bytes.Count(read(t, file), []byte("\n")); lines > maxLines && !strings.HasSuffix(file, "_test.go") {
				t.Errorf("%s has %d lines, more than %d: it has more than one subject", file, lines, maxLines)
			}
		}
	}
}

func TestNothingIsLeftForLater(t *testing.T) {
	later := regexp.MustCompile(`//.*\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	for _, files := range goFiles(t) {
		for _, file := range files {
			for i, line := range strings.Split(string(read(t, file)), "\n") {
				if later.MatchString(line) {
					t.Errorf("%s:%d: %s", file, i+1, strings.TrimSpace(line))
				}
			}
		}
	}
}

// A module with a replace directive cannot be installed by others.
func TestModuleHasNoReplace(t *testing.T) {
	var mod struct{ Replace []json.RawMessage }
	if err := json.Unmarshal(run(t, "go", "mod", "edit", "-json"), &mod); err != nil {
		t.Fatal(err)
	}
	if len(mod.Replace) > 0 {
		t.Errorf("go.mod has replace directives: %s", mod.Replace)
	}
}

// Imports point one way. The linter sees each file's own imports; this sees
// what they bring in.
func TestLayers(t *testing.T) {
	for _, layer := range []struct {
		dir       string
		forbidden []string
	}{
		{"bake", []string{"github.com/aws/", module + "/ec2", module + "/provision", module + "/amicleanup"}},
		{"provision", []string{"github.com/aws/", module + "/ec2", module + "/amicleanup"}},
		{"ec2", []string{module + "/provision", module + "/amicleanup"}},
		{"amicleanup", []string{module + "/ec2", module + "/provision"}},
		{"ec2/iampolicy", []string{"github.com/aws/", module + "/bake", module + "/internal"}},
	} {
		if _, err := os.Stat(layer.dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		for dep := range strings.FieldsSeq(string(run(t, "go", "list", "-deps", "./"+layer.dir+"/..."))) {
			for _, prefix := range layer.forbidden {
				if dep == module+"/ec2/iampolicy" { // a leaf that any package may import
					continue
				}
				if dep == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(dep, strings.TrimSuffix(prefix, "/")+"/") {
					t.Errorf("%s depends on %s", layer.dir, dep)
				}
			}
		}
	}
}

// Every example is a program with a test that runs it.
func TestExamplesAreTested(t *testing.T) {
	dirs, err := filepath.Glob("examples/*")
	if err != nil {
		t.Fatal(err)
	}
	all := goFiles(t)
	for _, dir := range dirs {
		files := all[dir]
		if len(files) == 0 {
			continue
		}
		if !slices.Contains(files, filepath.Join(dir, "main.go")) {
			t.Errorf("%s has no main.go", dir)
		}
		if !slices.ContainsFunc(files, func(file string) bool { return strings.HasSuffix(file, "_test.go") }) {
			t.Errorf("%s has no test", dir)
		}
	}
}

// The README's Go is compiled code. A block of it follows a comment that names
// a file and one of its regions:
//
//	<!-- code: examples/quickstart/main.go#bake -->
//	```go
//	...
//	```
//
// and the region is the lines of that file between two comments that stand
// alone, less the indentation that all of them share. A blank line keeps gofmt
// from drawing the first of them into the comment of a declaration.
//
//	//readme:begin bake
//	...
//	//readme:end bake
//
// Without #bake it is the whole file from its package clause on. Every Go block
// must have its comment. With BAKESTONE_UPDATE set, the test writes the blocks
// instead of comparing them.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("there is no README.md")
	}
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^(?:<!-- code: ([^ #\n]+)(?:#([^ \n]+))? -->\n+)?```go\n(.*?)^```$")
	updated := block.ReplaceAllFunc(readme, func(found []byte) []byte {
		part := block.FindSubmatchIndex(found)
		got := string(found[part[6]:part[7]])
		if part[2] < 0 {
			t.Errorf("no comment says where this code comes from:\n%s", got)
			return found
		}
		name, region := string(found[part[2]:part[3]]), ""
		if part[4] >= 0 {
			region = string(found[part[4]:part[5]])
		}
		want := code(t, name, region)
		if got != want && os.Getenv("BAKESTONE_UPDATE") == "" {
			t.Errorf("the code of %s#%s reads\n%s\nand in the README\n%s\n(BAKESTONE_UPDATE=1 go test . writes it)", name, region, want, got)
		}
		return slices.Concat(found[:part[6]], []byte(want), found[part[7]:])
	})
	if os.Getenv("BAKESTONE_UPDATE") == "" || bytes.Equal(updated, readme) {
		return
	}
	if err := os.WriteFile("README.md", updated, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whoever can read what this is can also read what has changed in it.
func TestChangelog(t *testing.T) {
	if _, err := os.Stat("README.md"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("there is no README.md")
	}
	if !regexp.MustCompile(`(?m)^## \S`).Match(read(t, "CHANGELOG.md")) {
		t.Error("CHANGELOG.md has no section of a release")
	}
}

// What a document points to in this repository is there.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fence := regexp.MustCompile("(?ms)^ *```.*?^ *```$|`[^`\n]*`")
	for _, file := range walk(t, ".md") {
		for _, found := range link.FindAllSubmatch(fence.ReplaceAll(read(t, file), nil), -1) {
			target, _, _ := strings.Cut(string(found[1]), "#")
			if target == "" || strings.Contains(target, ":") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), filepath.FromSlash(target))); err != nil {
				t.Errorf("%s points to %s: %v", file, target, err)
			}
		}
	}
}

// code is a region of a Go file as the README shows it.
func code(t *testing.T, name, region string) string {
	t.Helper()
	text := string(read(t, filepath.FromSlash(name)))
	if region == "" {
		return text[parse(t, filepath.FromSlash(name)).Package-1:]
	}
	bounds := regexp.MustCompile(`(?s)\n[ \t]*//readme:begin ` + regexp.QuoteMeta(region) + `\n(.*?)\n?[ \t]*//readme:end ` + regexp.QuoteMeta(region) + `\n`)
	found := bounds.FindStringSubmatch(text)
	if found == nil {
		t.Errorf("%s has no region %q", name, region)
		return ""
	}
	lines := strings.Split(strings.Trim(found[1], "\n"), "\n")
	for !slices.ContainsFunc(lines, func(line string) bool { return line != "" && line[0] != '\t' }) {
		if strings.Join(lines, "") == "" {
			break
		}
		for i, line := range lines {
			lines[i] = strings.TrimPrefix(line, "\t")
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// goFiles is the Go files of every directory that has some.
func goFiles(t *testing.T) map[string][]string {
	t.Helper()
	dirs := map[string][]string{}
	for _, file := range walk(t, ".go") {
		dirs[filepath.Dir(file)] = append(dirs[filepath.Dir(file)], file)
	}
	return dirs
}

// walk lists the files of the repository whose names end in ext.
func walk(t *testing.T, ext string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return filepath.SkipDir
		case !entry.IsDir() && filepath.Ext(name) == ext:
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func parse(t *testing.T, file string) *ast.File {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, stderr.Bytes())
	}
	return out
}

package bakestone_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tests of this file check the repository itself: its layers, its examples
// and what its pages say. Rules of style are in internal/lint.

const module = "github.com/bakestone-go/bakestone"

// TestLayers checks what packages depend on, directly or not. The linter checks
// the imports of each file only.
func TestLayers(t *testing.T) {
	layers := []struct {
		dir       string
		forbidden []string
	}{
		{"bake", []string{"github.com/aws", module + "/ec2", module + "/provision", module + "/amicleanup"}},
		{"bake/clock", []string{"github.com/aws", module}},
		{"provision", []string{"github.com/aws", module + "/ec2", module + "/amicleanup"}},
		{"ec2", []string{module + "/provision", module + "/amicleanup", module + "/qemu"}},
		{"qemu", []string{"github.com/aws", module + "/ec2", module + "/provision", module + "/amicleanup"}},
		{"ec2/iampolicy", []string{"github.com/aws", module}},
		{"amicleanup", []string{module + "/ec2", module + "/provision"}},
	}
	below := func(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }
	for line := range strings.Lines(string(run(t, "go", "list", "-f", `{{.ImportPath}} {{join .Deps " "}}`, "./..."))) {
		fields := strings.Fields(line)
		pkg, deps := fields[0], fields[1:]
		for _, layer := range layers {
			if !below(pkg, module+"/"+layer.dir) || pkg == module+"/bake/s3store" || pkg == module+"/qemu/ec2machine" { // a store in S3; EC2 on QEMU
				continue
			}
			for _, dep := range deps {
				isForbidden := func(dir string) bool { return below(dep, dir) }
				// Any package may import the IAM documents.
				if dep != module+"/ec2/iampolicy" && slices.ContainsFunc(layer.forbidden, isForbidden) {
					t.Errorf("%s depends on %s", pkg, dep)
				}
			}
		}
	}
}

// TestExamplesAreTested checks that every example is a program with a test.
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

// TestREADME checks that the Go code of the README is compiled code. Each block
// follows a comment that names a file and one of its regions:
//
//	<!-- code: examples/quickstart/main.go#bake -->
//	```go
//	...
//	```
//
// The region is the lines of that file between two comments, without their
// common indentation. A blank line before the first keeps gofmt from joining it
// with the comment of a declaration.
//
//	//readme:begin bake
//	...
//	//readme:end bake
//
// Without #bake the block is the file from its package clause on. If
// BAKESTONE_UPDATE is set, the test writes the blocks instead of comparing them.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^(?:<!-- code: ([^ #\n]+)(?:#([^ \n]+))? -->\n+)?```go\n(.*?)^```$")
	updated := block.ReplaceAllFunc(readme, func(found []byte) []byte {
		part := block.FindSubmatchIndex(found)
		got := string(found[part[6]:part[7]])
		if part[2] < 0 {
			t.Errorf("README.md has a Go block without a <!-- code: --> comment:\n%s", got)
			return found
		}
		name, region := string(found[part[2]:part[3]]), ""
		if part[4] >= 0 {
			region = string(found[part[4]:part[5]])
		}
		want := code(t, name, region)
		if got != want && os.Getenv("BAKESTONE_UPDATE") == "" {
			t.Errorf("README.md has for %s#%s\n%s\nwant\n%s\n(BAKESTONE_UPDATE=1 go test . writes it)", name, region, got, want)
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

// TestListenOnLoopback checks that all code, that of examples and tests as well, listens
// on loopback only: on an address that is written as one, or that the line says was
// checked.
func TestListenOnLoopback(t *testing.T) {
	listens := regexp.MustCompile(`^(Listen(TCP|UDP|Unix|Unixgram|IP|MulticastUDP|Packet|AndServe|AndServeTLS)?)$`)
	loopback := regexp.MustCompile(`^"(127\.[0-9.]+|localhost|\[::1\]):[0-9]*"$`)
	found := 0
	for _, file := range walk(t, ".go") {
		text := read(t, file)
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, file, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr) //lint:concrete the parser's nodes
			if !ok {
				return true
			}
			selector, ok := call.Fun.(*ast.SelectorExpr) //lint:concrete the parser's nodes
			if !ok || !listens.MatchString(selector.Sel.Name) {
				return true
			}
			found++
			var args []string
			for _, arg := range call.Args {
				args = append(args, string(text[fset.Position(arg.Pos()).Offset:fset.Position(arg.End()).Offset]))
			}
			end := fset.Position(call.End()).Offset
			line, _, _ := strings.Cut(string(text[end:]), "\n")
			if !slices.ContainsFunc(args, loopback.MatchString) && !slices.Contains(args, `"unix"`) && !strings.Contains(line, "// loopback: ") {
				t.Errorf("%s: %s(%s) may listen on other addresses than those of loopback", fset.Position(call.Pos()), selector.Sel.Name, strings.Join(args, ", "))
			}
			return true
		})
	}
	if found == 0 {
		t.Error("no code listens")
	}
}

// TestLinks checks that the links of all pages to files lead somewhere.
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
				t.Errorf("%s links to %s: %v", file, target, err)
			}
		}
	}
}

// code returns a region of a Go file as the README shows it.
func code(t *testing.T, name, region string) string {
	t.Helper()
	text := string(read(t, filepath.FromSlash(name)))
	if region == "" {
		parsed, err := parser.ParseFile(token.NewFileSet(), name, text, parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		return text[parsed.Package-1:]
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

// goFiles returns the Go files of each directory.
func goFiles(t *testing.T) map[string][]string {
	t.Helper()
	dirs := map[string][]string{}
	for _, file := range walk(t, ".go") {
		dirs[filepath.Dir(file)] = append(dirs[filepath.Dir(file)], file)
	}
	return dirs
}

// walk returns the files of the repository with the given extension.
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

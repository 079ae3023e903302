package main

import (
	"bytes"
	"fmt"
	"go/build/constraint"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// maxLines limits the files that are not tests.
const maxLines = 400

// platforms returns the words for which a build constraint is expected at the end
// of a file name. All but other and unix are constraints by themselves there.
func platforms() []string {
	return []string{
		"other", "aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd", "openbsd", "plan9",
		"solaris", "unix", "wasip1", "windows",
		"386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
		"s390x", "wasm",
	}
}

// fileNames reports names that do not have the form prefix.go or
// prefix_detail.go, and names that end in a platform without a build
// constraint in the file. Tests may have another word: prefix_detail_case_test.go.
func (m *module) fileNames() []finding {
	form := regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)?$`)
	testForm := regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+){0,2}$`)
	var found []finding
	for _, f := range m.files {
		name := strings.TrimSuffix(strings.TrimSuffix(f.base(), ".go"), "_test")
		words := strings.Split(name, "_")
		if last := words[len(words)-1]; len(words) > 1 && slices.Contains(platforms(), last) {
			if !f.constrained() {
				found = append(found, finding{f.name, 0, fmt.Sprintf("name ends in %s, but the file has no //go:build line", last)})
			}
			name = strings.TrimSuffix(name, "_"+last)
		}
		allowed := form
		if f.isTest() {
			allowed = testForm
		}
		if !allowed.MatchString(name) {
			found = append(found, finding{f.name, 0, "name does not have the form prefix.go or prefix_detail.go, in lower case"})
		}
	}
	return found
}

// constrained reports whether f has a build constraint.
func (f *file) constrained() bool {
	for _, group := range f.ast.Comments {
		for _, comment := range group.List {
			if comment.Pos() < f.ast.Package && constraint.IsGoBuild(comment.Text) {
				return true
			}
		}
	}
	return false
}

// fileLengths reports files of more than maxLines lines, tests excepted.
func (m *module) fileLengths() []finding {
	var found []finding
	for _, f := range m.files {
		if lines := bytes.Count(f.src, []byte("\n")); lines > maxLines && !f.isTest() {
			found = append(found, finding{f.name, 0, fmt.Sprintf("%d lines, more than %d: split it by subject", lines, maxLines)})
		}
	}
	return found
}

// packageComments reports packages without the comment that go doc expects.
func (m *module) packageComments() []finding {
	var found []finding
	for _, dir := range m.dirs() {
		name, doc := "", ""
		for _, f := range m.files {
			if f.dir() == dir && !f.isTest() {
				name = f.ast.Name.Name
				doc += f.ast.Doc.Text()
			}
		}
		start := "Package " + name + " "
		if name == "main" {
			start = "Command " + path.Base(dir) + " "
		}
		if name != "" && !strings.HasPrefix(doc, start) {
			found = append(found, finding{dir, 0, fmt.Sprintf("package comment does not begin with %q", start)})
		}
	}
	return found
}

// leftovers reports comments about work that is still to be done.
func (m *module) leftovers() []finding {
	words := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	var found []finding
	for _, f := range m.files {
		for _, group := range f.ast.Comments {
			for _, comment := range group.List {
				if word := words.FindString(comment.Text); word != "" {
					found = append(found, finding{f.name, m.line(comment.Pos()), word + ": do it now or describe it in an issue"})
				}
			}
		}
	}
	return found
}

// goMod reports replace directives, with which others cannot install the module.
func (m *module) goMod() []finding {
	var found []finding
	text, err := os.ReadFile(filepath.Join(m.root, "go.mod"))
	if err != nil {
		return []finding{{"go.mod", 0, err.Error()}}
	}
	for i, line := range strings.Split(string(text), "\n") {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == "replace" {
			found = append(found, finding{"go.mod", i + 1, "replace directive: others cannot install the module"})
		}
	}
	return found
}

// changelog reports a changelog without a section.
func (m *module) changelog() []finding {
	const name = "CHANGELOG.md"
	text, err := os.ReadFile(filepath.Join(m.root, name))
	if err != nil {
		return []finding{{name, 0, err.Error()}}
	}
	if !regexp.MustCompile(`(?m)^## \S`).Match(text) {
		return []finding{{name, 0, "no section of a release"}}
	}
	return nil
}

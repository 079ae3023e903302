package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A module is the parsed source of a Go module.
type module struct {
	root  string
	path  string // of imports: example.com/mod
	fset  *token.FileSet
	files []*file
	types map[string]map[string]*ast.TypeSpec // by directory and name, without tests
}

// A file is a parsed Go file.
type file struct {
	name string // relative to the root, with slashes
	src  []byte
	ast  *ast.File
}

func (f *file) dir() string  { return path.Dir(f.name) }
func (f *file) base() string { return path.Base(f.name) }
func (f *file) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// dirs returns the directories with Go files.
func (m *module) dirs() []string {
	dirs := make([]string, 0, len(m.files))
	for _, f := range m.files {
		dirs = append(dirs, f.dir())
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// line returns the line of pos in its file.
func (m *module) line(pos token.Pos) int { return m.fset.Position(pos).Line }

// load parses all Go files below root.
func load(root string) (*module, error) {
	m := &module{root: root, fset: token.NewFileSet(), types: map[string]map[string]*ast.TypeSpec{}}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod")) //nolint:gosec // the caller chose root
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mod)) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "module" {
			m.path = fields[1]
		}
	}
	if m.path == "" {
		return nil, fmt.Errorf("%s has no module line", filepath.Join(root, "go.mod"))
	}
	return m, filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return fs.SkipDir
		case entry.Type().IsRegular() && filepath.Ext(name) == ".go":
			return m.add(name)
		}
		return nil
	})
}

// add parses the Go file called name.
func (m *module) add(name string) error {
	relative, err := filepath.Rel(m.root, name)
	if err != nil {
		return err
	}
	f := &file{name: filepath.ToSlash(relative)}
	if f.src, err = os.ReadFile(filepath.Clean(name)); err != nil {
		return err
	}
	if f.ast, err = parser.ParseFile(m.fset, f.name, f.src, parser.ParseComments|parser.SkipObjectResolution); err != nil {
		return err
	}
	m.files = append(m.files, f)
	if f.isTest() {
		return nil
	}
	types := m.types[f.dir()]
	if types == nil {
		types = map[string]*ast.TypeSpec{}
		m.types[f.dir()] = types
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			types[spec.Name.Name] = spec
		}
		return true
	})
	return nil
}

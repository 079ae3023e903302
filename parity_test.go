package bakestone_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const parityPage = "docs/packer-parity.md"

// TestPackerParity checks that every row of the comparison with Packer names
// declarations and tests that exist. Tables with other than four columns list
// what was left out and are not checked.
func TestPackerParity(t *testing.T) {
	names, tests := declared(t)
	quoted := regexp.MustCompile("`([^`]+)`")
	rows := 0
	for number, line := range strings.Split(string(read(t, filepath.FromSlash(parityPage))), "\n") {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "|") || len(cells) != 4 || strings.HasPrefix(strings.TrimSpace(cells[0]), "---") || number == 0 {
			continue
		}
		if strings.TrimSpace(cells[0]) == "Packer" { // a table head
			continue
		}
		rows++
		for column, known := range map[int]map[string]bool{2: names, 3: tests} {
			found := quoted.FindAllStringSubmatch(cells[column], -1)
			if len(found) == 0 {
				t.Errorf("%s:%d: column %d of %q has no names", parityPage, number+1, column+1, strings.TrimSpace(cells[0]))
			}
			for _, name := range found {
				if !known[name[1]] {
					t.Errorf("%s:%d: %s is not declared", parityPage, number+1, name[1])
				}
			}
		}
	}
	if rows == 0 {
		t.Errorf("%s has no rows", parityPage)
	}
}

// declared returns all names of the module as "package.Name" or
// "package.Type.Member", those of tests separately.
func declared(t *testing.T) (names, tests map[string]bool) {
	t.Helper()
	names, tests = map[string]bool{}, map[string]bool{}
	for _, files := range goFiles(t) {
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			pkg := strings.TrimSuffix(parsed.Name.Name, "_test")
			into := names
			if strings.HasSuffix(file, "_test.go") {
				into = tests
			}
			for _, d := range parsed.Decls {
				declare(into, pkg, d)
			}
		}
	}
	return names, tests
}

// declare adds the names that d declares.
func declare(into map[string]bool, pkg string, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		name := pkg + "."
		if d.Recv != nil {
			receiver := d.Recv.List[0].Type
			if star, ok := receiver.(*ast.StarExpr); ok {
				receiver = star.X
			}
			if ident, ok := receiver.(*ast.Ident); ok {
				name += ident.Name + "."
			}
		}
		into[name+d.Name.Name] = true
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, ident := range spec.Names {
					into[pkg+"."+ident.Name] = true
				}
			case *ast.TypeSpec:
				declareType(into, pkg+"."+spec.Name.Name, spec.Type)
			}
		}
	}
}

// declareType adds a type and its fields or methods.
func declareType(into map[string]bool, name string, of ast.Expr) {
	into[name] = true
	var members *ast.FieldList
	switch of := of.(type) {
	case *ast.StructType:
		members = of.Fields
	case *ast.InterfaceType:
		members = of.Methods
	default:
		return
	}
	for _, member := range members.List {
		for _, ident := range member.Names {
			into[name+"."+ident.Name] = true
		}
	}
}

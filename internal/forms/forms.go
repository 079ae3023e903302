// Package forms lists the forms in which a caller's code may hand over a value
// that an interface of this module accepts, for tests that a value loses nothing
// when a caller takes its address, embeds it or wraps it.
package forms

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// Of returns v, its address, embedded, which is a struct that embeds a copy of v,
// and what wrap makes of each of them, by a name for test output.
func Of[V any](v, embedded V, wrap func(V) V) map[string]V {
	address := reflect.New(reflect.TypeOf(v))
	address.Elem().Set(reflect.ValueOf(v))
	all := map[string]V{"value": v, "embedded": embedded}
	if a, ok := reflect.TypeAssert[V](address); ok {
		all["address"] = a
	}
	for name, form := range maps.Clone(all) {
		all["wrapped "+name] = wrap(form)
	}
	return all
}

// Types returns the names of the exported types of the package in dir that have
// the method, sorted, for tests that must not miss one.
func Types(dir, method string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv == nil || f.Name.Name != method {
				continue
			}
			of := f.Recv.List[0].Type
			if star, ok := of.(*ast.StarExpr); ok {
				of = star.X
			}
			if id, ok := of.(*ast.Ident); ok && id.IsExported() {
				names = append(names, id.Name)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

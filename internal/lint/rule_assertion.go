package main

import (
	"go/ast"
	"path"
	"strconv"
	"strings"
)

// allow begins the comment that permits an assertion of a concrete type.
const allow = "//lint:concrete"

// assertions reports assertions of concrete types in the public packages.
func (m *module) assertions() []finding {
	var found []finding
	for _, f := range m.files {
		top, _, _ := strings.Cut(f.name, "/")
		switch top {
		case "bake", "provision", "ec2", "amicleanup":
			if !f.isTest() && !strings.Contains("/"+f.name, "/internal/") {
				found = append(found, m.assertionsIn(f)...)
			}
		}
	}
	return found
}

func (m *module) assertionsIn(f *file) []finding {
	permits, found := m.permits(f)
	check := func(value, typ ast.Expr) {
		if !m.isConcrete(f, typ) || isContextValue(value) {
			return
		}
		line := m.line(typ.Pos())
		for _, at := range []int{line, line - 1} {
			if _, ok := permits[at]; ok {
				permits[at] = true
				return
			}
		}
		found = append(found, finding{f.name, line, "assertion of a concrete type: use an interface, or give the reason after " + allow})
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeAssertExpr:
			if n.Type != nil { // not the head of a type switch
				check(n.X, n.Type)
			}
		case *ast.TypeSwitchStmt:
			for _, typ := range cases(n) {
				check(switched(n), typ)
			}
		}
		return true
	})
	for line, used := range permits {
		if !used {
			found = append(found, finding{f.name, line, allow + " permits nothing here"})
		}
	}
	return found
}

// permits returns the lines of f with a permission, and reports those without a
// reason.
func (m *module) permits(f *file) (lines map[int]bool, found []finding) {
	lines = map[int]bool{}
	for _, group := range f.ast.Comments {
		for _, comment := range group.List {
			reason, ok := strings.CutPrefix(comment.Text, allow)
			if !ok {
				continue
			}
			line := m.line(comment.Pos())
			if lines[line] = false; strings.TrimSpace(reason) == "" {
				found = append(found, finding{f.name, line, allow + " without a reason"})
			}
		}
	}
	return lines, found
}

// cases returns the types that a type switch lists.
func cases(s *ast.TypeSwitchStmt) []ast.Expr {
	var types []ast.Expr
	for _, stmt := range s.Body.List {
		if clause, ok := stmt.(*ast.CaseClause); ok {
			types = append(types, clause.List...)
		}
	}
	return types
}

// switched returns the value that a type switch examines.
func switched(s *ast.TypeSwitchStmt) ast.Expr {
	var head ast.Expr
	switch assign := s.Assign.(type) {
	case *ast.AssignStmt: // switch x := v.(type)
		head = assign.Rhs[0]
	case *ast.ExprStmt:
		head = assign.X
	}
	if assertion, ok := head.(*ast.TypeAssertExpr); ok {
		return assertion.X
	}
	return nil
}

// isContextValue reports whether value is ctx.Value(…), which only the package
// that stored it can read.
func isContextValue(value ast.Expr) bool {
	call, ok := value.(*ast.CallExpr)
	if !ok {
		return false
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || method.Sel.Name != "Value" {
		return false
	}
	receiver, ok := method.X.(*ast.Ident)
	return ok && receiver.Name == "ctx"
}

// isConcrete reports whether typ, written in f, is a pointer or a type of this
// module other than an interface. Other types of other modules are not known
// here.
func (m *module) isConcrete(f *file, typ ast.Expr) bool {
	switch typ := typ.(type) {
	case *ast.ParenExpr:
		return m.isConcrete(f, typ.X)
	case *ast.StarExpr, *ast.StructType:
		return true
	case *ast.IndexExpr:
		return m.isConcrete(f, typ.X)
	case *ast.IndexListExpr:
		return m.isConcrete(f, typ.X)
	}
	dir, spec := m.declaration(f.dir(), f, typ)
	return spec != nil && !m.isInterface(dir, spec, 0)
}

// isInterface reports whether spec, declared in dir, is an interface. Aliases of
// types in other modules count as interfaces, since those are not known here.
func (m *module) isInterface(dir string, spec *ast.TypeSpec, depth int) bool {
	if _, ok := spec.Type.(*ast.InterfaceType); ok {
		return true
	}
	if ident, ok := spec.Type.(*ast.Ident); ok && (ident.Name == "any" || ident.Name == "error") {
		return true
	}
	if depth > 10 { // a ring, which does not compile
		return false
	}
	if inDir, other := m.declaration(dir, m.fileOf(dir, spec), spec.Type); other != nil {
		return m.isInterface(inDir, other, depth+1)
	}
	_, qualified := spec.Type.(*ast.SelectorExpr)
	return spec.Assign.IsValid() && qualified
}

// declaration returns the declaration of a type named in f, and its directory. It
// is nil for types that are not declared in this module.
func (m *module) declaration(dir string, f *file, typ ast.Expr) (in string, spec *ast.TypeSpec) {
	switch typ := typ.(type) {
	case *ast.Ident:
		return dir, m.types[dir][typ.Name]
	case *ast.SelectorExpr:
		pkg, ok := typ.X.(*ast.Ident)
		if !ok {
			return "", nil
		}
		for _, spec := range f.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			in, ok := strings.CutPrefix(imported, m.path+"/")
			if err != nil || !ok {
				continue
			}
			name := path.Base(imported)
			if spec.Name != nil {
				name = spec.Name.Name
			}
			if name == pkg.Name {
				return in, m.types[in][typ.Sel.Name]
			}
		}
	}
	return "", nil
}

// fileOf returns the file of dir that contains spec.
func (m *module) fileOf(dir string, spec *ast.TypeSpec) *file {
	for _, f := range m.files {
		if f.dir() == dir && f.ast.FileStart <= spec.Pos() && spec.Pos() < f.ast.FileEnd {
			return f
		}
	}
	return nil
}

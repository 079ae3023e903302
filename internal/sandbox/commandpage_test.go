package sandbox_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const commandPage = "../../docs/ec2test-commands.md"

// TestCommandPage compares the page of built-in commands with the code. With
// EC2TEST_WRITE_COVERAGE it writes the page.
func TestCommandPage(t *testing.T) {
	want := commandsPage(t)
	if os.Getenv("EC2TEST_WRITE_COVERAGE") != "" {
		if err := os.WriteFile(commandPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(commandPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, strings.ReplaceAll(string(got), "\r\n", "\n")); diff != "" {
		t.Errorf("%s does not match the code (-code +page):\n%s", commandPage, diff)
	}
}

func commandsPage(t *testing.T) string {
	t.Helper()
	c := readCode(t)
	var b strings.Builder
	b.WriteString(`# Commands of ec2test's machines

This page is generated from the code, and a test compares the two. A command that is not listed does not exist, as if it
were not installed: status 127, and a line on the machine's console. An option that is not listed is an error that names
it, never ignored. A command without options takes none, or reads its arguments as the real one does.

A test adds commands, or replaces those here, by name:

` + "```go" + `
server := ec2test.New(&ec2test.Options{Commands: map[string]ec2test.Command{
	"docker": func(ctx context.Context, p *ec2test.Process) int {
		fmt.Fprintln(p.Stdout, "Docker version 27.0.3")
		return 0
	},
}})
` + "```" + `

Options.AnyCommand lets every unknown command succeed and records it. A script that is on the disk runs as on any
machine, if its interpreter is a shell.

## Shell builtins

`)
	missing := c.missingBuiltins()
	have := slices.DeleteFunc(strings.Fields(c.constant("bashBuiltins")), func(name string) bool { return slices.Contains(missing, name) })
	b.WriteString("bash: " + code(have) + ". Not there: " + code(missing) + ". dash has those of dash.\n\n")
	b.WriteString("Options of shopt that are refused: " + code(strings.Fields(c.constant("shoptRefused"))) + ".\n\n## Programs\n\n| command | options |\n|---|---|\n")
	names := slices.Sorted(maps.Keys(c.commands))
	byFunc := map[string][]string{}
	for _, name := range names {
		byFunc[c.commands[name]] = append(byFunc[c.commands[name]], name)
	}
	done := map[string]bool{}
	for _, name := range names {
		f := c.commands[name]
		if done[f] {
			continue
		}
		done[f] = true
		fmt.Fprintf(&b, "| %s | %s |\n", code(byFunc[f]), c.describe(f))
	}
	b.WriteString("\n## Programs that refuse\n\nThe images of these distributions have the programs below too, so `command -v`, `test -x` and `ls /usr/bin` find them, but\nthe machine cannot run them: they end with status 127, \"this test machine cannot run this program\", unless registered.\n")
	for _, family := range []string{"debian", "ubuntu", "redhat", "amzn", "rhel"} {
		fmt.Fprintf(&b, "\n%s: %s\n", map[string]string{
			"debian": "Debian and Ubuntu", "ubuntu": "Ubuntu", "redhat": "Amazon Linux, Red Hat Enterprise Linux and their like", "amzn": "Amazon Linux", "rhel": "Red Hat Enterprise Linux and its like",
		}[family], code(c.refusing(t, family)))
	}
	return b.String()
}

func code(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }

// sourceCode is what the page needs of the package's code.
type sourceCode struct {
	commands  map[string]string // the function of each command
	functions map[string]*ast.FuncDecl
	methods   map[string]*ast.FuncDecl
	files     map[*ast.FuncDecl]string
	values    map[string]ast.Expr
}

func readCode(t *testing.T) *sourceCode {
	t.Helper()
	c := &sourceCode{map[string]string{}, map[string]*ast.FuncDecl{}, map[string]*ast.FuncDecl{}, map[*ast.FuncDecl]string{}, map[string]ast.Expr{}}
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range paths {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				c.files[d] = file
				if d.Recv == nil {
					c.functions[d.Name.Name] = d
				} else {
					c.methods[file+":"+d.Name.Name] = d
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if v, ok := s.(*ast.ValueSpec); ok && len(v.Values) == len(v.Names) {
						for i, name := range v.Names {
							c.values[name.Name] = v.Values[i]
						}
					}
				}
			}
		}
	}
	for name, f := range c.functions {
		if strings.HasSuffix(strings.ToLower(name), "builtin") && f.Type.Results != nil && fmt.Sprint(f.Type.Results.List[0].Type) == "Command" {
			c.cases(f)
		}
	}
	c.cases(c.methods["pkg_apt.go:packageCommand"])
	for name := range strings.FieldsSeq("apt-key add-apt-repository debconf-set-selections dpkg-reconfigure") {
		c.commands[name] = "aptSetting"
	}
	return c
}

// cases adds the commands of "case name: return function".
func (c *sourceCode) cases(f *ast.FuncDecl) {
	ast.Inspect(f.Body, func(n ast.Node) bool {
		clause, ok := n.(*ast.CaseClause)
		if !ok || len(clause.Body) == 0 {
			return true
		}
		ret, ok := clause.Body[0].(*ast.ReturnStmt)
		if !ok || len(ret.Results) != 1 {
			return true
		}
		if id, ok := ret.Results[0].(*ast.Ident); ok && id.Name != "nil" {
			for _, x := range clause.List {
				c.commands[text(x)] = id.Name
			}
		}
		return true
	})
}

// text returns the value of a constant string.
func text(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(x.Value)
		if err == nil {
			return s
		}
	case *ast.BinaryExpr:
		return text(x.X) + text(x.Y)
	}
	return ""
}

func (c *sourceCode) constant(name string) string { return text(c.values[name]) }

// missingBuiltins returns the builtins of bash that the shell lacks.
func (c *sourceCode) missingBuiltins() []string {
	all := []string{"help"}
	ast.Inspect(c.methods["shell_builtin.go:builtin"].Body, func(n ast.Node) bool {
		if clause, ok := n.(*ast.CaseClause); ok && len(clause.Body) == 1 {
			ret, ok := clause.Body[0].(*ast.ReturnStmt)
			if ok && len(ret.Results) == 1 && fmt.Sprint(ret.Results[0]) == "nil" {
				for _, x := range clause.List {
					all = append(all, text(x))
				}
			}
		}
		return true
	})
	slices.Sort(all)
	return all
}

var flagLiteral = regexp.MustCompile(`^--?[A-Za-z0-9][A-Za-z0-9-]*=?$`)

// describe returns the options of a command: those it declares, or the literals that
// it compares its arguments with.
func (c *sourceCode) describe(function string) string {
	f := c.functions[function]
	switch function {
	case "recorded":
		return "any; succeeds without effect"
	case "rootOnly":
		return "any; succeeds without effect for root"
	}
	if f == nil {
		return ""
	}
	found := map[string]bool{}
	c.collect(f, found, map[*ast.FuncDecl]bool{}, 0)
	all := slices.SortedFunc(maps.Keys(found), func(a, b string) int {
		if d := len(a) - len(strings.TrimLeft(a, "-")) - (len(b) - len(strings.TrimLeft(b, "-"))); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	if len(all) == 0 {
		return ""
	}
	return code(all)
}

// collect adds the options of a function and of the functions of its file that it
// calls.
func (c *sourceCode) collect(f *ast.FuncDecl, found map[string]bool, seen map[*ast.FuncDecl]bool, depth int) {
	if seen[f] || depth > 5 {
		return
	}
	seen[f] = true
	ast.Inspect(f.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			name := ""
			switch fun := n.Fun.(type) {
			case *ast.SelectorExpr:
				name = fun.Sel.Name
			case *ast.Ident:
				name = fun.Name
			}
			if name == "options" || name == "wrap" {
				c.declared(n.Args, found)
				return true
			}
			next := c.methods[c.files[f]+":"+name]
			if plain := c.functions[name]; next == nil && plain != nil && c.files[plain] == c.files[f] {
				next = plain
			}
			if next != nil {
				c.collect(next, found, seen, depth+1)
			}
		case *ast.CaseClause:
			for _, x := range n.List {
				if s := text(x); flagLiteral.MatchString(s) {
					found[s] = true
				}
			}
		case *ast.BinaryExpr:
			if s := text(n.Y); n.Op == token.EQL && flagLiteral.MatchString(s) {
				found[s] = true
			}
		}
		return true
	})
}

// declared adds the options in the arguments of Process.options.
func (c *sourceCode) declared(args []ast.Expr, found map[string]bool) {
	for i, x := range args {
		s := text(x)
		if i > 0 {
			if name, _, ok := strings.Cut(s, "="); ok {
				found["--"+name] = true
			}
			continue
		}
		for _, letter := range strings.NewReplacer("+", "", ":", "").Replace(s) {
			found["-"+string(letter)] = true
		}
	}
}

// refusing returns the programs of a family's images that the machine cannot run.
func (c *sourceCode) refusing(t *testing.T, family string) []string {
	t.Helper()
	data, err := os.ReadFile("data/programs.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(data)) {
		rest, ok := strings.CutPrefix(line, family+" ")
		if !ok {
			continue
		}
		_, programs, _ := strings.Cut(rest, ":")
		for word := range strings.FieldsSeq(programs) {
			if name, _, link := strings.Cut(word, "="); !link && name != "|" && c.commands[name] == "" {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

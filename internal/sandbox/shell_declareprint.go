package sandbox

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

func (r *runner) declareFunctions(d declaration, items []declared) {
	names := make([]string, 0, len(items))
	for _, item := range items {
		names = append(names, item.name)
	}
	all := len(names) == 0
	if all {
		for name := range r.funcs {
			names = append(names, name)
		}
		slices.Sort(names)
	}
	for _, name := range names {
		f := r.funcs[name]
		export := ""
		if f != nil && f.exported {
			export = "x"
		}
		switch {
		case f != nil && all && export == "" && (d.has('x') || d.variant == "export"):
		case f == nil:
			if d.variant == "export" {
				r.errorf("export: %s: not a function", name)
			}
			r.status = 1
		case d.variant == "export" && !all:
			c := *f
			c.exported = !d.has('n')
			r.funcs[name] = &c
		case d.has('F') && all:
			r.print("declare -f", export, " ", name, "\n")
		case d.has('F'):
			r.print(name, "\n")
		default:
			r.print(functionText(f))
			if all && export != "" {
				r.print("declare -fx ", name, "\n")
			}
		}
	}
}

func functionText(f *function) string {
	body := f.text()
	if strings.HasPrefix(body, "{") {
		lines := strings.Split(body, "\n")
		if len(lines) == 1 {
			lines = []string{"{", "    " + strings.TrimSuffix(strings.TrimSpace(strings.Trim(body, "{}")), ";"), "}"}
		}
		body = strings.Join(lines, "\n")
		body = "{ " + strings.TrimPrefix(body, "{")
	}
	return f.name + " () \n" + body + "\n"
}

func (r *runner) importFunction(name, text string) {
	file, err := syntax.NewParser().Parse(&scriptReader{r: strings.NewReader(name + " " + text), limit: maxFrames}, "")
	if err != nil || len(file.Stmts) != 1 {
		return
	}
	if fd, ok := file.Stmts[0].Cmd.(*syntax.FuncDecl); ok {
		r.funcs[name] = &function{name: name, body: fd.Body, file: "environment", exported: true}
	}
}

// printDeclarations implements declare -p, export -p and readonly -p.
func (r *runner) printDeclarations(d declaration, items []declared) {
	var names []string
	for _, item := range items {
		names = append(names, item.name)
	}
	if len(names) == 0 {
		names = r.vars.names()
	}
	for _, name := range names {
		v := r.lookup(name)
		if ref, _ := r.vars.find(name); ref != nil && ref.ref {
			v = ref
		}
		if v == nil || !v.set && !v.isArray() && v.flags() == "" && len(items) > 0 {
			r.fail(1, "%s: %s: not found", d.variant, name)
			continue
		}
		if len(items) == 0 {
			if d.variant == "export" && !v.exported || (d.variant == "readonly" || d.has('r')) && !v.readOnly || d.has('x') && !v.exported {
				continue
			}
			if d.variant == "local" {
				if _, in := r.vars.find(name); in != r.functionScope() {
					continue
				}
			}
		}
		if r.dash {
			r.print(d.variant, " ", name, "=", shellQuote(v.str), "\n")
			continue
		}
		r.print(r.declaration(name, v), "\n")
	}
}

// doubleQuote quotes s as declare -p does.
func doubleQuote(s string) string {
	if strings.ContainsFunc(s, func(c rune) bool { return c < ' ' && c != '\t' || c == 127 }) {
		return dollarQuote(s)
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		if strings.IndexByte("$`\"\\", s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}

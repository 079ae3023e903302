package sandbox

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"
)

// paste joins lines of files, or with -s the lines of each file.
func paste(_ context.Context, p *Process) int {
	o, names, bad := p.options("d:sz", "delimiters=d:", "serial=s")
	if bad != 0 {
		return bad
	}
	delimiters := "\t"
	if text, ok := o.value("d"); ok {
		delimiters = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\\`, `\`, `\0`, "").Replace(text)
	}
	delimiter := func(i int) string {
		if delimiters == "" {
			return ""
		}
		i %= len(delimiters)
		return delimiters[i : i+1]
	}
	if len(names) == 0 {
		names = []string{"-"}
	}
	columns := make([][]string, len(names))
	rest, status := []string(nil), 0
	for i, name := range names {
		if name == "-" && strings.Count(strings.Join(names, " ")+" ", "- ") > 1 {
			if rest == nil {
				rest, status = p.allLines(nil)
			}
			first := slices.Index(names, "-")
			step := strings.Count(strings.Join(names, " ")+" ", "- ")
			for at := i - first; at < len(rest); at += step {
				columns[i] = append(columns[i], rest[at])
			}
			continue
		}
		columns[i], status = p.allLines([]string{name})
		if status != 0 {
			return status
		}
	}
	if o.on("s") {
		for _, column := range columns {
			for i, line := range column {
				if i > 0 {
					p.print(delimiter(i - 1))
				}
				p.print(line)
			}
			p.print("\n")
		}
		return status
	}
	most := 0
	for _, column := range columns {
		most = max(most, len(column))
	}
	for row := range most {
		for i, column := range columns {
			if i > 0 {
				p.print(delimiter(i - 1))
			}
			if row < len(column) {
				p.print(column[row])
			}
		}
		p.print("\n")
	}
	return status
}

// comm compares sorted files.
func comm(_ context.Context, p *Process) int {
	o, names, bad := p.options("123", "nocheck-order=n")
	if bad != 0 {
		return bad
	}
	if len(names) != 2 {
		return p.fail(1, "missing operand")
	}
	a, statusA := p.allLines(names[:1])
	b, statusB := p.allLines(names[1:])
	if statusA+statusB != 0 {
		return 1
	}
	show := func(column int, line string) {
		if o.on(itoa(column)) {
			return
		}
		for c := 1; c < column; c++ {
			if !o.on(itoa(c)) {
				p.print("\t")
			}
		}
		p.print(line, "\n")
	}
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0] < b[0]:
			show(1, a[0])
			a = a[1:]
		case len(a) == 0 || b[0] < a[0]:
			show(2, b[0])
			b = b[1:]
		default:
			show(3, a[0])
			a, b = a[1:], b[1:]
		}
	}
	return 0
}

// join joins the lines of two sorted files with the same first field.
func join(_ context.Context, p *Process) int {
	o, names, bad := p.options("t:")
	if bad != 0 {
		return bad
	}
	if len(names) != 2 {
		return p.fail(1, "missing operand")
	}
	separator, given := o.value("t")
	split := func(line string) (string, string) {
		if given {
			key, rest, _ := strings.Cut(line, separator)
			return key, rest
		}
		fields := strings.Fields(line)
		if len(fields) == 0 {
			return "", ""
		}
		return fields[0], strings.Join(fields[1:], " ")
	}
	if !given {
		separator = " "
	}
	a, statusA := p.allLines(names[:1])
	b, statusB := p.allLines(names[1:])
	byKey := map[string][]string{}
	for _, right := range b {
		key, more := split(right)
		byKey[key] = append(byKey[key], more)
	}
	for _, left := range a {
		key, rest := split(left)
		for _, more := range byKey[key] {
			fields := slices.DeleteFunc([]string{key, rest, more}, func(s string) bool { return s == "" })
			if !p.print(strings.Join(fields, separator), "\n") {
				return 1
			}
		}
	}
	return statusA + statusB
}

// column aligns the fields of lines with -t.
func column(_ context.Context, p *Process) int {
	o, names, bad := p.options("ts:o:", "table=t", "separator=s:", "output-separator=o:")
	if bad != 0 {
		return bad
	}
	all, status := p.allLines(names)
	if !o.on("t") {
		for _, line := range all {
			p.print(line, "\n")
		}
		return status
	}
	var rows [][]string
	var widths []int
	for _, line := range all {
		fields := strings.Fields(line)
		if s, ok := o.value("s"); ok {
			fields = strings.FieldsFunc(line, func(c rune) bool { return strings.ContainsRune(s, c) })
		}
		for i, f := range fields {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(f))
		}
		rows = append(rows, fields)
	}
	gap := "  "
	if s, ok := o.value("o"); ok {
		gap = s
	}
	for _, row := range rows {
		for i, f := range row {
			p.print(f)
			if i < len(row)-1 {
				p.print(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(f)), gap)
			}
		}
		p.print("\n")
	}
	return status
}

package sandbox

import (
	"context"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// tac prints lines in reverse order.
func tac(_ context.Context, p *Process) int {
	_, names, bad := p.options("")
	if bad != 0 {
		return bad
	}
	all, status := p.allLines(names)
	for _, line := range slices.Backward(all) {
		if !p.print(line, "\n") {
			return 1
		}
	}
	return status
}

// rev reverses the characters of each line.
func rev(_ context.Context, p *Process) int {
	all, status := p.allLines(p.Args[1:])
	for _, line := range all {
		runes := []rune(line)
		slices.Reverse(runes)
		p.print(string(runes), "\n")
	}
	return status
}

// nl numbers lines that are not empty.
func nl(_ context.Context, p *Process) int {
	o, names, bad := p.options("b:w:s:n:v:", "body-numbering=b:", "number-width=w:", "number-separator=s:")
	if bad != 0 {
		return bad
	}
	width, separator, n := 6, "\t", 1
	if text, ok := o.value("w"); ok {
		width, _ = number(text)
	}
	if text, ok := o.value("s"); ok {
		separator = text
	}
	if text, ok := o.value("v"); ok {
		n, _ = number(text)
	}
	style, _ := o.value("b")
	all, status := p.allLines(names)
	for _, line := range all {
		if line == "" && style != "a" {
			p.print(strings.Repeat(" ", width+len(separator)), "\n")
			continue
		}
		fprintf(p.Stdout, "%*d%s%s\n", min(width, 1000), n, separator, line)
		n++
	}
	return status
}

// fold wraps lines.
func fold(_ context.Context, p *Process) int {
	o, names, bad := p.options("w:sb", "width=w:", "spaces=s", "bytes=b")
	if bad != 0 {
		return bad
	}
	width := 80
	if text, ok := o.value("w"); ok {
		width, ok = number(text)
		if !ok || width < 1 {
			return p.fail(1, "invalid number of columns: %s", quote(text))
		}
	}
	all, status := p.allLines(names)
	for _, line := range all {
		for len(line) > width {
			at := width
			if o.on("s") {
				if i := strings.LastIndexByte(line[:width], ' '); i >= 0 {
					at = i + 1
				}
			}
			p.print(line[:at], "\n")
			line = line[at:]
		}
		p.print(line, "\n")
	}
	return status
}

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
	for _, left := range a {
		key, rest := split(left)
		for _, right := range b {
			if other, more := split(right); other == key {
				out := key
				for _, part := range []string{rest, more} {
					if part != "" {
						out += separator + part
					}
				}
				p.print(out, "\n")
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

// shuf prints lines, or with -i or -e numbers or words, in random order.
func shuf(_ context.Context, p *Process) int {
	o, names, bad := p.options("n:i:er", "head-count=n:", "input-range=i:", "echo=e")
	if bad != 0 {
		return bad
	}
	var all []string
	status := 0
	spec, isRange := o.value("i")
	switch {
	case isRange:
		low, high, _ := strings.Cut(spec, "-")
		from, okFrom := number(low)
		to, okTo := number(high)
		if !okFrom || !okTo || to-from > maxMatches {
			return p.fail(1, "invalid input range: %s", quote(spec))
		}
		for n := from; n <= to; n++ {
			all = append(all, itoa(n))
		}
	case o.on("e"):
		all = names
	default:
		all, status = p.allLines(names)
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if text, ok := o.value("n"); ok {
		n, _ := number(text)
		all = all[:min(max(n, 0), len(all))]
	}
	for _, line := range all {
		p.print(line, "\n")
	}
	return status
}

// split writes the pieces of a file to files with the names prefixaa, prefixab, …
func split(_ context.Context, p *Process) int {
	o, names, bad := p.options("l:b:a:d", "lines=l:", "bytes=b:", "suffix-length=a:", "numeric-suffixes=d")
	if bad != 0 {
		return bad
	}
	file, prefix := "-", "x"
	if len(names) > 0 {
		file = names[0]
	}
	if len(names) > 1 {
		prefix = names[1]
	}
	in, err := p.input(file)
	if err != nil {
		return p.fail(1, "cannot open %s for reading: %s", quote(file), errText(err))
	}
	defer shut(in)
	data, err := p.readAll(in)
	if err != nil {
		return p.fail(1, "%s: %s", file, errText(err))
	}
	var pieces []string
	if text, ok := o.value("b"); ok {
		size, valid := parseSize(text)
		if !valid || size < 1 {
			return p.fail(1, "invalid number of bytes: %s", quote(text))
		}
		for rest := string(data); rest != ""; {
			n := min(len(rest), int(size))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
	} else {
		count := 1000
		if text, ok := o.value("l"); ok {
			if count, ok = number(text); !ok || count < 1 {
				return p.fail(1, "invalid number of lines: %s", quote(text))
			}
		}
		all := dropEmpty(strings.SplitAfter(string(data), "\n"))
		for part := range slices.Chunk(all, count) {
			pieces = append(pieces, strings.Join(part, ""))
		}
	}
	for i, piece := range pieces {
		suffix := string(rune('a'+i/26%26)) + string(rune('a'+i%26))
		if o.on("d") {
			suffix = padded(i, 2)
		}
		if err := p.FS.WriteFile(p.Path(prefix+suffix), []byte(piece), 0o666); err != nil {
			return p.fail(1, "%s: %s", prefix+suffix, errText(err))
		}
	}
	return 0
}

// od dumps bytes in octal, hexadecimal or as characters.
func od(_ context.Context, p *Process) int {
	o, names, bad := p.options("A:t:vcxN:w:", "address-radix=A:", "format=t:", "read-bytes=N:")
	if bad != 0 {
		return bad
	}
	format := "o2"
	if text, ok := o.value("t"); ok {
		format = text
	} else if o.on("c") {
		format = "c"
	}
	radix := "o"
	if text, ok := o.value("A"); ok {
		radix = text
	}
	var data []byte
	status := p.inputs(names, func(_ string, r io.Reader) error {
		if text, ok := o.value("N"); ok {
			n, _ := number(text)
			r = io.LimitReader(r, int64(n))
		}
		more, err := p.readAll(r)
		data = append(data, more...)
		return err
	})
	address := func(n int) string {
		switch radix {
		case "n":
			return ""
		case "x":
			return padLeft(strings.ToLower(hexOf(n)), 6)
		case "d":
			return padded(n, 7)
		}
		return padLeft(octal(n), 7)
	}
	for at := 0; at < len(data); at += 16 {
		p.print(address(at))
		for _, c := range data[at:min(len(data), at+16)] {
			switch format {
			case "x1", "xC":
				p.print(" ", hex.EncodeToString([]byte{c}))
			case "u1":
				p.print(padSpaces(itoa(int(c)), 4))
			case "o1":
				p.print(" ", padLeft(octal(int(c)), 3))
			case "c", "a":
				p.print(padSpaces(charName(c), 4))
			default:
				return p.fail(2, "format %s is not supported by this machine", format)
			}
		}
		p.print("\n")
	}
	if radix != "n" {
		p.print(address(len(data)), "\n")
	}
	return status
}

func charName(c byte) string {
	if at := strings.IndexByte("\x00\a\b\t\n\v\f\r", c); at >= 0 {
		return `\` + "0abtnvfr"[at:at+1]
	}
	if c >= ' ' && c < 127 {
		return string(rune(c))
	}
	return padLeft(octal(int(c)), 3)
}

func octal(n int) string { return numeral(n, 8) }
func hexOf(n int) string { return numeral(n, 16) }

func numeral(n, base int) string {
	if n == 0 {
		return "0"
	}
	s := ""
	for ; n > 0; n /= base {
		s = "0123456789abcdef"[n%base:n%base+1] + s
	}
	return s
}

func padLeft(s string, width int) string   { return strings.Repeat("0", max(0, width-len(s))) + s }
func padSpaces(s string, width int) string { return strings.Repeat(" ", max(0, width-len(s))) + s }

// xxd dumps bytes in hexadecimal, or with -r reads such a dump.
func xxd(_ context.Context, p *Process) int {
	o, names, bad := p.options("prc:l:ui", "plain=p", "revert=r", "cols=c:", "len=l:")
	if bad != 0 {
		return bad
	}
	var data []byte
	status := p.inputs(names, func(_ string, r io.Reader) error {
		if text, ok := o.value("l"); ok {
			n, _ := number(text)
			r = io.LimitReader(r, int64(n))
		}
		var err error
		data, err = p.readAll(r)
		return err
	})
	switch {
	case o.on("r") && o.on("p"):
		raw, _ := hex.DecodeString(strings.Join(strings.Fields(string(data)), "")) // up to what is invalid
		p.print(string(raw))
	case o.on("r"):
		return p.fail(2, "-r without -p is not supported by this machine")
	case o.on("p"):
		width := 30
		if text, ok := o.value("c"); ok {
			width, _ = number(text)
		}
		for part := range slices.Chunk(data, max(1, width)) {
			p.print(hex.EncodeToString(part), "\n")
		}
	default:
		for at := 0; at < len(data); at += 16 {
			line := data[at:min(len(data), at+16)]
			var cells, text strings.Builder
			for i, c := range line {
				if i%2 == 0 {
					cells.WriteByte(' ')
				}
				cells.WriteString(hex.EncodeToString([]byte{c}))
				if c < ' ' || c > '~' {
					c = '.'
				}
				text.WriteByte(c)
			}
			fprintf(p.Stdout, "%08x:%-40s  %s\n", at, cells.String(), text.String())
		}
	}
	return status
}

// envsubst replaces $NAME and ${NAME}.
func envsubst(_ context.Context, p *Process) int {
	allowed := ""
	if len(p.Args) > 1 {
		allowed = p.Args[1]
	}
	data, err := p.readAll(p.Stdin)
	if err != nil {
		return p.fail(1, "%s", errText(err))
	}
	p.print(os.Expand(escapeDollars(string(data)), func(name string) string {
		if name == "\x00" {
			return "$"
		}
		if allowed != "" && !strings.Contains(allowed, "$"+name) && !strings.Contains(allowed, "${"+name+"}") {
			return "${" + name + "}"
		}
		return p.Env[name]
	}))
	return 0
}

// escapeDollars protects the dollars that do not start a variable.
func escapeDollars(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		b.WriteByte(s[i])
		if s[i] != '$' {
			continue
		}
		rest := strings.TrimPrefix(s[i+1:], "{")
		if rest == "" || !validName(rest[:1]) || strings.HasPrefix(s[i+1:], "{") && !strings.Contains(rest, "}") {
			b.WriteString("{\x00}")
		}
	}
	return b.String()
}

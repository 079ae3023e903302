package sandbox

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/textdiff"
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
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] }) //nolint:gosec // not a secret
	if text, ok := o.value("n"); ok {
		n, _ := number(text)
		all = all[:min(max(n, 0), len(all))]
	}
	for _, line := range all {
		p.print(line, "\n")
	}
	return status
}

// split writes the pieces of a file to files with the names prefixaa, prefixab and so on.
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
		all := textdiff.Lines(string(data))
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

package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// allLines returns the lines of all inputs, without newlines.
func (p *Process) allLines(names []string) ([]string, int) {
	var all []string
	status := p.inputs(names, func(_ string, r io.Reader) error {
		return p.keepLines(r, &all)
	})
	return all, status
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

func uniq(_ context.Context, p *Process) int {
	o, names, bad := p.options("cduif:s:w:z", "count=c", "repeated=d", "unique=u", "ignore-case=i", "skip-fields=f:", "skip-chars=s:",
		"check-chars=w:", "zero-terminated=z")
	if bad != 0 {
		return bad
	}
	key, bad := uniqKey(p, o)
	if bad != 0 {
		return bad
	}
	const most = 2
	if len(names) > most {
		return p.fail(1, "extra operand %s", p.quote(names[most]))
	}
	if len(names) == most {
		out, err := p.FS.OpenFile(p.Path(names[1]), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
		if err != nil {
			return p.fail(1, "%s: %s", names[1], errText(err))
		}
		defer shut(out)
		p.Stdout, names = out, names[:1]
	}
	all, status := p.linesTo(names, o.on("z"))
	end := lineEnd(o.on("z"))
	for i := 0; i < len(all); {
		n := 1
		for first := key(all[i]); i+n < len(all) && key(all[i+n]) == first; {
			n++
		}
		if (n > 1 || !o.on("d")) && (n == 1 || !o.on("u")) {
			if o.on("c") {
				fprintf(p.Stdout, "%7d ", n)
			}
			p.print(all[i], end)
		}
		i += n
	}
	return status
}

// uniqKey returns the part of a line that uniq compares.
func uniqKey(p *Process, o opts) (key func(string) string, bad int) {
	counts := map[string]int{"f": 0, "s": 0, "w": math.MaxInt}
	for name := range counts {
		if text, ok := o.value(name); ok {
			n, ok := number(text)
			if !ok {
				return nil, p.fail(1, "%s: invalid number of %s", text, map[string]string{"f": "fields to skip", "s": "bytes to skip", "w": "bytes to compare"}[name])
			}
			counts[name] = n
		}
	}
	return func(line string) string {
		for range counts["f"] {
			line = strings.TrimLeft(line, " \t")
			line = line[len(line)-len(strings.TrimLeftFunc(line, func(c rune) bool { return c != ' ' && c != '\t' })):]
		}
		line = line[min(len(line), counts["s"]):]
		line = line[:min(len(line), counts["w"])]
		if o.on("i") {
			return strings.ToLower(line)
		}
		return line
	}, 0
}

// linesTo returns the lines of all inputs, which a zero byte ends instead of a newline
// if zero is set.
func (p *Process) linesTo(names []string, zero bool) ([]string, int) {
	if !zero {
		return p.allLines(names)
	}
	var all []string
	status := p.inputs(names, func(_ string, r io.Reader) error {
		data, err := p.readAll(r)
		if len(data) > 0 {
			all = append(all, strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")...)
		}
		return err
	})
	return all, status
}

func lineEnd(zero bool) string {
	if zero {
		return "\x00"
	}
	return "\n"
}

// ranges parses a list such as "1,3-5,7-" into a predicate on positions, which
// start at 1.
func ranges(spec string) (func(int) bool, bool) {
	type span struct{ from, to int }
	var spans []span
	for part := range strings.SplitSeq(spec, ",") {
		begin, end, isRange := strings.Cut(part, "-")
		from, okFrom := number(begin)
		to, okTo := number(end)
		switch {
		case !isRange && okFrom && from > 0:
			to = from
		case isRange && begin == "" && okTo:
			from = 1
		case isRange && end == "" && okFrom:
			to = math.MaxInt
		case !isRange || !okFrom || !okTo:
			return nil, false
		}
		spans = append(spans, span{from, to})
	}
	return func(n int) bool {
		return slices.ContainsFunc(spans, func(s span) bool { return s.from <= n && n <= s.to })
	}, true
}

func cut(_ context.Context, p *Process) int {
	o, names, bad := p.options("d:f:c:b:szn", "zero-terminated=z", "delimiter=d:", "fields=f:", "characters=c:", "bytes=b:", "only-delimited=s",
		"output-delimiter=o:", "complement=C")
	if bad != 0 {
		return bad
	}
	delimiter, ok := o.value("d")
	if !ok {
		delimiter = "\t"
	}
	join, ok := o.value("o")
	if !ok {
		join = delimiter
	}
	how := o.last("fcb")
	if how == "" {
		return p.tryHelp("you must specify a list of bytes, characters, or fields")
	}
	spec, _ := o.value(how)
	wanted, ok := ranges(spec)
	if !ok {
		return p.tryHelp("invalid field range")
	}
	all, status := p.linesTo(names, o.on("z"))
	end := lineEnd(o.on("z"))
	for _, line := range all {
		pieces := strings.Split(line, "")
		if how == "f" {
			if pieces = strings.Split(line, delimiter); len(pieces) == 1 {
				if !o.on("s") {
					p.print(line, end)
				}
				continue
			}
		}
		var kept []string
		for i, piece := range pieces {
			if wanted(i+1) != o.on("C") {
				kept = append(kept, piece)
			}
		}
		if how == "f" {
			p.print(strings.Join(kept, join), end)
		} else {
			p.print(strings.Join(kept, ""), end)
		}
	}
	return status
}

// characters expands the ranges, escapes and classes of a set for tr.
func characters(spec string) []byte {
	for name, all := range map[string]string{
		"[:upper:]": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "[:lower:]": "abcdefghijklmnopqrstuvwxyz", "[:digit:]": "0123456789",
		"[:space:]": "\\t\\n\\v\\f\\r ", "[:blank:]": "\\t ",
		"[:alpha:]": "A-Za-z", "[:alnum:]": "A-Za-z0-9", "[:punct:]": "!-/:-@[-`{-~", "[:cntrl:]": "\x01-\x1f\x7f", "[:print:]": " -~",
	} {
		spec = strings.ReplaceAll(spec, name, all)
	}
	var out []byte
	for i := 0; i < len(spec); i++ {
		c := spec[i]
		if c == '\\' && i+1 < len(spec) {
			i++
			switch spec[i] {
			case 'n':
				c = '\n'
			case 't':
				c = '\t'
			case 'r':
				c = '\r'
			case 'v':
				c = '\v'
			case 'f':
				c = '\f'
			case '0', '1', '2', '3', '4', '5', '6', '7':
				end := i
				for end < len(spec) && end < i+3 && spec[end] >= '0' && spec[end] <= '7' {
					end++
				}
				n, _ := strconv.ParseUint(spec[i:end], 8, 8)
				c, i = byte(n), end-1
			default:
				c = spec[i]
			}
			out = append(out, c)
			continue
		}
		if i+2 < len(spec) && spec[i+1] == '-' && spec[i+2] >= c {
			for x := int(c); x <= int(spec[i+2]); x++ {
				out = append(out, byte(x)) //nolint:gosec // between two bytes
			}
			i += 2
			continue
		}
		out = append(out, c)
	}
	return out
}

func tr(_ context.Context, p *Process) int {
	o, sets, bad := p.options("+dscC", "delete=d", "squeeze-repeats=s", "complement=c")
	if bad != 0 {
		return bad
	}
	if len(sets) == 0 || len(sets) < 2 && !o.on("d") && !o.on("s") {
		return p.fail(1, "missing operand")
	}
	from := characters(sets[0])
	if o.on("c") || o.on("C") {
		var rest []byte
		for x := range 256 {
			if bytes.IndexByte(from, byte(x)) < 0 {
				rest = append(rest, byte(x))
			}
		}
		from = rest
	}
	squeeze := from
	var to []byte
	if len(sets) > 1 {
		to = characters(sets[1])
		squeeze = to
	}
	data, out, last := make([]byte, maxChunk), make([]byte, 0, maxChunk), -1
	for {
		n, err := p.Stdin.Read(data)
		out = out[:0]
		for _, c := range data[:n] {
			at := bytes.IndexByte(from, c)
			if at >= 0 && o.on("d") {
				continue
			}
			if at >= 0 && len(to) > 0 {
				c = to[min(at, len(to)-1)]
			}
			if o.on("s") && last == int(c) && bytes.IndexByte(squeeze, c) >= 0 {
				continue
			}
			out, last = append(out, c), int(c)
		}
		if _, err := p.Stdout.Write(out); errors.Is(err, syscall.EPIPE) {
			return signal("PIPE").status()
		} else if err != nil {
			return p.fail(1, "write error: %s", errText(err))
		}
		if errors.Is(err, io.EOF) {
			return 0
		}
		if err != nil {
			return p.fail(1, "%s", errText(err))
		}
	}
}

func yes(ctx context.Context, p *Process) int {
	text := "y"
	if len(p.Args) > 1 {
		text = strings.Join(p.Args[1:], " ")
	}
	block := strings.Repeat(text+"\n", 512)
	for ctx.Err() == nil && p.print(block) {
	}
	return 1
}

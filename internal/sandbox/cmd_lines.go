package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
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
	o, names, bad := p.options("cdui", "count=c", "repeated=d", "unique=u", "ignore-case=i")
	if bad != 0 {
		return bad
	}
	all, status := p.allLines(names)
	for i := 0; i < len(all); {
		n := 1
		for i+n < len(all) && (all[i+n] == all[i] || o.on("i") && strings.EqualFold(all[i+n], all[i])) {
			n++
		}
		if (n > 1 || !o.on("d")) && (n == 1 || !o.on("u")) {
			if o.on("c") {
				fprintf(p.Stdout, "%7d ", n)
			}
			p.print(all[i], "\n")
		}
		i += n
	}
	return status
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
	o, names, bad := p.options("d:f:c:b:s", "delimiter=d:", "fields=f:", "characters=c:", "bytes=b:", "only-delimited=s",
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
		return p.fail(1, "you must specify a list of bytes, characters, or fields")
	}
	spec, _ := o.value(how)
	wanted, ok := ranges(spec)
	if !ok {
		return p.fail(1, "invalid field range: %s", quote(spec))
	}
	all, status := p.allLines(names)
	for _, line := range all {
		pieces := strings.Split(line, "")
		if how == "f" {
			if pieces = strings.Split(line, delimiter); len(pieces) == 1 {
				if !o.on("s") {
					p.print(line, "\n")
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
			p.print(strings.Join(kept, join), "\n")
		} else {
			p.print(strings.Join(kept, ""), "\n")
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
		if _, err := p.Stdout.Write(out); err != nil {
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

func seq(_ context.Context, p *Process) int {
	separator, args := "\n", p.Args[1:]
	equal := len(args) > 0 && (args[0] == "-w" || args[0] == "--equal-width")
	if equal {
		args = args[1:]
	}
	if len(args) > 1 && args[0] == "-s" {
		separator, args = args[1], args[2:]
	} else if len(args) > 0 && strings.HasPrefix(args[0], "-s") {
		separator, args = args[0][2:], args[1:]
	}
	nums := make([]int, len(args))
	for i, arg := range args {
		n, err := strconv.Atoi(arg)
		if err != nil {
			return p.fail(1, "invalid integer argument: %s", quote(arg))
		}
		nums[i] = n
	}
	from, step, to := 1, 1, 0
	switch len(nums) {
	case 1:
		to = nums[0]
	case 2:
		from, to = nums[0], nums[1]
	case 3:
		from, step, to = nums[0], nums[1], nums[2]
	default:
		return p.fail(1, "missing operand")
	}
	if step == 0 {
		return p.fail(1, "invalid Zero increment value: '0'")
	}
	between := ""
	for n := from; step > 0 && n <= to || step < 0 && n >= to; n += step {
		text := itoa(n)
		if equal {
			text = padded(n, max(len(itoa(from)), len(itoa(to))))
		}
		if !p.print(between, text) {
			return 1
		}
		between = separator
	}
	if between != "" {
		p.print("\n")
	}
	return 0
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

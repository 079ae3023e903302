package sandbox

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
)

func sortCommand(_ context.Context, p *Process) int {
	o, names, bad := p.options("urnfVbk:t:o:csz", "zero-terminated=z", "field-separator=t:", "stable=s", "check=c", "ignore-case=f", "unique=u", "reverse=r", "numeric-sort=n", "version-sort=V", "key=k:", "output=o:")
	if bad != 0 {
		return bad
	}
	all, status := p.allLines(names)
	end := "\n"
	if o.on("z") {
		end = "\x00"
		all = strings.Split(strings.TrimSuffix(strings.Join(all, "\n"), end), end)
	}
	separator, _ := o.value("t")
	key := func(line string) string { return line }
	numeric, reverse := o.on("n"), o.on("r")
	if spec, ok := o.value("k"); ok {
		begin, end, _ := strings.Cut(spec, ",")
		numeric = numeric || strings.Contains(begin, "n") || strings.Contains(end, "n")
		reverse = reverse || strings.Contains(begin, "r") || strings.Contains(end, "r")
		from, okFrom := number(strings.TrimRight(begin, "nrbf"))
		to, okTo := number(strings.TrimRight(end, "nrbf"))
		if !okFrom || from == 0 || end != "" && !okTo {
			return p.fail(2, "key %s is not supported by this machine", quote(spec))
		}
		key = func(line string) string {
			fields := strings.Fields(line)
			if separator != "" {
				fields = strings.Split(line, separator)
			}
			last := len(fields)
			if end != "" {
				last = min(last, to)
			}
			if from > last {
				return ""
			}
			return strings.Join(fields[from-1:last], separator+" ")
		}
	}
	compare := func(a, b string) int {
		ka, kb := key(a), key(b)
		switch {
		case numeric:
			if c := leadingNumber(ka) - leadingNumber(kb); c != 0 {
				return int(math.Copysign(1, c))
			}
			return 0
		case o.on("V"):
			return compareVersions(ka, kb)
		case o.on("f"):
			return strings.Compare(strings.ToLower(ka), strings.ToLower(kb))
		}
		return strings.Compare(ka, kb)
	}
	full := func(a, b string) int {
		c := compare(a, b)
		if c == 0 && !o.on("s") && !o.on("u") {
			c = strings.Compare(a, b)
		}
		if reverse {
			return -c
		}
		return c
	}
	if o.on("c") {
		if !slices.IsSortedFunc(all, full) {
			return p.fail(1, "disorder")
		}
		return 0
	}
	slices.SortStableFunc(all, full)
	if o.on("u") {
		all = slices.CompactFunc(all, func(a, b string) bool { return compare(a, b) == 0 })
	}
	var out strings.Builder
	for _, line := range all {
		out.WriteString(line + end)
	}
	if file, ok := o.value("o"); ok {
		if err := p.FS.WriteFile(p.Path(file), []byte(out.String()), 0o666); err != nil {
			return p.fail(2, "%s: %s", file, errText(err))
		}
		return status
	}
	p.print(out.String())
	return status
}

func leadingNumber(s string) float64 {
	s = strings.TrimLeft(s, " \t")
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || s[end] == '.' || s[end] == '-' && end == 0) {
		end++
	}
	n, _ := strconv.ParseFloat(s[:end], 64) // zero if it is not a number
	return n
}

package sandbox

import (
	ordered "cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// A sorter is a run of sort.
type sorter struct {
	keys      []sortKey
	separator string // empty means that blanks separate fields
	how       string // the ordering options for the whole line
	stable    bool
}

// A sortKey is a part of a line, from a character of a field to one of another.
// Numbers start at 1; a zero end is the end of the line or of the field.
type sortKey struct {
	from, fromChar, to, toChar int
	how                        string // ordering options; empty means those of sort
}

const orderOptions = "bdfgihMnRrV"

func sortCommand(_ context.Context, p *Process) int {
	o, names, bad := p.options("bdfgihMnRrVuk:t:o:csCmzS:T:", "zero-terminated=z", "field-separator=t:", "stable=s", "check=c", "ignore-case=f",
		"unique=u", "reverse=r", "numeric-sort=n", "version-sort=V", "key=k:", "output=o:", "human-numeric-sort=h", "general-numeric-sort=g",
		"month-sort=M", "random-sort=R", "dictionary-order=d", "ignore-nonprinting=i", "ignore-leading-blanks=b", "merge=m",
		"parallel=P:", "buffer-size=S:", "temporary-directory=T:")
	if bad != 0 {
		return bad
	}
	s := &sorter{stable: o.on("s") || o.on("u")}
	s.separator, _ = o.value("t")
	if s.separator == `\0` {
		s.separator = "\x00"
	}
	for _, g := range o.given {
		if len(g.name) == 1 && strings.Contains(orderOptions, g.name) {
			s.how += g.name
		}
	}
	for _, spec := range o.values("k") {
		key, ok := parseSortKey(spec)
		if !ok {
			return p.fail(2, "invalid number at field start: invalid count at start of %s", p.quote(spec))
		}
		s.keys = append(s.keys, key)
	}
	if len(s.keys) == 0 {
		s.keys = []sortKey{{from: 1}}
	}
	all, status := p.sortLines(names, o.on("z"))
	if status != 0 {
		return status
	}
	if o.on("c") || o.on("C") {
		return p.sorted(s, all, names, o)
	}
	if strings.Contains(s.how, "R") {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] }) //nolint:gosec // not a secret
	} else {
		slices.SortStableFunc(all, s.compare)
	}
	if o.on("u") {
		all = slices.CompactFunc(all, func(a, b string) bool { return s.byKeys(a, b) == 0 })
	}
	var out strings.Builder
	for _, line := range all {
		out.WriteString(line + lineEnd(o.on("z")))
	}
	if file, ok := o.value("o"); ok {
		if err := p.FS.WriteFile(p.Path(file), []byte(out.String()), 0o666); err != nil {
			return p.fail(2, "open failed: %s: %s", file, errText(err))
		}
		return 0
	}
	p.print(out.String())
	return 0
}

// sortLines returns the lines of all inputs, or the status to exit with.
func (p *Process) sortLines(names []string, zero bool) ([]string, int) {
	var all []string
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		in, err := p.input(name)
		if err == nil && zero {
			var data []byte
			if data, err = p.readAll(in); len(data) > 0 {
				all = append(all, strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")...)
			}
		} else if err == nil {
			err = p.keepLines(in, &all)
		}
		if err != nil {
			return nil, p.fail(2, "cannot read: %s: %s", name, errText(err))
		}
		_ = in.Close()
	}
	return all, 0
}

// sorted reports the first line that is out of order.
func (p *Process) sorted(s *sorter, all, names []string, o opts) int {
	name := "-"
	if len(names) > 0 {
		name = names[0]
	}
	for i := 1; i < len(all); i++ {
		c := s.compare(all[i-1], all[i])
		if c < 0 || c == 0 && !o.on("u") {
			continue
		}
		if o.on("c") {
			p.fail(1, "%s:%d: disorder: %s", name, i+1, all[i])
		}
		return 1
	}
	return 0
}

// parseSortKey parses FIELD[.CHARACTER][OPTIONS][,FIELD[.CHARACTER][OPTIONS]].
func parseSortKey(spec string) (k sortKey, ok bool) {
	part := func(text string) (field, char int, ok bool) {
		n := len(strings.TrimRight(text, orderOptions))
		k.how += text[n:]
		f, c, dotted := strings.Cut(text[:n], ".")
		field, ok = number(f)
		if ok && dotted {
			char, ok = number(c)
		}
		return field, char, ok
	}
	begin, end, ended := strings.Cut(spec, ",")
	if k.from, k.fromChar, ok = part(begin); !ok || k.from == 0 {
		return k, false
	}
	if ended {
		k.to, k.toChar, ok = part(end)
	}
	return k, ok
}

// compare orders two lines by the keys, and then by all their bytes.
func (s *sorter) compare(a, b string) int {
	if c := s.byKeys(a, b); c != 0 || s.stable {
		return c
	}
	c := strings.Compare(a, b)
	if strings.Contains(s.how, "r") {
		return -c
	}
	return c
}

func (s *sorter) byKeys(a, b string) int {
	for i := range s.keys {
		k := &s.keys[i]
		how := k.how
		if how == "" {
			how = s.how
		}
		c := compareBy(how, s.part(a, k, how), s.part(b, k, how))
		if c == 0 {
			continue
		}
		if strings.Contains(how, "r") {
			return -c
		}
		return c
	}
	return 0
}

// part returns the part of a line that is the key.
func (s *sorter) part(line string, k *sortKey, how string) string {
	blanks := strings.Contains(how, "b")
	begin := s.fieldStart(line, k.from)
	if blanks {
		begin += leadingBlanks(line[begin:])
	}
	begin = min(len(line), begin+min(len(line), max(0, k.fromChar-1)))
	end := len(line)
	switch {
	case k.to > 0 && k.toChar == 0:
		end = s.fieldEnd(line, k.to)
	case k.to > 0:
		end = s.fieldStart(line, k.to)
		if blanks {
			end += leadingBlanks(line[end:])
		}
		end = min(len(line), end+min(len(line), k.toChar))
	}
	return line[begin:max(begin, end)]
}

// fieldStart returns where the nth field begins. Without a separator the blanks before
// a field belong to it.
func (s *sorter) fieldStart(line string, n int) int {
	at := 0
	for ; n > 1 && at < len(line); n-- {
		at = s.endFrom(line, at)
		if s.separator != "" {
			at = min(len(line), at+len(s.separator))
		}
	}
	return at
}

func (s *sorter) fieldEnd(line string, n int) int { return s.endFrom(line, s.fieldStart(line, n)) }

func (s *sorter) endFrom(line string, at int) int {
	if s.separator != "" {
		if i := strings.Index(line[at:], s.separator); i >= 0 {
			return at + i
		}
		return len(line)
	}
	at += leadingBlanks(line[at:])
	if i := strings.IndexAny(line[at:], " \t"); i >= 0 {
		return at + i
	}
	return len(line)
}

func leadingBlanks(s string) int { return len(s) - len(strings.TrimLeft(s, " \t")) }

// compareBy compares two keys by ordering options.
func compareBy(how, a, b string) int {
	has := func(option string) bool { return strings.Contains(how, option) }
	switch {
	case has("n"):
		return compareDecimals(a, b)
	case has("g"):
		return ordered.Compare(generalNumber(a), generalNumber(b))
	case has("h"):
		if c := ordered.Compare(unitOrder(a), unitOrder(b)); c != 0 {
			return c
		}
		return compareDecimals(a, b)
	case has("M"):
		return ordered.Compare(monthNumber(a), monthNumber(b))
	case has("V"):
		return compareVersions(a, b)
	}
	if has("d") || has("i") {
		keep := func(c rune) rune {
			letter := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == ' ' || c == '\t'
			if has("d") && !letter || c < ' ' || c > '~' {
				return -1
			}
			return c
		}
		a, b = strings.Map(keep, a), strings.Map(keep, b)
	}
	if has("f") {
		a, b = strings.ToUpper(a), strings.ToUpper(b)
	}
	return strings.Compare(a, b)
}

// compareDecimals compares the decimal numbers at the beginning of two texts, however
// long they are. Other texts count as zero.
func compareDecimals(a, b string) int {
	negA, wholeA, restA := decimal(a)
	negB, wholeB, restB := decimal(b)
	if negA != negB {
		if negA {
			return -1
		}
		return 1
	}
	c := ordered.Or(ordered.Compare(len(wholeA), len(wholeB)), ordered.Compare(wholeA, wholeB), ordered.Compare(restA, restB))
	if negA {
		return -c
	}
	return c
}

// decimal splits the number at the beginning of a text, without leading and trailing
// zeros.
func decimal(s string) (negative bool, whole, fraction string) {
	s, negative = strings.CutPrefix(strings.TrimLeft(s, " \t"), "-")
	n := digits(s)
	whole = strings.TrimLeft(s[:n], "0")
	if rest, ok := strings.CutPrefix(s[n:], "."); ok {
		fraction = strings.TrimRight(rest[:digits(rest)], "0")
	}
	return negative && whole+fraction != "", whole, fraction
}

// generalNumber parses the longest beginning that is a floating-point number. Other
// texts sort first.
func generalNumber(s string) float64 {
	s = strings.TrimLeft(s, " \t")
	end := len(s)
	if i := strings.IndexFunc(s, func(c rune) bool { return !strings.ContainsRune("0123456789+-.eExXabcdfABCDFinfINFNanpP", c) }); i >= 0 {
		end = i
	}
	for ; end > 0; end-- {
		if n, err := strconv.ParseFloat(s[:end], 64); err == nil {
			return n
		}
	}
	return -1e308
}

// unitOrder ranks a number with a unit by its sign and its unit: 2K is less than 1M.
func unitOrder(s string) int {
	negative, whole, fraction := decimal(s)
	rest := strings.TrimLeft(strings.TrimLeft(s, " \t"), "-0123456789.")
	unit := 0
	if rest != "" && whole+fraction != "" {
		unit = strings.IndexByte("KMGTPEZY", rest[0]&^0x20) + 1
	}
	switch {
	case negative:
		return -unit - 1
	case whole+fraction == "":
		return 0
	}
	return unit + 1
}

// monthNumber returns the number of the month at the beginning, or 0.
func monthNumber(s string) int {
	s = strings.TrimLeft(s, " \t")
	const letters = 3
	if len(s) < letters {
		return 0
	}
	at := strings.Index("JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC", strings.ToUpper(s[:letters]))
	if at < 0 || at%letters != 0 {
		return 0
	}
	return at/letters + 1
}

package amicleanup

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A pattern is a compiled Select.Name. It matches whole names.
type pattern struct {
	re     *regexp.Regexp
	layout string // of the time in {time:LAYOUT}
	group  string // the group if the pattern has no {group}
	glob   string // a filter of EC2 that matches at least the same names; empty means none

	stamped, versioned bool // whether it captures a timestamp or a version
}

var anyName = regexp.MustCompile(`(?s)^.*$`)

// The captures of a pattern.
const (
	groupCapture   = "group"
	stampCapture   = "stamp"
	versionCapture = "version"
)

func compile(text string) (*pattern, error) {
	p := &pattern{}
	if text == "" {
		p.re = anyName
		return p, nil
	}
	var re, glob, fixed strings.Builder
	re.WriteString("(?s)^")
	for rest := text; rest != ""; {
		cut := strings.IndexAny(rest, "{}*")
		if cut < 0 {
			cut = len(rest)
		}
		literal := rest[:cut]
		re.WriteString(regexp.QuoteMeta(literal))
		glob.WriteString(literal)
		fixed.WriteString(literal)
		if rest = rest[cut:]; rest == "" {
			break
		}
		word := rest[:1]
		if word == "{" {
			end := strings.IndexByte(rest, '}')
			if end < 0 {
				return nil, fmt.Errorf("%q: missing closing brace", text)
			}
			word = rest[:end+1]
		}
		part, err := p.placeholder(word, re.String())
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		re.WriteString(part)
		glob.WriteByte('*')
		rest = rest[len(word):]
	}
	re.WriteByte('$')
	var err error
	if p.re, err = regexp.Compile(re.String()); err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	p.group = cmp.Or(strings.TrimRight(fixed.String(), " -_./"), text)
	if g := glob.String(); !strings.HasPrefix(g, "*") && !strings.ContainsAny(g, `?[]\`) {
		p.glob = g
	}
	return p, nil
}

// placeholder returns the expression for word; before is the expression so far.
func (p *pattern) placeholder(word, before string) (string, error) {
	layout, isTime := strings.CutPrefix(strings.TrimSuffix(word, "}"), "{time:")
	switch {
	case word == "*":
		return ".*", nil
	case word == "{group}" && !strings.Contains(before, "<"+groupCapture+">"):
		return "(?P<" + groupCapture + ">.+)", nil
	case word == "{unix}" && !p.stamped:
		p.stamped = true
		return "(?P<" + stampCapture + ">[0-9]+)", nil
	case isTime && layout != "" && !p.stamped:
		p.stamped, p.layout = true, layout
		return fmt.Sprintf("(?P<%s>.{%d})", stampCapture, len(layout)), nil
	case word == "{version}" && !p.versioned:
		p.versioned = true
		return "(?P<" + versionCapture + ">v?[0-9].*?)", nil
	case word == "{group}", word == "{unix}", word == "{version}", isTime && layout != "":
		return "", fmt.Errorf("duplicate %s", word)
	default:
		return "", fmt.Errorf("unknown placeholder %s, want {group}, {unix}, {time:LAYOUT}, {version} or *", word)
	}
}

// A parsedName holds the captures of a pattern.
type parsedName struct{ group, stamp, version string }

// match parses name, and reports whether it matches.
func (p *pattern) match(name string) (got parsedName, ok bool) {
	m := p.re.FindStringSubmatch(name)
	if m == nil {
		return parsedName{}, false
	}
	got.group = p.group
	for i, capture := range p.re.SubexpNames() {
		switch capture {
		case groupCapture:
			got.group = m[i]
		case stampCapture:
			got.stamp = m[i]
		case versionCapture:
			got.version = m[i]
		}
	}
	return got, true
}

// A timestamp in seconds since 1970 has 9 to 11 digits: it lies between 1973 and
// 5138. Milliseconds and 20060102150405 do not fit.
const (
	fewestUnixDigits = 9
	mostUnixDigits   = 11
)

// parse returns the time of a captured timestamp.
func (p *pattern) parse(stamp string) (time.Time, error) {
	if p.layout != "" {
		t, err := time.Parse(p.layout, stamp)
		if err != nil {
			return time.Time{}, fmt.Errorf("timestamp %q does not match %q", stamp, p.layout)
		}
		return t.UTC(), nil
	}
	return parseUnix(stamp)
}

// parseUnix parses seconds since 1970.
func parseUnix(stamp string) (time.Time, error) {
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || len(stamp) < fewestUnixDigits || len(stamp) > mostUnixDigits || stamp[0] == '0' {
		return time.Time{}, fmt.Errorf("timestamp %q is not in seconds since 1970", stamp)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

package amicleanup

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A pattern is Select.Name compiled: the whole name must match.
type pattern struct {
	re      *regexp.Regexp
	layout  string // of the time in {time:LAYOUT}
	group   string // what {group} stands for when the pattern has none
	glob    string // the same for EC2's filter, a little wider; empty is none
	stamped bool
}

var anyName = regexp.MustCompile(`(?s)^.*$`)

// The captures of a pattern.
const (
	groupCapture = "group"
	stampCapture = "stamp"
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
				return nil, fmt.Errorf("%q: a brace is not closed", text)
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

// placeholder returns the expression for word; before is all that precedes it.
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
	case word == "{group}", word == "{unix}", isTime && layout != "":
		return "", fmt.Errorf("%s is one too many", word)
	default:
		return "", fmt.Errorf("%s is not {group}, {unix}, {time:LAYOUT} or *", word)
	}
}

// match reads name; group and stamp are empty when the pattern captures none.
func (p *pattern) match(name string) (group, stamp string, ok bool) {
	m := p.re.FindStringSubmatch(name)
	if m == nil {
		return "", "", false
	}
	group = p.group
	if i := p.re.SubexpIndex(groupCapture); i > 0 {
		group = m[i]
	}
	if i := p.re.SubexpIndex(stampCapture); i > 0 {
		stamp = m[i]
	}
	return group, stamp, true
}

// The seconds since 1970 that are taken for a stamp have 9 to 11 digits: they
// lie between 1973 and 5138. Milliseconds or 20060102150405 are neither.
const (
	fewestUnixDigits = 9
	mostUnixDigits   = 11
)

// parse reads the time in a stamp that match returned.
func (p *pattern) parse(stamp string) (time.Time, error) {
	if p.layout != "" {
		t, err := time.Parse(p.layout, stamp)
		if err != nil {
			return time.Time{}, fmt.Errorf("stamp %q is not like %q", stamp, p.layout)
		}
		return t.UTC(), nil
	}
	return parseUnix(stamp)
}

// parseUnix reads seconds since 1970.
func parseUnix(stamp string) (time.Time, error) {
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || len(stamp) < fewestUnixDigits || len(stamp) > mostUnixDigits || stamp[0] == '0' {
		return time.Time{}, fmt.Errorf("stamp %q is not in seconds since 1970", stamp)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

package ec2test

import (
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// maxFilterValues is EC2's limit of values of one filter.
const maxFilterValues = 200

// filterParam is one filter of a describe call. Filters are joined by and, the
// values of one filter by or; values may have the wildcards * and ?.
type filterParam struct {
	Name  string   `ec2:"Name,required"`
	Value []string `ec2:"Value"`
}

// filters are the filters of one describe action: by name, the values that a
// resource has for it. Every resource with tags also has tag:<key> and
// tag-key.
type filters[T any] map[string]func(c *call, r T) []string

func one(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

func truth(b bool) []string {
	if b {
		return []string{"true"}
	}
	return []string{"false"}
}

// names lists the filters for the coverage page.
func (f filters[T]) names(tagged bool) []string {
	names := make([]string, 0, len(f)+2)
	for name := range f {
		names = append(names, name)
	}
	if tagged {
		names = append(names, "tag:<key>", "tag-key")
	}
	slices.Sort(names)
	return names
}

// matcher is the filters of one request, ready to run.
type matcher[T any] struct {
	tests []func(r T) bool
}

func (m *matcher[T]) match(r T) bool {
	for _, test := range m.tests {
		if !test(r) {
			return false
		}
	}
	return true
}

// compile prepares params. tagsOf is nil for what has no tags.
func (f filters[T]) compile(c *call, params []filterParam, tagsOf func(T) tags) (*matcher[T], *ec2query.Error) {
	m := &matcher[T]{}
	for _, p := range params {
		if len(p.Value) == 0 {
			return nil, ec2query.Errorf("InvalidParameterValue", "The filter '%s' has no values", p.Name)
		}
		if len(p.Value) > maxFilterValues {
			return nil, ec2query.Errorf("FilterLimitExceeded", "The maximum number of filter values specified on a single call is %d", maxFilterValues)
		}
		values := patterns(p.Value)
		key, isTag := strings.CutPrefix(p.Name, "tag:")
		switch get := f[p.Name]; {
		case get != nil:
			m.tests = append(m.tests, func(r T) bool { return values.matchAny(get(c, r)) })
		case isTag && tagsOf != nil:
			m.tests = append(m.tests, func(r T) bool {
				value, ok := tagsOf(r).get(c.now, key)
				return ok && values.match(value)
			})
		case p.Name == "tag-key" && tagsOf != nil:
			m.tests = append(m.tests, func(r T) bool {
				for _, tag := range tagsOf(r).list(c.now) {
					if values.match(tag.Key) {
						return true
					}
				}
				return false
			})
		default:
			return nil, ec2query.Errorf("InvalidParameterValue", "The filter '%s' is invalid", p.Name)
		}
	}
	return m, nil
}

// pattern values of one filter.
type patternSet struct {
	exact map[string]bool
	globs []string
}

func patterns(values []string) patternSet {
	set := patternSet{exact: make(map[string]bool, len(values))}
	for _, v := range values {
		if strings.ContainsAny(v, `*?\`) {
			set.globs = append(set.globs, v)
		} else {
			set.exact[v] = true
		}
	}
	return set
}

func (p patternSet) matchAny(values []string) bool {
	return slices.ContainsFunc(values, p.match)
}

func (p patternSet) match(value string) bool {
	if p.exact[value] {
		return true
	}
	for _, glob := range p.globs {
		if globMatch(glob, value) {
			return true
		}
	}
	return false
}

// globMatch matches EC2's wildcards: * is any number of characters, ? is one,
// and a backslash makes the next character plain.
func globMatch(pattern, s string) bool {
	star, retry := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, retry = p, i
			p++
			continue
		case p < len(pattern) && pattern[p] == '?':
			p++
			i++
			continue
		case p+1 < len(pattern) && pattern[p] == '\\' && pattern[p+1] == s[i]:
			p += 2
			i++
			continue
		case p < len(pattern) && pattern[p] != '\\' && pattern[p] == s[i]:
			p++
			i++
			continue
		}
		if star < 0 {
			return false
		}
		retry++
		p, i = star+1, retry
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

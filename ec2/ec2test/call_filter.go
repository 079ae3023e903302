package ec2test

import (
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// maxFilterValues is EC2's limit on the values of a filter.
const maxFilterValues = 200

// filterParam is a filter of a describe call. A resource must match all
// filters, and any of the values of each. Values may contain the wildcards *
// and ?.
type filterParam struct {
	Name  string   `ec2:"Name,required"`
	Value []string `ec2:"Value"`
}

// filters maps the filter names of a describe call to funcs that return a
// resource's values. Resources with tags also have the filters tag:<key> and
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

// names returns the filter names, sorted, for the coverage page.
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

// matcher holds the compiled filters of a request.
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

// compile compiles the filters of a request. tagsOf is nil for resources
// without tags.
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
			return nil, ec2query.Errorf("InvalidParameterValue", unknownFilter+"%s' is invalid", p.Name)
		}
	}
	return m, nil
}

// patternSet holds the values of a filter.
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

// globMatch reports whether s matches a pattern. In a pattern * stands for any
// number of characters and ? for one; a backslash escapes the next character.
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

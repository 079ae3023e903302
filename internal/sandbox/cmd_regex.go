package sandbox

import (
	"regexp"
	"strings"
)

// compile compiles a POSIX regular expression, basic or extended, or a fixed
// string.
func compile(pattern string, extended, fixed, ignoreCase bool) (*regexp.Regexp, error) {
	switch {
	case fixed:
		pattern = regexp.QuoteMeta(pattern)
	case extended:
		pattern = translate(pattern, true)
	default:
		pattern = translate(pattern, false)
	}
	if ignoreCase {
		pattern = "(?i)" + pattern
	}
	return regexp.Compile(pattern)
}

// translate converts POSIX syntax to that of package regexp. In a basic
// expression, + ? { } ( ) | are literals unless preceded by a backslash.
func translate(pattern string, extended bool) string {
	var b strings.Builder
	start := true // at the start of the expression or a group, where * is a literal
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		wasStart := start
		start = false
		switch {
		case c == '[':
			end := bracketEnd(pattern, i)
			b.WriteString(bracket(pattern[i : end+1]))
			i = end
		case c == '\\' && i+1 < len(pattern):
			i++
			switch next := pattern[i]; {
			case !extended && strings.IndexByte("+?{}()|", next) >= 0:
				b.WriteByte(next)
				start = next == '(' || next == '|'
			case next == '<' || next == '>':
				b.WriteString(`\b`)
			case strings.IndexByte("wWsSbB", next) >= 0:
				b.WriteString(`\` + string(next))
			default:
				b.WriteString(regexp.QuoteMeta(string(next)))
			}
		case !extended && strings.IndexByte("+?{}()|", c) >= 0:
			b.WriteString(`\` + string(c))
		case !extended && c == '*' && wasStart:
			b.WriteString(`\*`)
		case !extended && c == '^' && !wasStart:
			b.WriteString(`\^`)
		case !extended && c == '$' && i+1 < len(pattern) && !strings.HasPrefix(pattern[i+1:], `\)`) && !strings.HasPrefix(pattern[i+1:], `\|`):
			b.WriteString(`\$`)
		default:
			b.WriteByte(c)
			start = c == '^' || extended && (c == '(' || c == '|')
		}
	}
	return b.String()
}

// bracketEnd returns the end of the bracket expression that begins at i.
func bracketEnd(pattern string, i int) int {
	j := i + 1
	if j < len(pattern) && pattern[j] == '^' {
		j++
	}
	if j < len(pattern) && pattern[j] == ']' {
		j++
	}
	for j < len(pattern) && pattern[j] != ']' {
		if strings.HasPrefix(pattern[j:], "[:") {
			if end := strings.Index(pattern[j:], ":]"); end > 0 {
				j += end + 1
			}
		}
		j++
	}
	return min(j, len(pattern)-1)
}

// bracket escapes the backslashes in a bracket expression, which are literals in
// POSIX.
func bracket(expr string) string {
	expr = strings.ReplaceAll(expr, `\`, `\\`)
	for _, begin := range []string{"[^]", "[]"} {
		if rest, ok := strings.CutPrefix(expr, begin); ok {
			return begin[:len(begin)-1] + `\]` + rest
		}
	}
	return expr
}

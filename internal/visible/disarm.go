package visible

import "strings"

// Disarm puts a space into what a CI system takes for a command: "::" at the beginning
// of what was printed, "##[" and "##name[" anywhere.
func Disarm(line string) string {
	blank := len(line) - len(strings.TrimLeft(line, " \t|"))
	text := line[blank:]
	if strings.HasPrefix(text, "::") {
		text = ": " + text[1:]
	}
	if !strings.Contains(text, "##") {
		return line[:blank] + text
	}
	var b strings.Builder
	b.WriteString(line[:blank])
	for i := range len(text) {
		b.WriteByte(text[i])
		rest := text[i:]
		if !strings.HasPrefix(rest, "##") {
			continue
		}
		name := strings.TrimLeftFunc(rest[2:], func(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' })
		if strings.HasPrefix(name, "[") {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// Package visible makes text from machines safe to print: no character of it can
// move the cursor, change what is on the screen, reorder text or hide.
package visible

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns s with everything replaced that is not printable: control characters
// by their pictures (ESC by "␛", NUL by "␀"), other invisible characters by their code
// points ("\u009b", "\u202e", "\u200b"), and bytes that are not UTF-8 by "\xff".
//
// Tabs, line feeds and the variation selectors of emoji stay. Text of the result is
// the result.
func Text(s string) string {
	i := strings.IndexFunc(s, hidden)
	if i < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + len(s)/2)
	b.WriteString(s[:i])
	for s = s[i:]; s != ""; {
		r, n := utf8.DecodeRuneInString(s)
		write(&b, r, s[:n])
		s = s[n:]
	}
	return b.String()
}

// Shorten returns s or, if it is longer than limit bytes, the whole characters of its
// beginning and "…".
func Shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

func write(b *strings.Builder, r rune, text string) {
	const pictures, pictureOfDelete, delete = '␀', '␡', 0x7f
	switch {
	case !hidden(r), r == utf8.RuneError && len(text) > 1:
		b.WriteString(text)
	case r == utf8.RuneError:
		fmt.Fprintf(b, `\x%02x`, text[0])
	case r < ' ':
		b.WriteRune(pictures + r)
	case r == delete:
		b.WriteRune(pictureOfDelete)
	case r > 0xffff:
		fmt.Fprintf(b, `\U%08x`, r)
	default:
		fmt.Fprintf(b, `\u%04x`, r)
	}
}

// hidden reports whether r must be replaced. It reports true for utf8.RuneError,
// which may stand for an invalid byte.
func hidden(r rune) bool {
	if r >= ' ' && r < 0x7f || r == '\t' || r == '\n' {
		return false
	}
	const textStyle, emojiStyle = '\ufe0e', '\ufe0f'
	if r == textStyle || r == emojiStyle {
		return false
	}
	const blankBraille = '\u2800'
	return r == utf8.RuneError || r == blankBraille || !unicode.IsGraphic(r) ||
		unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) || unicode.Is(unicode.Variation_Selector, r)
}

package mask_test

import (
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/mask"
)

// TestWriterHolds writes texts that never show whether a secret has begun.
func TestWriterHolds(t *testing.T) {
	const secret = "hunter22"
	for name, test := range map[string]struct{ begin, part string }{
		"spaces":          {"h\n", " "},
		"spaces later":    {"hunt\n", " "},
		"line breaks":     {"h", "\n"},
		"quotes":          {"h", "'"},
		"sequence":        {"h\x1b[", "0"},
		"title":           {"h\x1b]", "0"},
		"sequences":       {"h", "\x1b[0m"},
		"base64":          {"aHVu", "\n"},
		"base64, JSON":    {"aHVu", `\n`},
		"base64, spaces":  {"aHVu", " "},
		"hexadecimal":     {"6875", "\n"},
		"hexadecimal row": {"6875 ", "x"},
		"decimal":         {"104 ", " "},
		"soft breaks":     {"h", "=\n"},
		"continued":       {"h", "\\\n"},
		"backslashes":     {"h", `\`},
		"percent":         {"h%", "25"},
		"entities":        {"h&", "amp;"},
		"entity":          {"h&", "a"},
		"zeros":           {"h&#", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &mask.Masker{}
			m.Add(secret)
			out := &discard{}
			w := m.Writer(out)
			text := test.begin + strings.Repeat(test.part, 64<<10/len(test.part))
			most := 0
			for i := 0; i < len(text); i += 64 {
				part := text[i:min(len(text), i+64)]
				_, _ = w.Write([]byte(part))
				most = max(most, i+len(part)-out.n)
			}
			if limit := 8 << 10; most > limit {
				t.Errorf("held %d bytes, want at most %d", most, limit)
			}
		})
	}
}

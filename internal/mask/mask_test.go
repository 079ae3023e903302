package mask_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html"
	"math/rand/v2"
	"mime/quotedprintable"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/bakestone-go/bakestone/internal/mask"
)

// An encoding writes a secret as some program does. It must not write more than the
// secret.
type encoding struct {
	name  string
	write func(r *rand.Rand, s string) string
}

func encodings() []encoding {
	plain := func(f func(string) string) func(*rand.Rand, string) string {
		return func(_ *rand.Rand, s string) string { return f(s) }
	}
	eachRune := func(f func(rune) string) func(*rand.Rand, string) string {
		return plain(func(s string) string {
			var b strings.Builder
			for _, r := range s {
				b.WriteString(f(r))
			}
			return b.String()
		})
	}
	eachByte := func(sep string, f func(byte) string) func(*rand.Rand, string) string {
		return plain(func(s string) string {
			parts := make([]string, len(s))
			for i := range len(s) {
				parts[i] = f(s[i])
			}
			return strings.Join(parts, sep)
		})
	}
	between := func(sep string) func(*rand.Rand, string) string {
		return func(r *rand.Rand, s string) string {
			var b strings.Builder
			for i, c := range s {
				if i > 0 && r.IntN(3) == 0 {
					b.WriteString(sep)
				}
				b.WriteRune(c)
			}
			return b.String()
		}
	}
	return append([]encoding{
		{"plain", plain(func(s string) string { return s })},
		{"base64", plain(func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) })},
		{"base64 for URLs", plain(func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) })},
		{"base64 without padding", plain(func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) })},
		{"base64 in a URL", plain(func(s string) string { return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(s))) })},
		{"base64 in PHP's JSON", plain(func(s string) string {
			return strings.ReplaceAll(base64.StdEncoding.EncodeToString([]byte(s)), "/", `\/`)
		})},
		{"base64 in HTML-safe JSON", plain(func(s string) string {
			return strings.ReplaceAll(base64.StdEncoding.EncodeToString([]byte(s)), "+", `\u002b`)
		})},
		{"base64 of UTF-16", plain(func(s string) string {
			if w := wideUntilZero(s); len(w) > len(s) {
				return base64.StdEncoding.EncodeToString(w)
			}
			return s
		})},
		{"UTF-16", plain(func(s string) string { return string(wide(s)) })},
		{"query", plain(url.QueryEscape)},
		{"path", plain(url.PathEscape)},
		{"query in lower case", plain(func(s string) string { return lowerEscapes(url.QueryEscape(s)) })},
		{"query twice", plain(func(s string) string { return url.QueryEscape(url.QueryEscape(s)) })},
		{"every byte in percent", eachByte("", func(b byte) string { return fmt.Sprintf("%%%02X", b) })},
		{"Go's JSON", plain(quoteJSON)},
		{"ASCII JSON", eachRune(func(r rune) string { return escapeRune(r, "%04x") })},
		{"ASCII JSON in upper case", eachRune(func(r rune) string { return escapeRune(r, "%04X") })},
		{"all of JSON escaped", plain(func(s string) string {
			var b strings.Builder
			for _, u := range utf16.Encode([]rune(s)) {
				fmt.Fprintf(&b, `\u%04x`, u)
			}
			return b.String()
		})},
		{"JSON with escaped slashes", plain(func(s string) string { return strings.ReplaceAll(quoteJSON(s), "/", `\/`) })},
		{"JSON twice", plain(func(s string) string { return quoteJSON(quoteJSON(s)) })},
		{"JSON three times", plain(func(s string) string { return quoteJSON(quoteJSON(quoteJSON(s))) })},
		{"JSON in a URL", plain(func(s string) string { return url.QueryEscape(quoteJSON(s)) })},
		{"JSON in single quotes", plain(func(s string) string { return strings.ReplaceAll(quoteJSON(s), "'", `'\''`) })},
		{"JSON in HTML", plain(func(s string) string { return html.EscapeString(quoteJSON(s)) })},
		{"Go", plain(func(s string) string { q := strconv.Quote(s); return q[1 : len(q)-1] })},
		{"ASCII Go", plain(func(s string) string { q := strconv.QuoteToASCII(s); return q[1 : len(q)-1] })},
		{"HTML", plain(html.EscapeString)},
		{"HTML in a URL", plain(func(s string) string { return url.QueryEscape(html.EscapeString(s)) })},
		{"HTML twice", plain(func(s string) string { return html.EscapeString(html.EscapeString(s)) })},
		{"XML", plain(func(s string) string {
			var b strings.Builder
			if err := xml.EscapeText(&b, []byte(s)); err != nil {
				panic(err)
			}
			return b.String()
		})},
		{"decimal entities", eachRune(func(r rune) string { return fmt.Sprintf("&#%d;", r) })},
		{"hexadecimal entities", eachRune(func(r rune) string { return fmt.Sprintf("&#x%x;", r) })},
		{"entities with zeros", eachRune(func(r rune) string { return fmt.Sprintf("&#x%06X;", r) })},
		{"named entities", eachRune(func(r rune) string {
			if name := map[rune]string{'<': "lt", '>': "gt", '&': "amp", '"': "quot", '\'': "apos", 'é': "eacute", '/': "sol"}[r]; name != "" {
				return "&" + name + ";"
			}
			return string(r)
		})},
		{"single quotes", plain(func(s string) string { return strings.ReplaceAll(s, "'", `'\''`) })},
		{"single quotes, double quoted", plain(func(s string) string { return strings.ReplaceAll(s, "'", `'"'"'`) })},
		{"doubled quotes", plain(func(s string) string { return strings.ReplaceAll(s, "'", `''`) })},
		{"double quotes", eachRune(func(r rune) string {
			if strings.ContainsRune("\"\\$`", r) {
				return `\` + string(r)
			}
			return string(r)
		})},
		{"printf %q", plain(bashQuote)},
		{"Make", plain(func(s string) string { return strings.ReplaceAll(s, "$", "$$") })},
		{"format string", plain(func(s string) string { return strings.ReplaceAll(s, "%", "%%") })},
		{"cmd.exe", eachRune(func(r rune) string {
			if strings.ContainsRune("&|<>^", r) {
				return "^" + string(r)
			}
			return string(r)
		})},
		{"PowerShell", eachRune(func(r rune) string {
			if strings.ContainsRune("\"$`", r) {
				return "`" + string(r)
			}
			return string(r)
		})},
		{"quotes of ${x@Q}", plain(func(s string) string { return strings.ReplaceAll(s, "\n", `'$'\n''`) })},
		{"octal", eachByte("", func(b byte) string { return fmt.Sprintf(`\%03o`, b) })},
		{"\\x", eachByte("", func(b byte) string { return fmt.Sprintf(`\x%02x`, b) })},
		{"hexadecimal", plain(func(s string) string { return hex.EncodeToString([]byte(s)) })},
		{"hexadecimal in upper case", plain(func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) })},
		{"hexadecimal of UTF-16", plain(func(s string) string { return fmt.Sprintf("%x", wideUntilZero(s)) })},
		{"hexadecimal of UTF-16 with \" \"", plain(func(s string) string { return fmt.Sprintf("% x", wideUntilZero(s)) })},
		{"0x, 0x", eachByte(", ", func(b byte) string { return fmt.Sprintf("0x%02x", b) })},
		{"xxd -g2", plain(func(s string) string {
			text := hex.EncodeToString([]byte(s))
			var b strings.Builder
			for len(text) > 4 {
				b.WriteString(text[:4] + " ")
				text = text[4:]
			}
			return b.String() + text
		})},
		{"a []byte of Go", plain(decimals)},
		{"an array of JSON", plain(func(s string) string { return strings.ReplaceAll(decimals(s), " ", ", ") })},
		{"quoted printable", plain(func(s string) string {
			var b strings.Builder
			w := quotedprintable.NewWriter(&b)
			_, _ = w.Write([]byte(s))
			_ = w.Close()
			return b.String()
		})},
		{"carriage returns", between("\r")},
		{"colors", between("\x1b[01;31m")},
		{"titles", between("\x1b]0;title\a")},
		{"hyperlinks", between("\x1b]8;;\x1b\\")},
		{"C1", between("\x9b1m")},
		{"C1 in UTF-8", between("\u009b1m")},
		{"overstrike", eachRune(func(r rune) string {
			if r < utf8.RuneSelf && r > ' ' {
				return string(r) + "\b" + string(r)
			}
			return string(r)
		})},
		{"lines ended by the terminal", plain(func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") })},
		{"lines indented", plain(func(s string) string { return strings.ReplaceAll(s, "\n", "\n    ") })},
		{"folded", func(r *rand.Rand, s string) string {
			width := 1 + r.IntN(len(s))
			return wrap(s, width, "\n")
		}},
		{"od -c", plain(func(s string) string {
			if strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r >= utf8.RuneSelf }) >= 0 {
				return s // od writes numbers
			}
			return strings.Join(strings.Split(s, ""), "   ")
		})},
	}, append(wrapped(), separated(eachByte)...)...)
}

func wrapped() []encoding {
	var all []encoding
	for name, end := range map[string]string{"\\n": "\n", "\\r\\n": "\r\n", "JSON": `\n`, "indent": "\n    ", "URL": "%0A"} {
		all = append(all, encoding{"base64, wrapped by " + name, func(r *rand.Rand, s string) string {
			return wrap(base64.StdEncoding.EncodeToString([]byte(s)), 1+r.IntN(76), end)
		}})
	}
	return all
}

func separated(eachByte func(string, func(byte) string) func(*rand.Rand, string) string) []encoding {
	var all []encoding
	for _, sep := range []string{":", " ", "-", ", ", "_", "\n"} {
		all = append(all, encoding{fmt.Sprintf("hexadecimal with %q", sep), eachByte(sep, func(b byte) string { return fmt.Sprintf("%02x", b) })})
	}
	return all
}

func wide(s string) []byte {
	out := make([]byte, 0, 2*len(s))
	for _, u := range utf16.Encode([]rune(s)) {
		if u >= utf8.RuneSelf {
			return []byte(s)
		}
		out = append(out, byte(u), 0)
	}
	return out
}

// wideUntilZero is wide without the zero at the end.
func wideUntilZero(s string) []byte { return bytes.TrimSuffix(wide(s), []byte{0}) }

// decimals prints the bytes of s as fmt does.
func decimals(s string) string {
	text := make([]string, len(s))
	for i := range len(s) {
		text[i] = strconv.Itoa(int(s[i]))
	}
	return "[" + strings.Join(text, " ") + "]"
}

func quoteJSON(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(text[1 : len(text)-1])
}

func escapeRune(r rune, format string) string {
	switch {
	case r > 0xffff:
		high, low := utf16.EncodeRune(r)
		return fmt.Sprintf(`\u`+format+`\u`+format, high, low)
	case r >= utf8.RuneSelf || strings.ContainsRune("<>&'", r):
		return fmt.Sprintf(`\u`+format, r)
	}
	return quoteJSON(string(r))
}

func lowerEscapes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			b.WriteString(strings.ToLower(s[i : i+3]))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// bashQuote writes s as printf %q of bash does, without the quotes around it.
func bashQuote(s string) string {
	ascii := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r >= utf8.RuneSelf }) < 0
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case ascii && strings.IndexByte("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_./-:=@%+", c) >= 0:
			b.WriteByte(c)
		case ascii:
			b.WriteString(`\` + string(c))
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\'' || c == '\\':
			b.WriteString(`\` + string(c))
		case c < ' ' || c >= utf8.RuneSelf:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func wrap(s string, width int, end string) string {
	var b strings.Builder
	for len(s) > width {
		b.WriteString(s[:width] + end)
		s = s[width:]
	}
	return b.String() + s
}

// fixed are secrets with characters that encodings treat differently.
func fixed() []string {
	return []string{
		"hunter22", "p'ss \"word\" + more", `C:\new\table`, "<&>\"'/é😀", "100%25 a+b=c", "$HOME`id`\\", "nopass\\n", "%41%2541",
		"first line\nab\nlast line é", "a b  c    d", `\\server\share`, "~!@#$%^&*()_+{}|:<>?", "0123456789abcdef", "x=\u00fc&y=\u4e2d\u6587",
	}
}

// surround returns texts to put around an encoded secret.
func surround(r *rand.Rand) (before, after string) {
	all := []string{"", "\n", " ", "\"", "'", "{\"password\": \"", "password=", "[31m", "0", "ab", "zz", "\\", "%", "&", "=", "…", "\x1b[0m", "\r", "- ", "\t"}
	return all[r.IntN(len(all))], all[r.IntN(len(all))]
}

// check masks text that contains the secret, encoded, and wants that nothing of it
// is left.
func check(t *testing.T, m *mask.Masker, r *rand.Rand, e encoding, secret string) {
	t.Helper()
	encoded := e.write(r, secret)
	before, after := surround(r)
	text := before + encoded + after
	got := m.Mask(text)
	if left := leftOf(encoded, got, before, after); left != "" {
		t.Fatalf("%s of %q: Mask(%q) = %q, leaves %q", e.name, secret, text, got, left)
	}
	var out strings.Builder
	w := m.Writer(&out)
	for len(text) > 0 {
		n := 1 + r.IntN(min(len(text), 1+r.IntN(20)))
		if _, err := w.Write([]byte(text[:n])); err != nil {
			t.Fatal(err)
		}
		text = text[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if out.String() != got {
		t.Fatalf("%s of %q, in parts: wrote %q, Mask wrote %q", e.name, secret, out.String(), got)
	}
}

// leftOf returns what is left of encoded in the masked text.
func leftOf(encoded, got, before, after string) string {
	got = strings.TrimPrefix(got, before)
	got = strings.TrimSuffix(got, after)
	got = strings.ReplaceAll(got, mask.Redacted, "\xff")
	// Padding behind a wrapped end is nothing of the secret.
	ends := strings.NewReplacer("%0A", "", `\n`, "", "\n", "", "\r", "", " ", "", "=", "")
	const run = 4
	for i := 0; i+run <= len(encoded); i++ {
		if part := encoded[i : i+run]; strings.Contains(got, part) && (ends.Replace(got) != "\xff" || !strings.HasPrefix(got, "\xff")) {
			return part
		}
	}
	return ""
}

func TestMaskEncodings(t *testing.T) {
	for _, e := range encodings() {
		t.Run(e.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test that can be repeated
			for _, secret := range fixed() {
				m := &mask.Masker{}
				m.Add(secret)
				for range 8 {
					check(t, m, r, e, secret)
				}
			}
		})
	}
}

// randomSecret returns a secret of characters that some encoding treats specially.
func randomSecret(r *rand.Rand) string {
	alphabets := []string{
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", "0123456789abcdef", "0123456789",
		" !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "ab\\\"'$%&25", "ntrbfux01\\", "éüñ中文😀 a", "ab c\n", "amp;#&39lt", "=+/-_",
	}
	letters := []rune(alphabets[r.IntN(len(alphabets))])
	if r.IntN(2) == 0 {
		letters = append(letters, []rune(alphabets[0])...)
	}
	var b strings.Builder
	for n := mask.Shortest + r.IntN(40); b.Len() < n; {
		b.WriteRune(letters[r.IntN(len(letters))])
	}
	if secret := strings.TrimSpace(b.String()); len(secret) >= mask.Shortest {
		return secret // a secret excludes the white space around it
	}
	return "secret" + b.String() + "secret"
}

// Any secret in any encoding, cut into any parts, with anything around it, never
// leaves a run of it.
func TestMaskRandom(t *testing.T) {
	all := encodings()
	rounds := 4000
	if testing.Short() {
		rounds = 1000
	}
	r := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // a test that can be repeated
	for range rounds {
		checkRandom(t, r, all)
	}
}

func checkRandom(t *testing.T, r *rand.Rand, all []encoding) {
	t.Helper()
	m := &mask.Masker{}
	secret := randomSecret(r)
	for range r.IntN(3) {
		m.Add(randomSecret(r))
	}
	m.Add(secret)
	e := all[r.IntN(len(all))]
	if e.name == "folded" && len(secret) < 8 || e.name == "od -c" && len(secret) < 8 {
		return // documented
	}
	check(t, m, r, e, secret)
}

// Dumps have addresses, and the same bytes as characters beside them.
func TestMaskDumps(t *testing.T) {
	const secret = "correct horse battery staple Tr0ub4dor"
	text := []byte("user=me\npassword=" + secret + "\nand some more text behind it\n")
	dump := func(address, group, gutter string) string {
		var b strings.Builder
		for at := 0; at < len(text); at += 16 {
			row := text[at:min(at+16, len(text))]
			if address == "" {
				b.WriteString(" ")
			} else {
				fmt.Fprintf(&b, address, at)
			}
			for i, c := range row {
				if i > 0 && (group != "xx" || i%2 == 0) {
					b.WriteString(" ")
				}
				fmt.Fprintf(&b, "%02x", c)
			}
			if gutter != "" {
				fmt.Fprintf(&b, gutter, strings.ReplaceAll(string(row), "\n", "."))
			}
			b.WriteString("\n")
		}
		return b.String()
	}
	for name, shown := range map[string]string{
		"hexdump -C":  hex.Dump(text),
		"xxd":         dump("%08x: ", "xx", "  %s"),
		"xxd -g1":     dump("%08x: ", "", "  %s"),
		"od -tx1":     dump("%07o ", "", ""),
		"od -An -tx1": dump("", "", ""),
	} {
		m := &mask.Masker{}
		m.Add(secret)
		got := m.Mask(shown)
		for _, part := range []string{"correct", "horse", "battery", "staple", "Tr0ub", "63 6f 72", "636f 72", "636f72", "74 61 70 6c", "7461 706c"} {
			if strings.Contains(got, part) {
				t.Errorf("%s: contains %q:\n%s\nof\n%s", name, part, got, shown)
			}
		}
		if !strings.Contains(got, "user=me") && !strings.Contains(got, "75") || !strings.Contains(got, "it.") && !strings.Contains(got, "69 74") {
			t.Errorf("%s: too much is masked:\n%s", name, got)
		}
	}
}

// Secrets added later are found, and many do not hide each other.
func TestMaskManySecrets(t *testing.T) {
	m := &mask.Masker{}
	secret := func(i int) string { return fmt.Sprintf("%x-secret", i*i*7919) }
	const n = 5000
	for i := range n {
		m.Add(secret(i))
		if got := m.Mask(secret(i)); got != mask.Redacted {
			t.Fatalf("Mask(%q) = %q", secret(i), got)
		}
	}
	for i := range n {
		if got := m.Mask(base64.StdEncoding.EncodeToString([]byte("user:" + secret(i)))); len(got) > 22 {
			t.Fatalf("Mask of the base64 of %q = %q", secret(i), got)
		}
	}
}

func FuzzMask(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	all := encodings()
	f.Fuzz(func(t *testing.T, a, b uint64) {
		checkRandom(t, rand.New(rand.NewPCG(a, b)), all) //nolint:gosec // the fuzzer's numbers
	})
}

// FuzzMaskText masks any text: in parts it must become what it becomes at once, and
// text without anything like the secret stays.
func FuzzMaskText(f *testing.F) {
	for _, secret := range fixed() {
		f.Add(secret, "a text with "+secret+" in it", 3)
	}
	f.Fuzz(func(t *testing.T, secret, text string, part int) {
		m := &mask.Masker{}
		m.Add(secret)
		want := m.Mask(text)
		if len(strings.TrimSpace(secret)) >= mask.Shortest && strings.Contains(want, secret) && !strings.Contains(mask.Redacted, secret) {
			t.Errorf("Mask(%q) = %q, contains %q", text, want, secret)
		}
		var out strings.Builder
		w := m.Writer(&out)
		part = max(1, part%64)
		for rest := text; rest != ""; {
			n := min(part, len(rest))
			_, _ = w.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		_ = w.Close()
		if out.String() != want {
			t.Errorf("secret %q, text %q, written in parts of %d: %q, Mask: %q", secret, text, part, out.String(), want)
		}
	})
}

// The time must be linear in the text, whatever the text and the secret are.
func TestMaskHostileText(t *testing.T) {
	const n = 2_000
	for _, test := range []struct{ name, secret, part string }{
		{"a prefix again and again", strings.Repeat("a", 1000) + "b", "a"},
		{"quotes", strings.Repeat("'", 500) + "x", "'"},
		{"backslashes", strings.Repeat(`\`, 500) + "x", `\`},
		{"backslashes that begin", `\\secret`, `\`},
		{"percent", strings.Repeat("%", 500) + "x", "%25"},
		{"levels of percent", "%secret", "%25"},
		{"entities", strings.Repeat("&", 500) + "x", "&amp;"},
		{"newlines", "se\n\n\n\n\n\ncret", "se\n"},
		{"base64", "secret", "c2VjcmU"},
		{"hexadecimal", "secret", "736563726"},
		{"escape sequences", "secret", "secre\x1b["},
		{"skipped", "secret1234", "s\r\n"},
		{"zeros", "\x00\x00\x00\x00\x00\x00secret", "\x00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &mask.Masker{}
			m.Add(test.secret)
			text := strings.Repeat(test.part, n/len(test.part))
			start := time.Now()
			m.Mask(text)
			w := m.Writer(&discard{})
			for rest := text; rest != ""; {
				size := min(len(rest), 100)
				_, _ = w.Write([]byte(rest[:size]))
				rest = rest[size:]
			}
			_ = w.Close()
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("masking %d bytes took %v", len(text), took)
			}
		})
	}
}

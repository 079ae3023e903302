package mask

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
)

// checkScanner compares the scanner with a walk from each position of text, and text
// that is written in parts with text that is masked at once.
func checkScanner(t *testing.T, m *Masker, text string, part int) {
	t.Helper()
	if m.starts == nil {
		return
	}
	found := map[int]kinds{}
	s := newScanner(m.starts, text)
	for p, as := s.next(0); p < len(text); p, as = s.next(p + 1) {
		found[p] = as
	}
	from := func(p int, as kinds) int {
		w := walk{m: m, text: text, final: true, total: 1 << 20}
		to, _ := w.from(p, as)
		return to
	}
	for p := range len(text) {
		as := asAny
		start := text[p:min(len(text), p+gram+1)]
		if strings.Contains(text[p:], "   ") && !strings.Contains(text, "\n0000020") {
			continue // od -c writes all bytes apart
		}
		if m.starts.value[0] {
			const base64 = asBase64 | asBase64Lead // in which a NUL at the beginning may be one of UTF-16
			as, found[p] = as&^base64, found[p]&^base64
		}
		if text[p] == '0' && found[p]&asDecimal == 0 {
			as &^= asDecimal // leading zeros do not belong to a number
		}
		if strings.Contains(start, " ") && !strings.ContainsFunc(start, func(r rune) bool { return r < 256 && m.starts.special[r] }) {
			as &^= asBase64 | asBase64Lead // which has spaces only at the ends of lines
		}
		if want, got := from(p, as), from(p, found[p]); got != want && !betweenLists.MatchString(text[p:want]) {
			t.Fatalf("secrets %q, text %q, position %d: found %q (kinds %b), a walk found %q", known(m), text, p, text[p:got], found[p], text[p:want])
		}
	}
	var out strings.Builder
	w := m.Writer(&out)
	for rest := text; rest != ""; {
		n := min(part, len(rest))
		_, _ = w.Write([]byte(rest[:n]))
		rest = rest[n:]
	}
	_ = w.Close()
	if want := m.Mask(text); out.String() != want {
		t.Fatalf("secrets %q, text %q in parts of %d: wrote %q, Mask: %q", known(m), text, part, out.String(), want)
	}
}

// betweenLists matches the end of a list of numbers and the beginning of another one.
var betweenLists = regexp.MustCompile(`^[0-9a-fA-F]+[]; ]*\[`)

func known(m *Masker) []string {
	var all []string
	for s := range m.known {
		all = append(all, s)
	}
	return all
}

// TestScannerRandom checks the scanner with broken and mixed encodings of secrets, with more
// in the long form, with BAKESTONE_LONG=1.
func TestScannerRandom(t *testing.T) {
	rounds := uint64(1_500)
	if os.Getenv("BAKESTONE_LONG") != "" {
		rounds = 20_000
	}
	for seed := range rounds {
		checkScannerRandom(t, seed)
	}
}

func FuzzScanner(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(checkScannerRandom)
}

func checkScannerRandom(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(11, seed)) //nolint:gosec // a test that can be repeated
	letters := []string{"ab1 7\"'\\%&=$^`+\n\r\x00\b\x1b[m\xc2\x9b0;ux,#", "abcXYZ0189+/", "ab1 \"\n"}[r.IntN(3)]
	random := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte(letters[r.IntN(len(letters))])
		}
		return b.String()
	}
	secret := random(Shortest + r.IntN(16))
	m := &Masker{}
	m.Add(secret)
	trimmed := strings.TrimSpace(secret)
	encoded := []string{
		secret, trimmed, hex.EncodeToString([]byte(trimmed)), fmt.Sprintf("% x", trimmed), fmt.Sprintf("%d", []byte(trimmed)), url.QueryEscape(secret), fmt.Sprintf("%+q", secret),
		base64.StdEncoding.EncodeToString([]byte(trimmed)), base64.URLEncoding.EncodeToString([]byte("x" + trimmed + "yz")), base64.StdEncoding.EncodeToString([]byte("xy" + trimmed + "z")),
	}
	breaks := []string{
		`\n`, "70", "61", "62", "31", `\x61`, "&quot;", "&#97;", "%61", "%22", "=61", "\n  ", "=\n", "=\r\n", "\x1b[0m", "\x1b]0;a\a", "\xc2\x9bm", "97", " 98",
		"YWI", "FiN", "hY", "\n0000020   ", `\u0061`, `\/`, "$'", "$$", "%25", "&amp;", `"`, `'`, "\"\n\"", "%0A", "\r\n", "\x00", "\b", "\ba", `" "`, "' \\\n  '", "&%61mp;", "…", " …", "=31", "000", "\n\n0000020   ", `\q`, "^a", "`1",
	}
	if e := encoded[r.IntN(len(encoded))]; len(e) > Shortest { // a secret that begins as another one does
		m.Add(random(1) + e[:min(len(e), Shortest+r.IntN(8))] + random(4))
	}
	var b strings.Builder
	for range r.IntN(8) {
		switch r.IntN(4) {
		case 0:
			b.WriteString(breaks[r.IntN(len(breaks))])
		case 1:
			b.WriteString(random(1 + r.IntN(3)))
		default:
			e := encoded[r.IntN(len(encoded))]
			if e == "" {
				continue
			}
			i := r.IntN(min(len(e), 6))
			b.WriteString(e[:i])
			if r.IntN(2) == 0 {
				b.WriteString(breaks[r.IntN(len(breaks))])
			}
			b.WriteString(e[i:])
		}
	}
	filler := strings.Repeat([]string{"-", "k", "k-", "/k"}[r.IntN(4)], r.IntN(9))
	checkScanner(t, m, filler+b.String()+filler, 1+r.IntN(9))
}

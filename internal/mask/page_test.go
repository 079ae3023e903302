package mask_test

import (
	"bytes"
	"encoding/ascii85"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/mask"
	"github.com/bakestone-go/bakestone/internal/visible"
)

const page = "../../docs/masking.md"

// TestMaskingPage checks the table of the encodings in docs/masking.md. If
// BAKESTONE_UPDATE is set, the test writes it instead.
func TestMaskingPage(t *testing.T) {
	const secret = "p'ss \"w<é>\" +\n/$x\\9" //nolint:gosec // no credential
	const begin, end = "<!-- encodings:begin -->\n", "<!-- encodings:end -->\n"
	all := encodings()
	slices.SortStableFunc(all, func(a, b encoding) int { return strings.Compare(group(a.name), group(b.name)) })
	var table strings.Builder
	table.WriteString("| encoding | the secret `p'ss \"w<é>\" +⏎/$x\\9` |\n|---|---|\n")
	for _, e := range all {
		shown := e.write(rand.New(rand.NewPCG(9, 9)), secret) //nolint:gosec // a text that can be repeated
		m := &mask.Masker{}
		m.Add(secret)
		if got := m.Mask(shown); leftOf(shown, got, "", "") != "" {
			t.Errorf("%s: Mask(%q) = %q", e.name, shown, got)
		}
		code := strings.NewReplacer("\n", "⏎", "|", "&#124;", "<", "&lt;", ">", "&gt;", "&", "&amp;", "*", "&#42;", "_", "&#95;", "`", "&#96;", "\\", "&#92;", "$", "&#36;").Replace(visible.Text(shown))
		fmt.Fprintf(&table, "| %s | <code>%s</code> |\n", strings.NewReplacer("|", `\|`, `\`, `\\`, "$", `\$`).Replace(e.name), code)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, found := strings.Cut(rest, end)
	if !ok || !found {
		t.Fatalf("%s lacks the marks of the table", page)
	}
	if old == table.String() {
		return
	}
	if os.Getenv("BAKESTONE_UPDATE") == "" {
		t.Fatalf("the table of %s is out of date: BAKESTONE_UPDATE=1 go test ./internal/mask writes it", page)
	}
	if err := os.WriteFile(page, []byte(before+begin+table.String()+end+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// group sorts names of encodings.
func group(name string) string { return strings.ToLower(name) }

// TestMaskBase64InText masks a secret within a longer text that is encoded and wrapped.
func TestMaskBase64InText(t *testing.T) {
	const secret = "correct-horse-battery-staple"
	m := &mask.Masker{}
	m.Add(secret)
	for before := range 120 {
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding} {
			for _, width := range []int{20, 64, 76, 1000} {
				for _, end := range []string{"\n", "\r\n"} {
					encoded := encoding.EncodeToString([]byte(strings.Repeat("x", before) + secret + strings.Repeat("y", 60)))
					got := strings.NewReplacer("\n", "", "\r", "").Replace(m.Mask(wrap(encoded, width, end)))
					first, last := (before+2)/3*4, (before+len(secret))/3*4
					inner := encoded[first:last] // the characters that depend on the secret only
					for i := 0; i+6 <= len(inner); i++ {
						if strings.Contains(got, inner[i:i+6]) {
							t.Fatalf("%d bytes before, width %d: %q is left of %q: %q", before, width, inner[i:i+6], inner, got)
						}
					}
				}
			}
		}
	}
}

// TestMaskBorders cuts a secret at each position.
func TestMaskBorders(t *testing.T) {
	for _, secret := range fixed() {
		m := &mask.Masker{}
		m.Add(secret)
		for _, e := range encodings()[:4] {
			encoded := e.write(nil, secret)
			for i := range len(encoded) + 1 {
				var out bytes.Buffer
				w := m.Writer(&out)
				_, _ = w.Write([]byte("a " + encoded[:i]))
				_, _ = w.Write([]byte(encoded[i:] + " b"))
				_ = w.Close()
				if got := out.String(); got != m.Mask("a "+encoded+" b") || strings.Contains(got, encoded) {
					t.Errorf("%s of %q, cut at %d: %q", e.name, secret, i, got)
				}
			}
		}
	}
}

// TestNotMasked names encodings that are not found, as docs/masking.md says. If one is
// found, correct the page.
func TestNotMasked(t *testing.T) {
	const secret = "correct-horse-battery"
	m := &mask.Masker{}
	m.Add(secret)
	reversed := []byte(secret)
	slices.Reverse(reversed)
	var a85 bytes.Buffer
	w := ascii85.NewEncoder(&a85)
	_, _ = w.Write([]byte(secret))
	_ = w.Close()
	for name, text := range map[string]string{
		"base32": base32.StdEncoding.EncodeToString([]byte(secret)), "ascii85": a85.String(), "reversed": string(reversed),
		"other case": strings.ToUpper(secret), "with words between": strings.Join(strings.Split(secret, ""), "x"),
	} {
		if got := m.Mask(text); got != text {
			t.Errorf("%s is masked: Mask(%q) = %q", name, text, got)
		}
	}
}

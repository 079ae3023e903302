package bake

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// A masker replaces secrets in text, in the encodings in which programs print them.
// It ignores values shorter than four bytes, which are too common. The cost of adding
// a secret does not depend on the number of secrets.
type masker struct {
	mu    sync.RWMutex
	known map[string]bool
	forms map[string][]string // by their first bytes, longest first
}

const shortestMasked = 4

func (m *masker) add(secrets ...Secret) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range secrets {
		if len(s.value) < shortestMasked || m.known[s.value] {
			continue
		}
		if m.known == nil {
			m.known, m.forms = map[string]bool{}, map[string][]string{}
		}
		m.known[s.value] = true
		for _, form := range encodings(s.value) {
			begin := form[:shortestMasked]
			same := append(m.forms[begin], form)
			slices.SortFunc(same, func(a, b string) int { return len(b) - len(a) })
			m.forms[begin] = same
		}
	}
}

func (m *masker) mask(text string) string {
	if m == nil {
		return text
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if len(m.forms) == 0 {
		return text
	}
	var masked strings.Builder
	rest := 0 // start of the text not yet copied to masked
	for at := 0; at+shortestMasked <= len(text); {
		n := m.secretAt(text[at:])
		if n == 0 {
			at++
			continue
		}
		masked.WriteString(text[rest:at])
		masked.WriteString(redacted)
		at += n
		rest = at
	}
	if rest == 0 {
		return text
	}
	masked.WriteString(text[rest:])
	return masked.String()
}

// secretAt returns the length of the longest secret that text begins with.
func (m *masker) secretAt(text string) int {
	for _, form := range m.forms[text[:shortestMasked]] {
		if strings.HasPrefix(text, form) {
			return len(form)
		}
	}
	return 0
}

// encodings returns the forms in which value may appear in output: plain, line by
// line, quoted for JSON and shells, in base64, hex and URLs.
func encodings(value string) []string {
	quoted, _ := json.Marshal(value) // a string always marshals
	all := []string{
		value,
		strings.Trim(string(quoted), `"`),
		strings.ReplaceAll(value, "'", `'\''`),
		strings.ReplaceAll(value, "'", `'"'"'`),
		hex.EncodeToString([]byte(value)),
		strings.ToUpper(hex.EncodeToString([]byte(value))),
		url.QueryEscape(value),
		url.PathEscape(value),
	}
	all = append(all, base64Forms(value)...)
	for line := range strings.Lines(value) {
		all = append(all, strings.TrimSpace(line))
	}
	seen := map[string]bool{}
	unique := all[:0]
	for _, form := range all {
		if len(form) >= shortestMasked && !seen[form] {
			seen[form] = true
			unique = append(unique, form)
		}
	}
	return unique
}

// base64Forms encodes value at each of its three possible offsets in a longer text,
// reduced to the characters that depend only on value.
func base64Forms(value string) []string {
	var forms []string
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for offset := range 3 {
			text := enc.EncodeToString(append(make([]byte, offset), value...))
			from := (offset*8 + 5) / 6
			to := (offset + len(value)) * 8 / 6
			if to-from >= 2*shortestMasked {
				forms = append(forms, text[from:to])
			}
		}
	}
	return forms
}

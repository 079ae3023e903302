package bake

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
)

const redacted = "[redacted]"

// A Secret is a value that no log, event, error or record shows. It prints and
// marshals as "[redacted]"; Reveal is the only way to its value.
type Secret struct{ value string }

// NewSecret returns value as a Secret.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether s holds no value.
func (s Secret) IsZero() bool { return s.value == "" }

// String is "[redacted]".
func (s Secret) String() string { return redacted }

// Format prints "[redacted]" for every verb, so that no struct that holds a
// Secret shows it.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue is "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is "[redacted]", which also serves JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Secrets returns plain values as Secrets.
func Secrets(plain map[string]string) map[string]Secret {
	out := make(map[string]Secret, len(plain))
	for name, value := range plain {
		out[name] = NewSecret(value)
	}
	return out
}

// A masker cuts secrets out of text, in the encodings that programs print them
// in. Values shorter than four bytes are too common to be cut. Builds add
// secrets all the time, so adding one costs the same however many there are.
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
	rest := 0 // where what is not yet in masked begins
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

// secretAt is the length of the longest secret that text begins with.
func (m *masker) secretAt(text string) int {
	for _, form := range m.forms[text[:shortestMasked]] {
		if strings.HasPrefix(text, form) {
			return len(form)
		}
	}
	return 0
}

// encodings lists the forms in which value may turn up in output: as it is,
// each of its lines, quoted by JSON and by a shell, in base64, hex and URLs.
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
	kept := all[:0]
	for _, form := range all {
		if len(form) >= shortestMasked && !seen[form] {
			seen[form] = true
			kept = append(kept, form)
		}
	}
	return kept
}

// base64Forms encodes value at each of the three offsets it can have inside a
// longer text, cut to the characters that depend on value alone.
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

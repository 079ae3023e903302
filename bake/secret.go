package bake

import (
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// A Secret is a value that never appears in logs, events, errors and records. It
// prints and marshals as "[redacted]". Only Reveal returns the value.
type Secret struct{ value string }

// NewSecret returns value as a Secret.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether s holds no value.
func (s Secret) IsZero() bool { return s.value == "" }

// String returns "[redacted]".
func (s Secret) String() string { return redacted }

// Format prints "[redacted]" for every verb, so that printing a struct does not reveal
// its secrets.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue returns "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]". It is used for JSON and YAML as well as text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Secrets returns the values of plain as Secrets.
func Secrets(plain map[string]string) map[string]Secret {
	out := make(map[string]Secret, len(plain))
	for name, value := range plain {
		out[name] = NewSecret(value)
	}
	return out
}

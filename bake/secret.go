package bake

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/bakestone-go/bakestone/internal/mask"
	redactedtext "github.com/bakestone-go/bakestone/internal/redacted"
)

// redacted is the printed form of a Secret.
const redacted = mask.Redacted

// A Secret is a value that never appears in logs, events, errors and records. It
// prints and marshals as "[redacted]". Only Reveal returns the value.
//
// A build replaces its secrets, and each line of them, in everything it reports, in
// the encodings in which programs print them: base64, hexadecimal, percent escapes,
// JSON, XML, the quoting of shells and languages, and wrapped, colored or cut at any
// place. It does not recognize compressed or encrypted values, other alphabets such as
// base32, and parts of a value that a program prints without the rest. Values shorter
// than four bytes are not masked, since they occur everywhere.
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

// addSecrets makes m replace the secrets.
func addSecrets(m *mask.Masker, secrets ...Secret) {
	for _, s := range secrets {
		m.Add(s.value)
	}
}

// rejectRedacted reports a text that contains the printed form of a Secret: somebody
// printed a secret where its value was meant.
func rejectRedacted(field, remedy, text string) error {
	if redactedtext.In(text) {
		return Invalid(field, "contains %s, the printed form of a Secret: %s", redacted, remedy)
	}
	return nil
}

// rejectRedactedMap is rejectRedacted for each key and value.
func rejectRedactedMap(field, remedy string, texts map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if err := rejectRedacted(fmt.Sprintf("%s[%q]", field, name), remedy, name+"\n"+texts[name]); err != nil {
			return err
		}
	}
	return nil
}

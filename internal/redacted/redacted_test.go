package redacted_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime/quotedprintable"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/redacted"
)

func TestIn(t *testing.T) {
	printed := fmt.Sprint(bake.NewSecret("value"))
	if !redacted.In(printed) {
		t.Fatalf("In(%q) = false", printed)
	}
	for offset := range 4 {
		text := strings.Repeat("x", offset) + `token: "` + printed + `"`
		marshaled, err := json.Marshal(map[string]string{"auth": text})
		if err != nil {
			t.Fatal(err)
		}
		var wrapped strings.Builder
		for i, c := range base64.StdEncoding.EncodeToString([]byte(text)) {
			if wrapped.WriteRune(c); i%7 == 6 {
				wrapped.WriteString("\r\n")
			}
		}
		var quoted bytes.Buffer
		w := quotedprintable.NewWriter(&quoted)
		_, _ = w.Write([]byte(text))
		_ = w.Close()
		for name, encoded := range map[string]string{
			"plain": text, "JSON": string(marshaled), "base64": base64.StdEncoding.EncodeToString([]byte(text)),
			"URL": base64.RawURLEncoding.EncodeToString([]byte(text)), "wrapped": wrapped.String(), "query": url.QueryEscape(text),
			"hex": hex.EncodeToString([]byte(text)), "HEX": fmt.Sprintf("%X", text), "bytes": base64.StdEncoding.EncodeToString(marshaled),
			"quoted printable": quoted.String(),
		} {
			if !redacted.In(encoded) {
				t.Errorf("In(%s, %q) = false, want true", name, encoded)
			}
		}
	}
	for _, text := range []string{
		"", "redacted", "the text is redacted here", "[redacte", "[ redacted ]",
		base64.StdEncoding.EncodeToString([]byte("a redacted text, (redacted) text")), base64.StdEncoding.EncodeToString([]byte(" redacted")),
	} {
		if redacted.In(text) {
			t.Errorf("In(%q) = true, want false", text)
		}
	}
}

func TestFields(t *testing.T) {
	type inner struct{ Name string }
	type Embedded struct{ Args []string }
	type value struct {
		Embedded

		Env     map[string]string
		Nested  map[string]any
		Pointer *inner
		Nil     *inner
		Bytes   []byte
		Mixed   [2]any
		Any     any
		Secret  bake.Secret
		Secrets map[string]bake.Secret
		private string
	}
	s := bake.NewSecret("value")
	v := value{
		Embedded: Embedded{Args: []string{"a", "--token=" + s.String()}}, Env: map[string]string{"A": "a", "B": s.String(), s.String(): "c"},
		Nested: map[string]any{"db": map[string]any{"users": []any{"x", map[string]string{"password": s.String()}}}}, Pointer: &inner{s.String()},
		Bytes: []byte(s.String()), Mixed: [2]any{1, s.String()}, Any: s.String(), Secret: s, Secrets: map[string]bake.Secret{"S": s}, private: s.String(),
	}
	want := []string{
		"V.Args[1]", `V.Env["B"]`, `V.Env["[redacted]"]`, `V.Nested["db"]["users"][1]["password"]`, "V.Pointer.Name", "V.Bytes", "V.Mixed[1]",
	}
	if diff := cmp.Diff(want, redacted.Fields("V", v)); diff != "" {
		t.Errorf("Fields() (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, redacted.Fields("V", &v)); diff != "" {
		t.Errorf("Fields() of a pointer (-want +got):\n%s", diff)
	}
	cycle := map[string]any{"text": s.String()}
	cycle["self"] = cycle
	if got := redacted.Fields("V", cycle); len(got) == 0 {
		t.Error("Fields() of a cycle found nothing")
	}
	_ = v.private
}

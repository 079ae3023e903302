package inuse

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/testenv/pack"
)

// FuzzUserData checks that user data of any size and form is read in bounded memory,
// and that only ids are found in it.
func FuzzUserData(f *testing.F) {
	packed := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(pack.Gzip(f, text))) }
	f.Add("ami-0123456789abcdef0")
	f.Add(base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\nexport AMI=ami-12345678,ami-0123456789abcdef01")))
	f.Add(packed("image: AMI-0123456789abcdef0"))
	f.Add(packed(strings.Repeat("\x00", mostUserData+1)))
	f.Add(packed("x")[:20])
	id := regexp.MustCompile(`^ami-[0-9a-f]{8,17}$`)
	f.Fuzz(func(t *testing.T, encoded string) {
		text := decodeUserData(encoded)
		if len(text) > max(mostUserData, len(encoded)) {
			t.Errorf("decodeUserData of %d bytes returned %d", len(encoded), len(text))
		}
		for _, ref := range InText(text, "test") {
			if !id.MatchString(ref.ImageID) || !strings.Contains(strings.ToLower(strings.ReplaceAll(text, "\x00", "")), ref.ImageID) {
				t.Errorf("InText found %q in %q", ref.ImageID, text)
			}
		}
	})
}

// Package pack makes compressed texts and archives for tests.
package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"testing"
)

// Gzip compresses text.
func Gzip(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatalf("pack: compress: %v", err)
	}
	return b.String()
}

// Tar returns an archive of entries that their owner may use. The content of a file is
// the letter x, as often as its header says.
func Tar(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, header := range headers {
		header.Mode |= 0o755
		err := w.WriteHeader(&header)
		if err == nil {
			_, err = w.Write(bytes.Repeat([]byte{'x'}, int(header.Size)))
		}
		if err != nil {
			t.Fatalf("pack: archive %s: %v", header.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatalf("pack: end archive: %v", err)
	}
	return b.Bytes()
}

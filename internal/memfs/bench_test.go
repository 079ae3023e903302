package memfs_test

import (
	"fmt"
	"testing"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

func BenchmarkClone(b *testing.B) {
	f := memfs.New(nil)
	for i := range 1000 {
		if err := f.WriteFile(fmt.Sprintf("/%d", i), make([]byte, 10_000), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		c := f.Clone()
		if err := c.WriteFile("/1", []byte("x"), 0o644); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWrite writes 100 MB in chunks, like an upload.
func BenchmarkWrite(b *testing.B) {
	piece := make([]byte, 32<<10)
	b.SetBytes(100 << 20)
	for b.Loop() {
		f := memfs.New(nil)
		h, err := f.Create("/f")
		if err != nil {
			b.Fatal(err)
		}
		for range 100 << 20 / len(piece) {
			if _, err := h.Write(piece); err != nil {
				b.Fatal(err)
			}
		}
	}
}

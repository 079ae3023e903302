package mask_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/bakestone-go/bakestone/internal/mask"
	"github.com/bakestone-go/bakestone/internal/testenv/cpu"
	"github.com/bakestone-go/bakestone/internal/testenv/output"
)

// secretsOf returns a Masker of n secrets.
func secretsOf(n int) *mask.Masker {
	m := &mask.Masker{}
	m.Add(output.Secrets(n)...)
	return m
}

type discard struct{ n int }

func (d *discard) Write(p []byte) (int, error) {
	d.n += len(p)
	return len(p), nil
}

// writeParts writes text as a connection delivers it.
func writeParts(w io.Writer, text []byte) {
	for len(text) > 0 {
		n := min(len(text), 32<<10)
		_, _ = w.Write(text[:n])
		text = text[n:]
	}
}

// perByte reports the processor time of each byte that do handles.
func perByte(b *testing.B, size int, do func()) {
	b.Helper()
	b.SetBytes(int64(size))
	start := cpu.Used()
	for b.Loop() {
		do()
	}
	b.ReportMetric(float64(cpu.Used()-start)/float64(b.N)/float64(size), "cpu-ns/byte")
}

func benchmarkMasking(b *testing.B, m *mask.Masker, text []byte) {
	b.Helper()
	perByte(b, len(text), func() {
		w := m.Writer(&discard{})
		writeParts(w, text)
		_ = w.Close()
	})
}

// BenchmarkWriter masks outputs with 100 secrets. docs/masking.md has the figures.
func BenchmarkWriter(b *testing.B) {
	const size = 1 << 20
	m := secretsOf(100)
	b.Run("ordinary", func(b *testing.B) { benchmarkMasking(b, m, output.Ordinary(64<<20)) })
	b.Run("copied", func(b *testing.B) { // the same text, not masked
		text := output.Ordinary(64 << 20)
		perByte(b, len(text), func() {
			w := bufio.NewWriterSize(&discard{}, 64<<10)
			_, _ = io.Copy(w, struct{ io.Reader }{bytes.NewReader(text)})
		})
	})
	kinds := output.Kinds(size)
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		b.Run(name, func(b *testing.B) { benchmarkMasking(b, m, kinds[name]) })
	}
	m.Add(output.HostileSecrets()...)
	hostile := output.Hostile(size)
	for _, name := range slices.Sorted(maps.Keys(hostile)) {
		b.Run("hostile/"+name, func(b *testing.B) { benchmarkMasking(b, m, hostile[name]) })
	}
}

// BenchmarkSecrets masks ordinary output with different numbers of secrets.
func BenchmarkSecrets(b *testing.B) {
	text := output.Ordinary(4 << 20)
	for _, n := range []int{0, 1, 10, 100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkMasking(b, secretsOf(n), text) })
	}
}

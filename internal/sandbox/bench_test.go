package sandbox_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// image returns options with a disk that has booted once and so has host keys.
func image(b *testing.B) sandbox.Options {
	b.Helper()
	h, err := sandbox.Boot(b.Context(), sandbox.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := h.Close(); err != nil {
		b.Fatal(err)
	}
	return sandbox.Options{FS: h.FS()}
}

// BenchmarkBoot measures the reboot of an instance, which keeps its host key.
func BenchmarkBoot(b *testing.B) {
	o := image(b)
	disk := o.FS
	b.ReportAllocs()
	for b.Loop() {
		o.FS = disk.Clone()
		h, err := sandbox.Boot(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		_ = h.Close()
	}
}

// BenchmarkFirstBoot measures the first boot of a new instance from an image.
func BenchmarkFirstBoot(b *testing.B) {
	o := image(b)
	disk := o.FS
	o.InstanceID = "i-1"
	b.ReportAllocs()
	for b.Loop() {
		o.FS = disk.Clone()
		h, err := sandbox.Boot(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		_ = h.Close()
	}
}

func BenchmarkExec(b *testing.B) {
	h, err := sandbox.Boot(b.Context(), sandbox.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	b.ReportAllocs()
	for b.Loop() {
		if status, err := h.Exec(b.Context(), sandbox.Exec{Line: "mkdir -p /a/b && echo hello >/a/b/c && cat /a/b/c"}); status != 0 || err != nil {
			b.Fatal(status, err)
		}
	}
}

func BenchmarkReadLoop(b *testing.B) {
	h, err := sandbox.Boot(b.Context(), sandbox.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	b.ReportAllocs()
	for b.Loop() {
		text := strings.NewReader(strings.Repeat("a line\n", 1000))
		if status, err := h.Exec(b.Context(), sandbox.Exec{Line: "while read -r x; do :; done", Stdin: text}); status != 0 || err != nil {
			b.Fatal(status, err)
		}
	}
}

// BenchmarkMemory reports the memory used by each of 500 machines booted from one
// image.
func BenchmarkMemory(b *testing.B) {
	o := image(b)
	disk := o.FS
	const machines = 500
	for b.Loop() {
		before := heap()
		hosts := make([]*sandbox.Host, machines)
		for i := range hosts {
			o.FS = disk.Clone()
			var err error
			if hosts[i], err = sandbox.Boot(b.Context(), o); err != nil {
				b.Fatal(err)
			}
			if _, err := hosts[i].Exec(b.Context(), sandbox.Exec{Line: "echo x >/x"}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heap()-before)/machines, "B/host")
		for _, h := range hosts {
			_ = h.Close()
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // far from the limit
}

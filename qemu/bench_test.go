//go:build unix

package qemu_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/qemu"
)

// BenchmarkOutputs writes the outputs of a disk of 10 GiB with 1 GiB of data, of which a
// half cannot be compressed, and the files that qemu-img alone writes. It reports the CPU
// time of this process and of qemu-img, which other load of the computer changes less.
func BenchmarkOutputs(b *testing.B) {
	img := testenv.Need(b, "qemu-img")
	d := bigDisk(b, img)
	for _, o := range []struct {
		publisher bake.Publisher
		args      []string // of qemu-img convert, for the same format
	}{
		{qemu.Raw{}, []string{"-O", "raw"}},
		{qemu.QCOW2{Compress: true}, []string{"-O", "qcow2", "-c"}},
		{qemu.VMDK{}, []string{"-O", "vmdk", "-o", "subformat=streamOptimized"}},
		{qemu.OVA{}, nil},
		{qemu.Box{Provider: qemu.Libvirt}, nil},
		{qemu.VHD{}, []string{"-O", "vpc", "-o", "subformat=fixed"}},
	} {
		out := filepath.Join(b.TempDir(), "out")
		measure := func(name string, write func() error) {
			b.Run(fmt.Sprintf("%v/%s", o.publisher, name), func(b *testing.B) {
				before := cpuSeconds(b)
				for b.Loop() {
					_ = os.Remove(out)
					if err := write(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric((cpuSeconds(b)-before)/float64(b.N), "cpu-s/op")
				if info, err := os.Stat(out); err == nil {
					b.ReportMetric(float64(info.Size()>>20), "MiB")
				}
			})
		}
		measure("bakestone", func() error { return withPath(o.publisher, out).Publish(b.Context(), d) })
		if o.args != nil {
			measure("qemu-img", func() error {
				return exec.CommandContext(b.Context(), img, append(append([]string{"convert", "-f", "qcow2"}, o.args...), d.Path, out)...).Run()
			})
		}
	}
}

// cpuSeconds returns the CPU time of this process and of those that have ended.
func cpuSeconds(b *testing.B) float64 {
	b.Helper()
	sum := 0.0
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var used syscall.Rusage
		if err := syscall.Getrusage(who, &used); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
	}
	return sum
}

// withPath returns the output with a path.
func withPath(p bake.Publisher, path string) bake.Publisher {
	switch o := p.(type) {
	case qemu.Raw:
		o.Path = path
		return o
	case qemu.QCOW2:
		o.Path = path
		return o
	case qemu.VMDK:
		o.Path = path
		return o
	case qemu.OVA:
		o.Path = path
		return o
	case qemu.Box:
		o.Path = path
		return o
	case qemu.VHD:
		o.Path = path
		return o
	}
	return p
}

// bigDisk returns an image as if it was baked.
func bigDisk(b *testing.B, img string) *qemu.Disk {
	b.Helper()
	const size, data, block = 10 << 30, 1 << 30, 1 << 20
	raw := filepath.Join(b.TempDir(), "raw")
	f, err := os.Create(raw)
	if err != nil {
		b.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{7})
	text := bytes.Repeat([]byte("The quick brown fox jumps over the lazy dog. 0123456789\n"), block/56+1)[:block]
	buffer := make([]byte, block)
	for i := range int64(data / block) {
		_, _ = random.Read(buffer)
		if i%2 == 0 {
			copy(buffer, text)
		}
		if _, err := f.WriteAt(buffer, i*size/(data/block)); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Truncate(size); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	host := qemu.NewHost(b.TempDir(), &qemu.HostOptions{Programs: filepath.Dir(img)})
	dir := filepath.Join(host.Dir(), "images", "big", "b1")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(dir, "disk.qcow2")
	if out, err := exec.CommandContext(b.Context(), img, "convert", "-f", "raw", "-O", "qcow2", raw, path).CombinedOutput(); err != nil {
		b.Fatalf("qemu-img convert: %v\n%s", err, out)
	}
	if err := os.Remove(raw); err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	record, err := json.Marshal(map[string]any{"image": "big", "build": "b1", "format": "qcow2", "size": size, "file_size": info.Size()})
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "artifact.json"), record, 0o600); err != nil {
		b.Fatal(err)
	}
	d, err := host.Newest("big")
	if err != nil {
		b.Fatal(err)
	}
	return d
}

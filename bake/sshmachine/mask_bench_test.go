package sshmachine_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/internal/mask"
	"github.com/bakestone-go/bakestone/internal/testenv/cpu"
	"github.com/bakestone-go/bakestone/internal/testenv/output"
)

// BenchmarkMasking carries 1 GiB of a command's output over SSH, with the server in the
// same process: discarded, masked, and reported as the lines of a build, with and
// without 100 secrets. docs/masking.md has the figures.
func BenchmarkMasking(b *testing.B) {
	const chunk, chunks = 16 << 20, 64
	file := filepath.Join(b.TempDir(), "output")
	must(b, os.WriteFile(file, output.Ordinary(chunk)[:chunk], 0o600))
	h := newHost(b)
	m := connect(b, h.configFor(h.listen(b)))
	carry := func(ctx context.Context, to io.Writer) error {
		return m.Run(ctx, &bake.Cmd{Line: fmt.Sprintf("i=0; while [ $i -lt %d ]; do cat '%s'; i=$((i+1)); done", chunks, file), Stdout: to})
	}
	masker := &mask.Masker{}
	masker.Add(output.Secrets(100)...)
	// Each is compared with the one before it.
	var clock, processor time.Duration
	for _, c := range []struct {
		name  string
		carry func(ctx context.Context) error
	}{
		{"discarded", func(ctx context.Context) error { return carry(ctx, io.Discard) }},
		{"masked", func(ctx context.Context) error {
			w := masker.Writer(io.Discard)
			if err := carry(ctx, w); err != nil {
				return err
			}
			return w.Close()
		}},
		{"copied", func(ctx context.Context) error { return carry(ctx, newLoop(b)) }},
		{"copied-masked", func(ctx context.Context) error {
			w := masker.Writer(newLoop(b))
			if err := carry(ctx, w); err != nil {
				return err
			}
			return w.Close()
		}},
		{"lines", func(ctx context.Context) error { return build(ctx, nil, carry) }},
		{"lines-masked", func(ctx context.Context) error { return build(ctx, output.Secrets(100), carry) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(chunk * chunks)
			started, used := time.Now(), cpu.Used()
			for range b.N {
				must(b, c.carry(b.Context()))
			}
			took, took2 := time.Since(started), cpu.Used()-used
			b.ReportMetric(float64(took2)/float64(b.N)/(chunk*chunks), "cpu-ns/byte")
			if clock > 0 {
				b.ReportMetric(float64(took)/float64(b.N)/float64(clock), "x-time")
				b.ReportMetric(float64(took2)/float64(b.N)/float64(processor), "x-cpu")
			}
			clock, processor = took/time.Duration(b.N), took2/time.Duration(b.N)
		})
	}
}

// A loop is a file that begins again after some size, so that the disk is not measured.
type loop struct {
	file *os.File
	left int
}

func newLoop(b *testing.B) *loop {
	b.Helper()
	file, err := os.Create(filepath.Join(b.TempDir(), "log"))
	must(b, err)
	b.Cleanup(func() { _ = file.Close() })
	return &loop{file: file}
}

func (l *loop) Write(p []byte) (int, error) {
	const size = 16 << 20
	if l.left <= 0 {
		if _, err := l.file.Seek(0, io.SeekStart); err != nil {
			return 0, err
		}
		l.left = size
	}
	l.left -= len(p)
	return l.file.Write(p)
}

// build bakes an image, with the secrets, and reports what carry writes.
func build(ctx context.Context, secrets []string, carry func(ctx context.Context, to io.Writer) error) error {
	img := &bake.Image{Name: "masked", Builder: baketest.NewBuilder(nil), Provisioners: []bake.Provisioner{
		bake.ProvisionFunc{Name: "print", Do: func(ctx context.Context, _ bake.Machine) error {
			run := bake.RunFromContext(ctx)
			for _, s := range secrets {
				run.Mask(bake.NewSecret(s))
			}
			lines := run.Lines(bake.Stdout)
			if err := carry(ctx, lines); err != nil {
				return err
			}
			return lines.Close()
		}},
	}}
	_, err := bake.Bake(ctx, &bake.Options{Observe: func(bake.Event) {}}, img)
	return err
}

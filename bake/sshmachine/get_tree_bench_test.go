package sshmachine

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/exclude"
	"github.com/bakestone-go/bakestone/internal/testenv/memory"
)

// BenchmarkHostileTree measures the peak of the memory for trees that are too large. No
// entry is written to the disk, since all are excluded.
func BenchmarkHostileTree(b *testing.B) {
	for _, c := range []struct {
		name  string
		find  bool
		write func(w io.Writer) error
		want  error
	}{
		{"tar-count", false, func(w io.Writer) error {
			archive := tar.NewWriter(w)
			for i := 0; ; i++ {
				if err := archive.WriteHeader(&tar.Header{Name: fmt.Sprintf("d/%d", i), Typeflag: tar.TypeReg}); err != nil {
					return err
				}
			}
		}, errManyEntries},
		{"tar-names", false, func(w io.Writer) error {
			archive := tar.NewWriter(w)
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d%s", i, strings.Repeat("/nnnnnnnnnnnnnnn", 1000))
				if err := archive.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg}); err != nil {
					return err
				}
			}
		}, errManyNames},
		{"tar-name", false, func(w io.Writer) error {
			_, err := w.Write(longNameHeader())
			for err == nil {
				_, err = w.Write(bytes.Repeat([]byte{'n'}, 1<<20))
			}
			return err
		}, tar.ErrFieldTooLong},
		{"find-count", true, func(w io.Writer) error {
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(w, "f 644 0 0 %d\x00\x00", i); err != nil {
					return err
				}
			}
		}, errManyEntries},
		{"find-name", true, func(w io.Writer) error {
			for {
				if _, err := io.WriteString(w, "f 644 0 0 "+strings.Repeat("n", 1<<20)); err != nil {
					return err
				}
			}
		}, nil},
		{"find-link", true, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "l 777 0 %d x\x00", int64(1)<<40)
			for err == nil {
				_, err = w.Write(make([]byte, 1<<20))
			}
			return err
		}, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				root, err := os.OpenRoot(b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				all, err := exclude.Parse([]string{"*"})
				if err != nil {
					b.Fatal(err)
				}
				into, err := newDestTree(root, "t", all, newProgress(nil, 0))
				if err != nil {
					b.Fatal(err)
				}
				peak := memory.Peak(func() { err = extract(into, c.find, c.write) })
				if err == nil || c.want != nil && !errors.Is(err, c.want) {
					b.Errorf("got %v, want %v", err, c.want)
				}
				const mib = 1 << 20
				b.ReportMetric(float64(peak)/mib, "peak-MiB")
				b.Logf("%.1f MiB: %.200v", float64(peak)/mib, err)
				_ = into.finish()
				_ = root.Close()
			}
		})
	}
}

// longNameHeader returns the header of an entry of GNU's tar whose content, of 4 GiB, is
// the name of the next one.
func longNameHeader() []byte {
	h := make([]byte, 512)
	copy(h, "././@LongLink")
	copy(h[100:], "0000644\x00")
	copy(h[124:], "37777777777\x00")
	copy(h[136:], "00000000000\x00")
	copy(h[148:], "        ")
	h[156] = tar.TypeGNULongName
	copy(h[257:], "ustar  \x00")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// extract extracts what write writes.
func extract(into *destTree, find bool, write func(io.Writer) error) error {
	reader, writer := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		_ = writer.CloseWithError(write(writer))
	}()
	receive := into.extractTar
	if find {
		receive = into.extractFind
	}
	err := receive(reader)
	_ = reader.Close()
	<-written
	return err
}

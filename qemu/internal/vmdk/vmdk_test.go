package vmdk_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/qemu/internal/vmdk"
)

const grain = 64 << 10

// disks returns the contents of disks by what is special about them.
func disks() map[string][]byte {
	random := make([]byte, 3<<20)
	src := rand.NewChaCha8([32]byte{1})
	_, _ = src.Read(random)
	sparse := make([]byte, 80<<20) // more than one grain table
	copy(sparse[grain*7+100:], "hello")
	copy(sparse[len(sparse)-600:], random[:600])
	return map[string][]byte{
		"empty":               make([]byte, 1<<20),
		"one sector":          append(make([]byte, 511), 1),
		"incompressible":      random,
		"not whole grains":    random[:grain*3+512],
		"sparse":              sparse,
		"last grain is empty": append(bytes.Clone(random[:grain]), make([]byte, grain)...),
	}
}

func write(t *testing.T, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.vmdk")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := vmdk.Write(t.Context(), f, bytes.NewReader(content), int64(len(content)), "disk.vmdk"); err != nil {
		t.Fatalf("Write: %v", err)
	}
	return name
}

// TestStream reads the stream as an importer does, marker by marker up to the end.
func TestStream(t *testing.T) {
	for what, content := range disks() {
		t.Run(what, func(t *testing.T) {
			data, err := os.ReadFile(write(t, content))
			if err != nil {
				t.Fatal(err)
			}
			if v := binary.LittleEndian.Uint32(data[4:]); v != 3 {
				t.Errorf("version %d, want 3", v)
			}
			at, last := int(binary.LittleEndian.Uint64(data[64:]))*512, int64(-1) //nolint:gosec // small
			for {
				if at+512 > len(data) {
					t.Fatalf("the file ends at %d, before the end of its stream", len(data))
				}
				lba, size := int64(binary.LittleEndian.Uint64(data[at:])), int(binary.LittleEndian.Uint32(data[at+8:])) //nolint:gosec // small
				if size == 0 {
					if marker := binary.LittleEndian.Uint32(data[at+12:]); lba != 0 || marker != 0 || at+512 != len(data) {
						t.Errorf("marker %d at %d of %d bytes, want the end of the stream", marker, at, len(data))
					}
					break
				}
				if lba <= last {
					t.Errorf("grain at sector %d follows that at %d", lba, last)
				}
				last = lba
				at += (12 + size + 511) / 512 * 512
			}
		})
	}
}

// TestReadByQEMU compares the disk as QEMU reads it.
func TestReadByQEMU(t *testing.T) {
	img := testenv.Need(t, "qemu-img")
	for what, content := range disks() {
		t.Run(what, func(t *testing.T) {
			name := write(t, content)
			raw := filepath.Join(t.TempDir(), "raw")
			if out, err := exec.CommandContext(t.Context(), img, "check", "-f", "vmdk", name).CombinedOutput(); err != nil {
				t.Errorf("qemu-img check: %v\n%s", err, out)
			}
			if out, err := exec.CommandContext(t.Context(), img, "convert", "-f", "vmdk", "-O", "raw", name, raw).CombinedOutput(); err != nil {
				t.Fatalf("qemu-img convert: %v\n%s", err, out)
			}
			got, err := os.ReadFile(raw)
			want := append(bytes.Clone(content), make([]byte, (grain-len(content)%grain)%grain)...)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("QEMU reads %d bytes, %v, want the %d of the disk in whole grains", len(got), err, len(want))
			}
		})
	}
}

func TestWriteFails(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "disk.vmdk"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := vmdk.Write(t.Context(), f, bytes.NewReader(make([]byte, 100)), 1<<20, "x"); err == nil {
		t.Error("Write of a disk that is shorter than its size = nil error")
	}
	if err := vmdk.Write(t.Context(), f, nil, 3<<40, "x"); !errors.Is(err, vmdk.ErrTooLarge) {
		t.Errorf("Write of 3 TiB = %v, want ErrTooLarge", err)
	}
	errStop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errStop)
	if err := vmdk.Write(ctx, f, bytes.NewReader(make([]byte, 1<<20)), 1<<20, "x"); !errors.Is(err, errStop) {
		t.Errorf("Write with an ended context = %v, want its cause", err)
	}
}

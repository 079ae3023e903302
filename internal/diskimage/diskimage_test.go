package diskimage_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/diskimage"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// content returns a disk of a size with random data, text and holes.
func content(size int) []byte {
	disk := make([]byte, size)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(disk[:10000])
	copy(disk[300000:], strings.Repeat("a text that is easily compressed ", 9000))
	_, _ = random.Read(disk[size/2 : size/2+200000])
	_, _ = random.Read(disk[size-512:])
	return disk
}

// convert writes a raw disk as another format with qemu-img.
func convert(t testing.TB, disk []byte, format string, options ...string) string {
	t.Helper()
	img := testenv.Need(t, "qemu-img")
	dir := t.TempDir()
	from, to := filepath.Join(dir, "raw"), filepath.Join(dir, "converted")
	if err := os.WriteFile(from, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"convert", "-f", "raw", "-O", format}, options...)
	if out, err := exec.CommandContext(t.Context(), img, append(args, from, to)...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %v: %v\n%s", args, err, out)
	}
	return to
}

func open(t testing.TB, path, format string) (diskimage.Disk, error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return diskimage.Open(f, info.Size(), format)
}

// check compares a disk with its contents: read as a whole, in odd pieces, and without the
// holes.
func check(t *testing.T, disk diskimage.Disk, want []byte) {
	t.Helper()
	if disk.Size() != int64(len(want)) {
		t.Fatalf("Size = %d, want %d", disk.Size(), len(want))
	}
	got := make([]byte, len(want))
	if n, err := disk.ReadAt(got, 0); n != len(want) || err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("ReadAt = %d, %v, want %d", n, err, len(want))
	}
	if !bytes.Equal(got, want) {
		t.Fatal("ReadAt returned other contents")
	}
	piece := make([]byte, 70001)
	for off := 0; off < len(want); off += 65537 {
		n, err := disk.ReadAt(piece, int64(off))
		if wantN := min(len(piece), len(want)-off); n != wantN || !bytes.Equal(piece[:n], want[off:off+n]) {
			t.Fatalf("ReadAt(%d) = %d bytes, %v, want the %d bytes of the disk", off, n, err, wantN)
		}
	}
	if n, err := disk.ReadAt(piece, disk.Size()); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("ReadAt at the end = %d, %v, want EOF", n, err)
	}
	covered := make([]byte, len(want))
	for off := int64(0); ; {
		start, end, err := disk.NextData(off)
		if err != nil || start < off || start < disk.Size() && end <= start || end > disk.Size() {
			t.Fatalf("NextData(%d) = %d, %d, %v", off, start, end, err)
		}
		if start == disk.Size() {
			break
		}
		copy(covered[start:end], want[start:end])
		off = end
	}
	if !bytes.Equal(covered, want) {
		t.Error("NextData left out data")
	}
}

func TestFormats(t *testing.T) {
	want := content(3 << 20)
	for _, test := range []struct {
		name, format string
		options      []string
		is           string
	}{
		{"qcow2", "qcow2", nil, diskimage.QCOW2},
		{"qcow2 of version 2", "qcow2", []string{"-o", "compat=0.10"}, diskimage.QCOW2},
		{"compressed", "qcow2", []string{"-c"}, diskimage.QCOW2},
		{"compressed with zstd", "qcow2", []string{"-c", "-o", "compression_type=zstd"}, diskimage.QCOW2},
		{"small clusters", "qcow2", []string{"-o", "cluster_size=512"}, diskimage.QCOW2},
		{"compressed small clusters", "qcow2", []string{"-c", "-o", "cluster_size=4096"}, diskimage.QCOW2},
		{"large clusters", "qcow2", []string{"-o", "cluster_size=2M"}, diskimage.QCOW2},
		{"stream-optimized VMDK", "vmdk", []string{"-o", "subformat=streamOptimized"}, diskimage.VMDK},
		{"sparse VMDK", "vmdk", []string{"-o", "subformat=monolithicSparse"}, diskimage.VMDK},
		{"sparse VMDK with zeroed grains", "vmdk", []string{"-o", "subformat=monolithicSparse,zeroed_grain=on"}, diskimage.VMDK},
		{"dynamic VHD", "vpc", []string{"-o", "force_size=on"}, diskimage.VHD},
		{"fixed VHD", "vpc", []string{"-o", "subformat=fixed,force_size=on"}, diskimage.VHD},
		{"raw", "raw", nil, diskimage.Raw},
		{"full raw", "raw", []string{"-S", "0"}, diskimage.Raw},
	} {
		t.Run(test.name, func(t *testing.T) {
			disk, err := open(t, convert(t, want, test.format, test.options...), "")
			if err != nil {
				t.Fatalf("Open: %v", err)
			}
			if disk.Format() != test.is {
				t.Errorf("Format = %s, want %s", disk.Format(), test.is)
			}
			check(t, disk, want)
		})
	}
}

// TestRawOnly reads a disk whose user made it look like another format.
// TestQCOW2Writer has qemu-img check and read a file whose clusters were written out of
// order, some of them as zeros and some not at all.
func TestQCOW2Writer(t *testing.T) {
	const cluster, size = 512 << 10, 6<<20 + 512 // it ends within a cluster
	want := make([]byte, 7<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(want[:size])
	clear(want[cluster : 3*cluster])
	dir := t.TempDir()
	path, raw := filepath.Join(dir, "disk.qcow2"), filepath.Join(dir, "disk.raw")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w, err := diskimage.NewQCOW2Writer(file, size)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{12, 3, 0, 1, 7, 4, 5, 6, 11, 8, 10, 9} {
		data := want[n*cluster : (n+1)*cluster]
		if n == 1 {
			data = nil
		}
		if err := w.WriteCluster(int64(n*cluster), data); err != nil {
			t.Fatalf("WriteCluster(%d): %v", n*cluster, err)
		}
	}
	if err := w.WriteCluster(0, nil); err == nil {
		t.Error("WriteCluster(0) again = nil, want an error")
	}
	if err := w.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	disk, err := open(t, path, "qcow2")
	if err != nil {
		t.Fatal(err)
	}
	check(t, disk, want[:size])
	img := testenv.Need(t, "qemu-img")
	if err := os.WriteFile(raw, want[:size], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "-f", "qcow2", path}, {"compare", "-f", "qcow2", "-F", "raw", path, raw}} {
		if out, err := exec.CommandContext(t.Context(), img, args...).CombinedOutput(); err != nil {
			t.Errorf("qemu-img %v: %v\n%s", args, err, out)
		}
	}
}

func TestRawOnly(t *testing.T) {
	want := content(1 << 20)
	copy(want, "QFI\xfb")
	disk, err := diskimage.Open(bytes.NewReader(want), int64(len(want)), diskimage.Raw)
	if err != nil {
		t.Fatal(err)
	}
	check(t, disk, want)
	if disk, err = diskimage.Open(bytes.NewReader(want[:1000]), 1000, diskimage.Raw); err != nil {
		t.Fatal(err)
	}
	check(t, disk, append(bytes.Clone(want[:1000]), make([]byte, 24)...))
}

func TestOpenRefuses(t *testing.T) {
	want := content(2 << 20)
	img := testenv.Need(t, "qemu-img")
	create := func(args ...string) string {
		path := filepath.Join(t.TempDir(), "disk")
		args = append([]string{"create", "-q"}, args...)
		if out, err := exec.CommandContext(t.Context(), img, append(args, path, "4M")...).CombinedOutput(); err != nil {
			t.Fatalf("qemu-img %v: %v\n%s", args, err, out)
		}
		return path
	}
	base := convert(t, want, "qcow2")
	change := func(path string, at int, put []byte) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		copy(data[(at+len(data))%len(data):], put)
		to := filepath.Join(t.TempDir(), "changed")
		if err := os.WriteFile(to, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return to
	}
	text := func(s string) string {
		path := filepath.Join(t.TempDir(), "text")
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	big := binary.BigEndian.AppendUint64(nil, 1<<62)
	for name, test := range map[string]struct{ path, format, want string }{
		"backing file":     {create("-f", "qcow2", "-b", base, "-F", "qcow2"), "", "backing file"},
		"data file":        {create("-f", "qcow2", "-o", "data_file="+filepath.Join(t.TempDir(), "data")), "", "data file"},
		"extended entries": {create("-f", "qcow2", "-o", "extended_l2=on,cluster_size=65536"), "", "unsupported features"},
		"parent":           {change(convert(t, want, "vmdk"), 512, []byte("# Disk DescriptorFile\nparentCID=12345678\nRW 4096 SPARSE \"x\"\n\x00")), "", "parent"},
		"flat VMDK":        {change(convert(t, want, "vmdk"), 512, []byte("RW 4096 FLAT \"/etc/passwd\" 0\n\x00")), "", "another file"},
		"descriptor":       {convert(t, want, "vmdk", "-o", "subformat=monolithicFlat"), "", "names other files"},
		"huge":             {change(base, 24, big), "", "a disk of"},
		"gzip":             {text("\x1f\x8b"), "", "decompress"},
		"cut VHD":          {change(convert(t, want, "vpc"), -512, []byte("x")), "", "footer"},
		"empty":            {text(""), "", "a disk of 0 bytes"},
		"other format":     {base, "vdi", "unknown format"},
		"wrong format":     {base, "vmdk", "not a sparse VMDK"},
	} {
		if _, err := open(t, test.path, test.format); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Open = %v, want an error with %q", name, err, test.want)
		}
	}
}

// walk reads parts of a disk and all its ranges, up to a number of them.
func walk(disk diskimage.Disk) {
	buf := make([]byte, 64<<10)
	off := int64(0)
	for range 100 {
		start, end, err := disk.NextData(off)
		if err != nil || start >= disk.Size() {
			break
		}
		if start < off || end <= start || end > disk.Size() {
			panic("NextData does not advance")
		}
		_, _ = disk.ReadAt(buf, start)
		off = end
	}
	_, _ = disk.ReadAt(buf, disk.Size()-int64(len(buf)/2))
}

// FuzzOpen changes places of good files, since the interesting fields are few and far
// apart. Checksums are mended.
func FuzzOpen(f *testing.F) {
	bases := [][]byte{nil}
	if _, err := exec.LookPath("qemu-img"); err == nil {
		disk := content(1 << 20)
		for _, seed := range [][]string{
			{"qcow2", "-o", "cluster_size=512"}, {"qcow2", "-c"}, {"qcow2", "-c", "-o", "compression_type=zstd"},
			{"vmdk", "-o", "subformat=streamOptimized"}, {"vmdk"}, {"vpc"}, {"vpc", "-o", "subformat=fixed"},
		} {
			data, err := os.ReadFile(convert(f, disk, seed[0], seed[1:]...))
			if err != nil {
				f.Fatal(err)
			}
			bases = append(bases, data)
		}
	}
	const length = 4 + 8 // an offset and what is written there
	for i := range bases {
		f.Add(uint8(i), []byte{})
		f.Add(uint8(i), append(make([]byte, 3), 24, 0, 0, 1, 0, 0, 0, 0, 0))
	}
	f.Fuzz(func(_ *testing.T, base uint8, changes []byte) {
		data := bytes.Clone(bases[int(base)%len(bases)])
		if len(data) == 0 {
			data = changes
		}
		for len(changes) >= length && len(data) >= 2*length {
			at := int(binary.BigEndian.Uint32(changes)) % (len(data) - length)
			copy(data[at:], changes[4:length])
			changes = changes[length:]
		}
		diskimage.MendVHD(data)
		for _, format := range append(diskimage.Formats(), "") {
			if disk, err := diskimage.Open(bytes.NewReader(data), int64(len(data)), format); err == nil {
				walk(disk)
			}
		}
	})
}

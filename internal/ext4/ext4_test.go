package ext4_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/ext4"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/internal/testenv/disktest"
)

const mib = 1 << 20

// files are of all kinds that matter: small, large, with holes are those of sparse disks,
// links, and a directory with an index.
func files() map[string]disktest.File {
	large := make([]byte, 3*mib+123)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(large)
	clear(large[mib : 2*mib])
	all := disktest.System(map[string]disktest.File{
		"/large":           {Content: string(large)},
		"/tiny":            {Content: "tiny"},
		"/hundred":         {Content: strings.Repeat("0123456789", 10)},
		"/usr/bin/special": {Content: "x", Mode: 0o755 | os.ModeSetuid},
		"/tmp/open":        {Content: "x", Mode: 0o777},
		"/link":            {Link: "usr/../etc/passwd"},
		"/absolute":        {Link: "/etc/hostname"},
		"/long":            {Link: strings.Repeat("./", 60) + "tiny"},
		"/loop":            {Link: "loop"},
	})
	for i := range 80 {
		all[fmt.Sprintf("/many/a file with a rather long name, number %04d", i)] = disktest.File{Content: fmt.Sprint(i)}
	}
	return all
}

func open(t testing.TB, disk []byte) *ext4.FS {
	t.Helper()
	f, err := ext4.Open(bytes.NewReader(disk), int64(len(disk)))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return f
}

func TestRead(t *testing.T) {
	want := files()
	for name, options := range map[string][]string{
		"default":      nil,
		"1 KiB blocks": {"-b", "1024"},
		"64 KiB":       {"-b", "65536"},
		"ext2":         {"-t", "ext2", "-b", "1024"},
		"ext3":         {"-t", "ext3"},
		"inline":       {"-O", "inline_data", "-I", "256"},
		"meta groups":  {"-O", "meta_bg,^resize_inode", "-g", "1024", "-b", "1024"},
		"old":          {"-O", "^64bit,^flex_bg", "-I", "128"},
		"label":        {"-L", "cloudimg-rootfs", "-O", "sparse_super2"},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, disktest.Ext4(t, 16*mib, want, options...))
			if name == "label" && f.Label != "cloudimg-rootfs" {
				t.Errorf("Label = %q", f.Label)
			}
			got := map[string]bool{}
			err := f.Walk(func(name string, i *ext4.Inode, err error) error {
				if err != nil {
					t.Errorf("Walk: %s: %v", name, err)
					return nil
				}
				file, ok := want[name]
				got[name] = ok
				switch {
				case !ok && !i.Mode.IsDir():
					t.Errorf("Walk: unknown file %s", name)
				case !ok:
				case file.Link != "":
					if target, err := f.Read(i, 4096); err != nil || string(target) != file.Link || i.Mode&fs.ModeSymlink == 0 {
						t.Errorf("%s: %v to %q, %v, want a link to %q", name, i.Mode, target, err, file.Link)
					}
				default:
					mode := file.Mode
					if mode == 0 {
						mode = 0o644
					}
					data, err := f.Read(i, 1<<30)
					if err != nil || string(data) != file.Content || i.Mode != mode || i.Size != int64(len(file.Content)) {
						t.Errorf("%s: %v, %d bytes, %v, want %v, %d bytes as written", name, i.Mode, len(data), err, mode, len(file.Content))
					}
				}
				return nil
			})
			if err != nil {
				t.Errorf("Walk: %v", err)
			}
			for name := range want {
				if !got[name] {
					t.Errorf("Walk did not visit %s", name)
				}
			}
			for name, is := range map[string]string{"/link": "root:x", "/absolute": "image\n", "/long": "tiny", "/bin/../bin/./tool": "#!/bin"} {
				if data, err := f.ReadFile(name, 6); err != nil || string(data) != is[:min(6, len(is))] {
					t.Errorf("ReadFile(%s) = %q, %v, want %q", name, data, err, is)
				}
			}
			if _, err := f.Stat("/nothing/here"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Stat of nothing: %v, want ErrNotExist", err)
			}
			if _, err := f.Stat("/loop"); err == nil {
				t.Error("Stat of a link to itself succeeded")
			}
		})
	}
}

// TestHoles reads a file that has fewer blocks than bytes.
func TestHoles(t *testing.T) {
	mke2fs, root := testenv.Need(t, "mke2fs"), t.TempDir()
	sparse, err := os.Create(filepath.Join(root, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = sparse.WriteAt([]byte("far away"), 200*mib)
	if err := errors.Join(err, sparse.Close()); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"ext4", "ext2"} {
		image := filepath.Join(t.TempDir(), "fs")
		if out, err := exec.CommandContext(t.Context(), mke2fs, "-q", "-t", kind, "-b", "1024", "-d", root, image, "16M").CombinedOutput(); err != nil {
			t.Fatalf("mke2fs: %v\n%s", err, out)
		}
		disk, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		data, err := open(t, disk).ReadFile("/sparse", 1<<30)
		if err != nil || len(data) != 200*mib+8 || string(data[200*mib:]) != "far away" || bytes.ContainsFunc(data[:200*mib], func(r rune) bool { return r != 0 }) {
			t.Errorf("%s: ReadFile = %d bytes, %v, want 200 MiB of zeros and a text", kind, len(data), err)
		}
	}
}

func TestOpenOther(t *testing.T) {
	for _, disk := range [][]byte{nil, make([]byte, mib)} {
		if _, err := ext4.Open(bytes.NewReader(disk), int64(len(disk))); !errors.Is(err, ext4.ErrNotExt4) {
			t.Errorf("Open of %d zeros: %v, want ErrNotExt4", len(disk), err)
		}
	}
}

// FuzzWalk changes places of a small file system, most of them in its first blocks.
func FuzzWalk(f *testing.F) {
	var bases [][]byte
	small := files()
	maps.DeleteFunc(small, func(name string, _ disktest.File) bool { return path.Dir(name) == "/many" && name[len(name)-1] != '1' })
	for _, options := range [][]string{{"-O", "^has_journal"}, {"-t", "ext2", "-b", "1024"}, {"-O", "inline_data,^has_journal", "-I", "256"}} {
		bases = append(bases, disktest.Ext4(f, 8*mib, small, options...))
	}
	const length = 3 + 4 // a place, and what is written there
	for i := range bases {
		f.Add(uint8(i), []byte{0, 4, 0x38, 0, 0, 0, 0})
		f.Add(uint8(i), []byte{3, 0, 0, 1, 2, 3, 4})
	}
	f.Fuzz(func(_ *testing.T, base uint8, changes []byte) {
		disk := bytes.Clone(bases[int(base)%len(bases)])
		for part := range slices.Chunk(changes, length) {
			if len(part) < length {
				break
			}
			at := int(binary.BigEndian.Uint32(append([]byte{0}, part...))) % (len(disk) - length)
			copy(disk[at:], part[3:])
		}
		fsys, err := ext4.Open(bytes.NewReader(disk), int64(len(disk)))
		if err != nil {
			return
		}
		visited := 0
		_ = fsys.Walk(func(_ string, i *ext4.Inode, err error) error {
			if visited++; visited > 5000 {
				return fs.SkipAll
			}
			if err == nil && !i.Mode.IsDir() {
				_, _ = fsys.Read(i, 64<<10)
			}
			return nil
		})
		_, _ = fsys.ReadFile("/link", 100)
	})
}

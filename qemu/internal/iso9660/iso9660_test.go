package iso9660_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/qemu/internal/iso9660"
)

func seed() []iso9660.File {
	files := []iso9660.File{
		{Name: "user-data", Content: []byte(strings.Repeat("#cloud-config\n", 500))},
		{Name: "meta-data", Content: []byte("instance-id: x\n")},
		{Name: "network-config"},
		{Name: "Mixed_Case.name.with.dots-and-as-long-as-a-name-can-be-in-Joliet", Content: bytes.Repeat([]byte{0xff}, 2048)},
	}
	for i := range 40 { // more than one sector of directory
		files = append(files, iso9660.File{Name: fmt.Sprintf("file-%02d", i), Content: fmt.Appendf(nil, "content %d", i)})
	}
	return files
}

// TestReadByXorriso reads an image with an independent program, by its Rock Ridge and
// its Joliet names.
func TestReadByXorriso(t *testing.T) {
	xorriso := testenv.Need(t, "xorriso")
	image, err := iso9660.Write("cidata", time.Unix(1_800_000_000, 0), seed()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range [][]string{{"-read_fs", "norock"}, {"-read_fs", "nojoliet"}} {
		t.Run(names[1], func(t *testing.T) {
			dir := t.TempDir()
			iso := filepath.Join(dir, "seed.iso")
			if err := os.WriteFile(iso, image, 0o600); err != nil {
				t.Fatal(err)
			}
			args := append(names, "-abort_on", "WARNING", "-indev", iso, "-pvd_info", "-osirrox", "on", "-extract", "/", filepath.Join(dir, "out"))
			out, err := exec.CommandContext(t.Context(), xorriso, args...).CombinedOutput()
			if err != nil {
				t.Fatalf("xorriso %v: %v\n%s", args, err, out)
			}
			if !strings.Contains(string(out), "Volume Id    : cidata\n") {
				t.Errorf("xorriso reports another volume id than cidata:\n%s", out)
			}
			for _, f := range seed() {
				got, err := os.ReadFile(filepath.Join(dir, "out", f.Name))
				if err != nil || !bytes.Equal(got, f.Content) {
					t.Errorf("%s = %d bytes, %v, want %d bytes", f.Name, len(got), err, len(f.Content))
				}
			}
			entries, err := os.ReadDir(filepath.Join(dir, "out"))
			if err != nil || len(entries) != len(seed()) {
				t.Errorf("image has %d files, %v, want %d", len(entries), err, len(seed()))
			}
		})
	}
}

func TestWriteRefuses(t *testing.T) {
	for name, files := range map[string][]iso9660.File{
		"no name":    {{}},
		"slash":      {{Name: "a/b"}},
		"umlaut":     {{Name: "ä"}},
		"long":       {{Name: strings.Repeat("x", 65)}},
		"twice":      {{Name: "a"}, {Name: "a"}},
		"line break": {{Name: "a\nb"}},
	} {
		if _, err := iso9660.Write("cidata", time.Time{}, files...); err == nil {
			t.Errorf("%s: Write = nil error, want one", name)
		}
	}
	if _, err := iso9660.Write("a label of seventeen", time.Time{}); err == nil {
		t.Error("Write with a long label = nil error, want one")
	}
}

func TestWriteIsDeterministic(t *testing.T) {
	first, _ := iso9660.Write("cidata", time.Unix(0, 0), seed()...)
	second, _ := iso9660.Write("cidata", time.Unix(0, 0), seed()...)
	if !bytes.Equal(first, second) || len(first)%2048 != 0 {
		t.Errorf("two images of the same files differ, or %d bytes are not whole sectors", len(first))
	}
}

// TestOpen reads files of an image by Bakestone and of one by xorriso, which has
// directories.
func TestOpen(t *testing.T) {
	image, err := iso9660.Write("cidata", time.Unix(1_800_000_000, 0), seed()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range seed() {
		wantFile(t, image, strings.ToUpper(f.Name), string(f.Content))
	}
	for path, want := range map[string]string{"missing": "file does not exist", "user-data/x": "file does not exist", "/": "file does not exist"} {
		if _, err := iso9660.Open(bytes.NewReader(image), path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open %q = %v, want %q", path, err, want)
		}
	}
	for _, damaged := range [][]byte{nil, make([]byte, 40<<10), image[:23*2048]} {
		if _, err := iso9660.Open(bytes.NewReader(damaged), "user-data"); err == nil {
			t.Errorf("Open in a damaged image of %d bytes = nil error", len(damaged))
		}
	}

	xorriso := testenv.Need(t, "xorriso")
	dir := t.TempDir()
	const name = "A-long.name_of a kernel-6.1.0"
	if err := os.MkdirAll(filepath.Join(dir, "root", "Install.amd", "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "root", "Install.amd", "deep", name), []byte("kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, rockRidge := range [][]string{{"-r"}, {"-r", "-J"}} {
		iso := filepath.Join(dir, strings.Join(rockRidge, "")+".iso")
		args := append(append([]string{"-as", "mkisofs", "-quiet", "-o", iso}, rockRidge...), filepath.Join(dir, "root"))
		if out, err := exec.CommandContext(t.Context(), xorriso, args...).CombinedOutput(); err != nil {
			t.Fatalf("xorriso %v: %v\n%s", args, err, out)
		}
		image, err := os.ReadFile(iso)
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, image, "install.amd/deep/"+name, "kernel")
		if _, err := iso9660.Open(bytes.NewReader(image), "install.amd"); err == nil || !strings.Contains(err.Error(), "is a directory") {
			t.Errorf("Open of a directory = %v", err)
		}
	}
}

func wantFile(t *testing.T, image []byte, path, want string) {
	t.Helper()
	f, err := iso9660.Open(bytes.NewReader(image), path)
	if err != nil {
		t.Error(err)
		return
	}
	got := make([]byte, f.Size())
	if _, err := f.ReadAt(got, 0); err != nil && len(got) > 0 || string(got) != want {
		t.Errorf("%s = %d bytes, %v, want %d", path, len(got), err, len(want))
	}
}

//go:build unix

package qemu_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/qemu"
	"github.com/bakestone-go/bakestone/qemu/internal/iso9660"
)

// newInstaller returns an Installer that the fake understands.
func newInstaller(t *testing.T) qemu.Installer {
	t.Helper()
	kernel := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(kernel, []byte("kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	return qemu.Installer{
		Kernel: qemu.DiskFile(kernel), Append: "console=ttyS0 answers={{.HTTP}}/answers",
		Files: fstest.MapFS{"answers.tmpl": {Data: []byte("install to {{.HTTP}}/answers\n")}},
	}
}

func TestInstallerConforms(t *testing.T) {
	longOnly(t)
	baketest.Conform(t, func(t *testing.T) baketest.Platform {
		t.Helper()
		host, _ := newHost(t)
		return baketest.Platform{
			Builder:  qemu.Builder{Host: host, Source: newInstaller(t), Accelerator: qemu.TCG},
			Layers:   qemu.Builder{Host: host, Accelerator: qemu.TCG},
			Existing: func() []string { return existing(t, host) },
		}
	}, &baketest.ConformOptions{Parallel: true})
}

// TestInstallerIsPartOfReuse changes one input of an installer after the other.
func TestInstallerIsPartOfReuse(t *testing.T) {
	t.Parallel()
	host, _ := newHost(t)
	first := newInstaller(t)
	bakeWith := func(i qemu.Installer) bake.Status {
		t.Helper()
		img := &bake.Image{Name: "web", Fingerprint: "1", Builder: qemu.Builder{Host: host, Source: i, Accelerator: qemu.TCG}}
		results, err := bake.Bake(t.Context(), nil, img)
		if err != nil {
			t.Fatal(err)
		}
		return results[0].Status
	}
	if got := bakeWith(first); got != bake.StatusBaked {
		t.Fatalf("first Bake = %s, want it baked", got)
	}
	slower := first
	slower.Timeout = time.Minute
	if got := bakeWith(slower); got != bake.StatusReused {
		t.Errorf("Bake with another time limit = %s, want the image reused", got)
	}
	for name, change := range map[string]func(*qemu.Installer){
		"Append": func(i *qemu.Installer) { i.Append = "quiet " + i.Append },
		"Files": func(i *qemu.Installer) {
			i.Files = fstest.MapFS{"answers.tmpl": {Data: []byte("install to {{.HTTP}}/answers\n")}, "more": {Data: []byte("x")}}
		},
		"Kernel": func(i *qemu.Installer) {
			i.Kernel = newInstaller(t).Kernel
			if err := os.WriteFile(i.Kernel.String(), []byte("another kernel"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"Initrd": func(i *qemu.Installer) { i.Initrd = i.Kernel },
		"Label":  func(i *qemu.Installer) { i.Label = "cidata" },
	} {
		i := first
		change(&i)
		if got := bakeWith(i); got != bake.StatusBaked {
			t.Errorf("Bake with another %s = %s, want it baked", name, got)
		}
	}
}

// TestInstallerArguments reads what QEMU is told, and what is on the medium with answers.
func TestInstallerArguments(t *testing.T) {
	host, _ := newHost(t)
	dir := t.TempDir()
	image, err := iso9660.Write("installer", time.Now(), iso9660.File{Name: "vmlinuz", Content: []byte("kernel of the ISO")})
	if err != nil {
		t.Fatal(err)
	}
	iso := filepath.Join(dir, "a,b.iso")
	if err := os.WriteFile(iso, image, 0o600); err != nil {
		t.Fatal(err)
	}
	i := newInstaller(t)
	i.ISO, i.Kernel, i.Label = qemu.DiskFile(iso), qemu.InISO("/VMLINUZ"), "OEMDRV"
	// The installer fails: what it was started with is still there.
	i.Append = "console=ttyS0 answers={{.HTTP}}/missing"
	b := qemu.Builder{Host: host, Source: i, Accelerator: qemu.TCG, Args: []string{"-no-hpet"}}
	var arguments, kernel string
	var medium []byte
	observe := func(e bake.Event) {
		if e.Kind != bake.Message {
			return
		}
		for name, into := range map[string]func([]byte){
			"arguments": func(data []byte) { arguments = string(data) }, "answers.iso": func(data []byte) { medium = data },
		} {
			found, _ := filepath.Glob(filepath.Join(host.Dir(), "building", "*", name))
			if len(found) == 1 {
				data, err := os.ReadFile(found[0])
				if err != nil {
					t.Error(err)
				}
				into(data)
			}
		}
		if _, after, found := strings.Cut(arguments, "-kernel\n"); found {
			path, _, _ := strings.Cut(after, "\n")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
			}
			kernel = string(data)
		}
	}
	_, err = bake.Bake(t.Context(), &bake.Options{Observe: observe}, &bake.Image{Name: "web", Builder: b})
	wantError(t, err, "install: machine is ended (guest-reset), but the disk has no boot sector: nothing was installed")
	wantError(t, err, "installer: 404 Not Found")
	for _, want := range []string{
		"-no-reboot\n", `"filename":"` + iso + `"`, "ide-cd,drive=iso,bootindex=2", `"no-flush":true`,
		"answers.iso", "virtio-blk-pci,drive=disk,serial=disk,bootindex=1", "\n-no-hpet",
	} {
		if !strings.Contains(arguments, want) {
			t.Errorf("QEMU's arguments lack %q:\n%s", want, arguments)
		}
	}
	if strings.Contains(arguments, "seed.iso") {
		t.Errorf("the installer sees the seed of the build:\n%s", arguments)
	}
	if kernel != "kernel of the ISO" {
		t.Errorf("QEMU boots the kernel %q, want that of the ISO image", kernel)
	}
	answers, err := iso9660.Open(bytes.NewReader(medium), "answers")
	if err != nil {
		t.Fatal(err)
	}
	text := make([]byte, answers.Size())
	if _, err := answers.ReadAt(text, 0); err != nil || !strings.HasPrefix(string(text), "install to http://10.0.2.2:") {
		t.Errorf("answers on the medium: %q, %v, want the rendered template", text, err)
	}
	if left := existing(t, host); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestInstallerValidate(t *testing.T) {
	host, _ := newHost(t)
	for want, change := range map[string]func(*qemu.Installer){
		"Installer.Kernel: is required unless ISO is set":          func(i *qemu.Installer) { *i = qemu.Installer{} },
		"Installer.Kernel: is required by Initrd and Append":       func(i *qemu.Installer) { i.ISO, i.Kernel = i.Kernel, nil },
		"Installer.Kernel: path of the disk is required":           func(i *qemu.Installer) { i.Kernel = qemu.DiskFile("") },
		"Installer.Initrd: is a file of Installer.ISO, which is":   func(i *qemu.Installer) { i.Initrd = qemu.InISO("x") },
		"Installer.ISO: is a file of Installer.ISO":                func(i *qemu.Installer) { i.ISO = qemu.InISO("x") },
		"Installer.Initrd: URL.SHA256: invalid digest":             func(i *qemu.Installer) { i.Initrd = qemu.URL{URL: "https://example.com/x"} },
		"Installer.Append: template: template:1":                   func(i *qemu.Installer) { i.Append = "{{" },
		"can't evaluate field Port":                                func(i *qemu.Installer) { i.Append = "{{.Port}}" },
		"Installer.Files: is required by {{.HTTP}} in Append":      func(i *qemu.Installer) { i.Files = nil },
		"Installer.Files: is required by Label":                    func(i *qemu.Installer) { i.Files, i.Label = nil, "cidata" },
		"Installer.Files: x.tmpl: template":                        func(i *qemu.Installer) { i.Files = fstest.MapFS{"x.tmpl": {Data: []byte("{{end}}")}} },
		`Installer.Keys[0]: Text: 'ü' is not on the keyboard`:      func(i *qemu.Installer) { i.Keys = []qemu.Keys{{Text: "ü"}} },
		`Installer.Keys[1]: Press: invalid key "Enter"`:            func(i *qemu.Installer) { i.Keys = []qemu.Keys{{}, {Press: []string{"Enter"}}} },
		"Installer.Timeout: must not be negative":                  func(i *qemu.Installer) { i.StallTimeout = -1 },
		"Installer.Append: contains [redacted]":                    func(i *qemu.Installer) { i.Append = bake.NewSecret("x").String() },
		"Builder.Source: Installer.Files: stat .: no such file or": func(i *qemu.Installer) { i.Files = os.DirFS("missing") },
	} {
		i := newInstaller(t)
		change(&i)
		wantError(t, qemu.Builder{Host: host, Source: i}.Validate(&bake.Image{Name: "web"}), want)
	}
	i := newInstaller(t)
	i.Keys = []qemu.Keys{{WaitFor: "boot:", After: time.Second, Text: "linux ks={{.HTTP}}/x_Y?\n", Press: []string{"ctrl", "f2"}}}
	if err := (qemu.Builder{Host: host, Source: &i}).Validate(&bake.Image{Name: "web"}); err != nil {
		t.Errorf("Validate of a valid installer = %v", err)
	}
}

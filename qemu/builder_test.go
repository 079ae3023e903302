//go:build unix

package qemu_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/qemu"
)

// simple returns a definition with a Builder of the fake.
func simple(t *testing.T) (*bake.Image, qemu.Builder) {
	t.Helper()
	host, source := newHost(t)
	b := qemu.Builder{Host: host, Source: qemu.DiskFile(source), Accelerator: qemu.TCG}
	return &bake.Image{Name: "web", Builder: b}, b
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error = %v, want %q", err, want)
	}
}

func diskOf(t *testing.T, r *bake.Result) *qemu.Disk {
	t.Helper()
	d, err := qemu.DiskOf(r.Artifact)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestArtifact(t *testing.T) {
	img, b := simple(t)
	b.DiskSize, b.Tags = 2<<30, map[string]string{"team": "web", "purpose": "builder"}
	img.Builder, img.Tags = b, map[string]string{"purpose": "image"}
	results, err := bake.Bake(t.Context(), nil, img)
	if err != nil {
		t.Fatal(err)
	}
	d := diskOf(t, results[0])
	if d.Size != 2<<30 || d.Format != "qcow2" || d.Login != "root" || d.Arch != "x86_64" || d.Tags["purpose"] != "image" || d.Tags["team"] != "web" {
		t.Errorf("artifact %+v has another size, format, login, architecture or tags", d)
	}
	content, err := readFakeDisk(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	if content.Backing != "" || len(content.Files) == 0 {
		t.Errorf("%s has the backing file %q and %d files, want it standalone", d.Path, content.Backing, len(content.Files))
	}
	for name, f := range content.Files {
		if strings.Contains(string(f.Content), "bakestone-") {
			t.Errorf("%s contains the build's key or id: %q", name, f.Content)
		}
	}
	data, err := os.ReadFile(filepath.Join(filepath.Dir(d.Path), "artifact.json"))
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct{ ID, SHA256 string }
	if err := json.Unmarshal(data, &recorded); err != nil || recorded.ID != d.ID() || recorded.SHA256 != d.SHA256 {
		t.Errorf("artifact.json: %s, %v, want the id and digest of %+v", data, err, d)
	}
}

func TestNewestImageIsSource(t *testing.T) {
	img, b := simple(t)
	img.Provisioners = []bake.Provisioner{provision.Shell("echo one >/etc/layer")}
	if _, err := bake.Bake(t.Context(), nil, img); err != nil {
		t.Fatal(err)
	}
	b.Source = qemu.NewestImage("web")
	top := &bake.Image{Name: "top", Builder: b, Provisioners: []bake.Provisioner{provision.Shell("test $(cat /etc/layer) = one")}}
	results, err := bake.Bake(t.Context(), nil, top)
	if err != nil {
		t.Fatal(err)
	}
	if d := diskOf(t, results[0]); !strings.HasPrefix(d.Source.ID, "web/") {
		t.Errorf("source %+v, want the image web", d.Source)
	}
	b.Source = qemu.NewestImage("missing")
	_, err = bake.Bake(t.Context(), nil, &bake.Image{Name: "x", Builder: b})
	wantError(t, err, `find source disk: no image "missing" in `)
}

func TestValidate(t *testing.T) {
	host, _ := newHost(t)
	valid := qemu.Builder{Host: host, Source: qemu.DiskFile("x.qcow2")}
	for want, change := range map[string]func(*bake.Image, *qemu.Builder){
		"Builder.Host: is required":                                   func(_ *bake.Image, b *qemu.Builder) { b.Host = nil },
		"Builder.Host: directory is required":                         func(_ *bake.Image, b *qemu.Builder) { b.Host = qemu.NewHost("", nil) },
		"Builder.Source: is required unless Image.From is set":        func(_ *bake.Image, b *qemu.Builder) { b.Source = nil },
		"Builder.Source: path of the disk is required":                func(_ *bake.Image, b *qemu.Builder) { b.Source = qemu.DiskFile("") },
		"Builder.Source: URL.SHA256: invalid digest":                  func(_ *bake.Image, b *qemu.Builder) { b.Source = qemu.URL{URL: "https://example.com/x"} },
		`URL.URL: "ftp://user:xxxxx@example.com/x" is not`:            func(_ *bake.Image, b *qemu.Builder) { b.Source = qemu.URL{URL: "ftp://user:pass@example.com/x"} }, //nolint:gosec // no real password
		`Image.Name: invalid name "../x"`:                             func(img *bake.Image, _ *qemu.Builder) { img.Name = "../x" },
		`Image.Name: invalid name "界`:                                 func(img *bake.Image, _ *qemu.Builder) { img.Name = strings.Repeat("界", 67) }, // 201 bytes
		`Image.Name: invalid name "x\x80"`:                            func(img *bake.Image, _ *qemu.Builder) { img.Name = "x\x80" },
		`Image.Name: invalid name ""`:                                 func(img *bake.Image, _ *qemu.Builder) { img.Name = "" },
		`Image.Name: invalid name "x."`:                               func(img *bake.Image, _ *qemu.Builder) { img.Name = "x." },
		`Builder.Arch: unknown architecture "amd64"`:                  func(_ *bake.Image, b *qemu.Builder) { b.Arch = "amd64" },
		"Builder.Memory: is 512 bytes, want at least":                 func(_ *bake.Image, b *qemu.Builder) { b.Memory = 512 },
		"Builder.DiskSize: is 10 bytes":                               func(_ *bake.Image, b *qemu.Builder) { b.DiskSize = 10 },
		`Builder.Accelerator: unknown value "xen"`:                    func(_ *bake.Image, b *qemu.Builder) { b.Accelerator = "xen" },
		`Builder.Machine: invalid value "q35,smm=on"`:                 func(_ *bake.Image, b *qemu.Builder) { b.Machine = "q35,smm=on" },
		"Builder.GuestCleanup.Keep: unknown item":                     func(_ *bake.Image, b *qemu.Builder) { b.GuestCleanup.Keep = []qemu.CleanupItem{"x"} },
		"Builder.UserData: unknown cloud-init format":                 func(_ *bake.Image, b *qemu.Builder) { b.UserData = []byte("hello") },
		"Builder.PowerOff: contains [redacted]":                       func(_ *bake.Image, b *qemu.Builder) { b.PowerOff = "echo " + bake.NewSecret("x").String() },
		"Builder.SSH.ConnectTimeout: must not be negative":            func(_ *bake.Image, b *qemu.Builder) { b.SSH.ConnectTimeout = -1 },
		"Builder.Source: NewestFile.Pattern: syntax error in pattern": func(_ *bake.Image, b *qemu.Builder) { b.Source = qemu.NewestFile{Dir: "x", Pattern: "["} },
		"Builder.Host: HostOptions.Machines must not be negative":     func(_ *bake.Image, b *qemu.Builder) { b.Host = qemu.NewHost("x", &qemu.HostOptions{Machines: -1}) },
		`Builder.Source: invalid image name "a/b"`:                    func(_ *bake.Image, b *qemu.Builder) { b.Source = qemu.NewestImage("a/b") },
		"Builder.Source: cannot be set together with Image.From":      func(img *bake.Image, b *qemu.Builder) { img.From = &bake.Image{Name: "base", Builder: *b} },
	} {
		b := valid
		img := &bake.Image{Name: "web"}
		change(img, &b)
		wantError(t, b.Validate(img), want)
	}
	if err := valid.Validate(&bake.Image{Name: "web 1.2+x_y " + strings.Repeat("界", 62)}); err != nil {
		t.Errorf("Validate of a valid Builder = %v", err)
	}
}

func TestMissingQEMU(t *testing.T) {
	b := qemu.Builder{Host: qemu.NewHost(t.TempDir(), &qemu.HostOptions{Programs: t.TempDir()}), Source: qemu.DiskFile("x")}
	_, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "web", Builder: b})
	missing, ok := errors.AsType[*qemu.MissingProgramError](err)
	if !ok || missing.Program != "qemu-img" || missing.Package != "qemu-utils" {
		t.Errorf("Bake without QEMU = %v, want a MissingProgramError", err)
	}
	wantError(t, err, "image web: qemu-img is not installed")
	wantError(t, err, "apt-get install qemu-utils")
	wantError(t, err, "apt-get install qemu-system-x86")
}

// TestAcceleratorFallback runs a QEMU that has no other accelerator than TCG.
func TestAcceleratorFallback(t *testing.T) {
	img, b := simple(t)
	t.Setenv(fakeAccel, "tcg")
	b.Accelerator = ""
	img.Builder = b
	var said []string
	observe := func(e bake.Event) {
		if e.Step == "start machine" && e.Kind == bake.Message {
			said = append(said, e.Text)
		}
	}
	if _, err := bake.Bake(t.Context(), &bake.Options{Observe: observe}, img); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(said, "\n"); !strings.Contains(text, "machine runs with tcg") {
		t.Errorf("events say %q, want the accelerator", text)
	}
	t.Setenv("BAKESTONE_QEMU_ACCEL", "kvm")
	_, err := bake.Bake(t.Context(), nil, img)
	wantError(t, err, "start machine: machine is ended: exit status 1")
	wantError(t, err, "QEMU says:\n\tfake: no such accelerator")
	if left := existing(t, b.Host); len(left) != 1 {
		t.Errorf("left behind: %v, want the first image alone", left)
	}
}

// pidOf returns the process of the only machine.
func pidOf(t *testing.T, host *qemu.Host) int {
	t.Helper()
	entries, err := os.ReadDir(runningOf(host))
	if err != nil || len(entries) != 1 {
		t.Fatalf("running machines: %v, %v, want one", entries, err)
	}
	pid, err := strconv.Atoi(entries[0].Name())
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// TestKilledQEMU kills QEMU while a provisioner runs: the build starts again, once.
func TestKilledQEMU(t *testing.T) {
	t.Parallel()
	for kills, want := range map[int]string{1: "", 2: "machine is ended: signal: killed"} {
		img, b := simple(t)
		begun := 0
		img.Provisioners = []bake.Provisioner{bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
			if begun++; begun <= kills {
				pid := pidOf(t, b.Host)
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
				_ = os.Remove(filepath.Join(runningOf(b.Host), strconv.Itoa(pid)))
			}
			return m.Run(ctx, bake.Sh("sleep 1"))
		}}}
		_, err := bake.Bake(t.Context(), nil, img)
		if want == "" && err != nil {
			t.Errorf("Bake after %d kills = %v", kills, err)
		} else if want != "" {
			wantError(t, err, want)
			if left := existing(t, b.Host); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		}
	}
}

// TestPowerOffWhileProvisioning ends the machine from inside.
func TestPowerOffWhileProvisioning(t *testing.T) {
	t.Parallel()
	img, b := simple(t)
	img.Provisioners = []bake.Provisioner{provision.Shell("poweroff; sleep 100").AsRoot()}
	_, err := bake.Bake(t.Context(), nil, img)
	failed, ok := errors.AsType[*qemu.MachineError](err)
	if !ok || failed.State != "powered down" || !errors.Is(err, bake.ErrDisconnected) || !errors.Is(err, bake.ErrMachineEnded) || len(failed.Console) == 0 {
		t.Errorf("Bake = %v, want a MachineError with the console", err)
	}
	if left := existing(t, b.Host); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestPowerButton bakes a guest whose power-off command has no effect.
func TestPowerButton(t *testing.T) {
	img, b := simple(t)
	b.PowerOff, b.PowerOffTimeout = "true", 3*time.Second
	img.Builder = b
	pressed := false
	_, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
		pressed = pressed || strings.Contains(e.Text, "pressing its power button")
	}}, img)
	if err != nil || !pressed {
		t.Errorf("Bake = %v, power button pressed: %t, want it baked with the button", err, pressed)
	}
}

// TestTrim expects a message if the contents of deleted files stay in the image.
func TestTrim(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fstrim string
		off    bool
		want   string
	}{
		"trims":         {fstrim: "echo '/: 4 KiB (4096 bytes) trimmed on /dev/vda1'"},
		"trims nothing": {fstrim: "true", want: "fstrim finds no file system to trim"},
		"fails":         {fstrim: "exit 64", want: "64"},
		"off":           {fstrim: "exit 64", off: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img, b := simple(t)
			b.Capture.NoTrim = test.off
			img.Builder = b
			img.Provisioners = []bake.Provisioner{provision.File{Content: "#!/bin/sh\n" + test.fstrim + "\n", Dest: "/usr/local/bin/fstrim", Mode: 0o755}}
			said := ""
			_, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
				if e.Kind == bake.Message && strings.Contains(e.Text, "deleted files") {
					said += e.Text
				}
			}}, img)
			if err != nil || (said != "") != (test.want != "") || !strings.Contains(said, test.want) {
				t.Errorf("Bake = %v and says %q, want it baked, with %q", err, said, test.want)
			}
		})
	}
}

// TestLimits bakes more images than machines may run at once.
func TestLimits(t *testing.T) {
	t.Parallel()
	shared, source := newHost(t)
	host := qemu.NewHost(shared.Dir(), &qemu.HostOptions{Programs: programsOf(shared), Machines: 2, Memory: 1 << 30})
	var images []*bake.Image
	var mu sync.Mutex
	most := 0
	for i := range 4 {
		images = append(images, &bake.Image{
			Name: "image" + strconv.Itoa(i), Builder: qemu.Builder{Host: host, Source: qemu.DiskFile(source), Accelerator: qemu.TCG, Memory: 1 << 30},
			Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error {
				mu.Lock()
				defer mu.Unlock()
				entries, err := os.ReadDir(runningOf(host))
				most = max(most, len(entries))
				return err
			}}},
		})
	}
	if _, err := bake.Bake(t.Context(), nil, images...); err != nil {
		t.Fatal(err)
	}
	if most != 1 {
		t.Errorf("%d machines ran at once, want one: each needs all the memory", most)
	}
}

func TestSweep(t *testing.T) {
	img, b := simple(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	img.Provisioners = []bake.Provisioner{bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error {
		// The build "dies" here, as far as Sweep can tell.
		if removed, err := b.Host.Sweep(t.Context(), time.Now()); err != nil || len(removed) > 0 {
			t.Errorf("Sweep before the expiry = %v, %v, want nothing", removed, err)
		}
		removed, err := b.Host.Sweep(t.Context(), time.Now().Add(7*time.Hour))
		if err != nil || len(removed) != 1 {
			t.Errorf("Sweep after the expiry = %v, %v, want one session", removed, err)
		}
		if left := existing(t, b.Host); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		cancel()
		return nil
	}}}
	if _, err := bake.Bake(ctx, nil, img); err == nil {
		t.Error("Bake whose machine was swept = nil error")
	}
}

func TestKeepMachine(t *testing.T) {
	img, b := simple(t)
	img.Provisioners = []bake.Provisioner{bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error { return errors.New("planted") }}}
	results, err := bake.Bake(t.Context(), &bake.Options{OnFailure: bake.KeepMachine}, img)
	wantError(t, err, "planted")
	kept := results[0].Kept
	if kept == nil || !strings.HasPrefix(kept.Address, "127.0.0.1:") || kept.User != "root" || kept.Key.Reveal() == "" {
		t.Fatalf("kept machine %v, want its address, login and key", kept)
	}
	if err := syscall.Kill(pidOf(t, b.Host), syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/ec2test/imagetest"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/qemu"
)

func TestAMI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := imagetest.Start(t, nil)
		state, err := stateOf("")
		if err != nil {
			t.Fatal(err)
		}
		img, err := ami(env.Cloud, state)
		if err != nil {
			t.Fatal(err)
		}
		env.Bake(img).Golden("testdata/ami.txt")
	})
}

// TestStateIsImported bakes an image whose state lacks what its check looks for.
func TestStateIsImported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := imagetest.Start(t, nil)
		img, err := ami(env.Cloud, fstest.MapFS{"entries": {Data: []byte("Ada\n"), Mode: 0o644}})
		if err != nil {
			t.Fatal(err)
		}
		err = env.BakeError(img)
		if err == nil || !strings.Contains(err.Error(), "command: guestbook: the output does not contain: Grace") {
			t.Errorf("Bake with another state = %v, want the check to miss Grace", err)
		}
	})
}

func TestRunWithoutDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		if err := run(t.Context(), nil, &out); err != nil {
			t.Fatalf("run() = %v, output:\n%s", err, out.String())
		}
		for _, want := range []string{"apt-get install qemu-system-x86 qemu-utils\n", `guestbook-ami +baked ami-`} {
			if !regexp.MustCompile(want).Match(out.Bytes()) {
				t.Errorf("run(): output lacks %q:\n%s", want, out.String())
			}
		}
	})
}

func TestRunWithoutQEMU(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var out bytes.Buffer
	err := run(t.Context(), []string{"-disk", "main.go", "-dist", filepath.Join(t.TempDir(), "dist")}, &out)
	if _, ok := errors.AsType[*qemu.MissingProgramError](err); !ok || !strings.Contains(err.Error(), "apt-get install qemu-system-x86") || strings.Contains(out.String(), "baked") {
		t.Errorf("run(-disk) without QEMU = %v, want a MissingProgramError before anything is baked; output:\n%s", err, out.String())
	}
}

// TestRunInQEMU runs the program, since it compresses slowly with the race detector. It
// bakes three images for more than a minute, so it is for the long form. The tests of qemu
// bake in QEMU and compare such files with QEMU's tools.
func TestRunInQEMU(t *testing.T) {
	if os.Getenv("BAKESTONE_LONG") == "" {
		t.Skip("takes long: set BAKESTONE_LONG=1")
	}
	disk := testenv.Need(t, "qemu")
	dir := t.TempDir()
	program := filepath.Join(dir, "appliance")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	dist := filepath.Join(dir, "dist")
	cmd := exec.CommandContext(t.Context(), program, "-disk", disk, "-dist", dist, "-compress=false")
	cmd.Env = append(os.Environ(), "BAKESTONE_QEMU_ACCEL=tcg")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("appliance -disk: %v\n%s", err, out)
	}
	for _, want := range []string{
		`\nguestbook +baked .* guestbook/`, `\nguestbook-vagrant +baked .* guestbook-vagrant/`, `\nguestbook-ami +baked .* ami-`, "\n3 baked\n",
		"\nFiles:\n.*guestbook-libvirt.box\n.*guestbook.json\n.*guestbook.ova\n.*guestbook.qcow2\n",
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("appliance -disk: output lacks %q:\n%s", want, out)
		}
	}

	// The disk of the OVA is that of the qcow2.
	extracted := filepath.Join(dir, "disk.vmdk")
	extract(t, filepath.Join(dist, "guestbook.ova"), "guestbook-disk1.vmdk", extracted)
	compare := exec.CommandContext(t.Context(), "qemu-img", "compare", "-f", "vmdk", "-F", "qcow2", extracted, filepath.Join(dist, "guestbook.qcow2"))
	if out, err := compare.CombinedOutput(); err != nil {
		t.Errorf("qemu-img compare of the OVA's disk and the qcow2: %v\n%s", err, out)
	}
}

// extract writes a file of an archive to path.
func extract(t *testing.T, archive, name, path string) {
	t.Helper()
	in, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for files := tar.NewReader(in); ; {
		header, err := files.Next()
		if err != nil {
			t.Fatalf("%s lacks %s: %v", archive, name, err)
		}
		if header.Name != name {
			continue
		}
		out, err := os.Create(path)
		if err == nil {
			_, err = out.ReadFrom(files)
			err = errors.Join(err, out.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
}

// Definitions on all platforms are validated without I/O.
func TestImagesAreValid(t *testing.T) {
	state, err := stateOf("")
	if err != nil {
		t.Fatal(err)
	}
	all, err := machines(qemu.NewHost(t.TempDir(), nil), "debian.qcow2", t.TempDir(), true, state)
	if err != nil {
		t.Fatal(err)
	}
	if err := bake.Validate(nil, all...); err != nil {
		t.Errorf("Validate of the virtual machines = %v", err)
	}
}

package qemu_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/qemu"
)

const diskSize = 5<<20 + 512

// content returns the content of the first disk of an imported image, dataContent that of
// the second.
func content() []byte {
	content := make([]byte, diskSize)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(content[1<<20 : 2<<20])
	copy(content[diskSize-5:], "ended")
	return content
}

func dataContent() []byte { return append([]byte("data of the appliance"), make([]byte, 2<<20-21)...) }

// writeQCOW2 writes a qcow2 and returns its size.
func writeQCOW2(t *testing.T, path string, content []byte) int64 {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw")
	if err := os.WriteFile(raw, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), testenv.Need(t, "qemu-img"), "convert", "-f", "raw", "-O", "qcow2", raw, path).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img convert: %v\n%s", err, out)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// imported returns an image of two disks, as if it was baked.
func imported(t *testing.T) *qemu.Disk {
	t.Helper()
	img := testenv.Need(t, "qemu-img")
	host := qemu.NewHost(t.TempDir(), &qemu.HostOptions{Programs: filepath.Dir(img)})
	dir := filepath.Join(host.Dir(), "images", "web 1", "b1")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	size := writeQCOW2(t, filepath.Join(dir, "disk.qcow2"), content())
	second := map[string]any{"name": "db", "path": "/elsewhere/data-db.qcow2", "size": len(dataContent()), "file_size": writeQCOW2(t, filepath.Join(dir, "data-db.qcow2"), dataContent())}
	data, err := json.Marshal(map[string]any{"image": "web 1", "build": "b1", "format": "qcow2", "size": diskSize, "file_size": size, "data": []any{second}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "artifact.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := host.Newest("web 1")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// wantDisk reads a disk file with QEMU and compares its content.
func wantDisk(t *testing.T, format, path string, want []byte) {
	t.Helper()
	img, raw := testenv.Need(t, "qemu-img"), filepath.Join(t.TempDir(), "raw")
	if out, err := exec.CommandContext(t.Context(), img, "convert", "-f", format, "-O", "raw", path, raw).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img convert: %v\n%s", err, out)
	}
	got, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) < len(want) || !bytes.Equal(got[:len(want)], want) || len(bytes.Trim(got[len(want):], "\x00")) > 0 {
		t.Errorf("%s holds a disk of %d bytes with another content than the image's %d", path, len(got), len(want))
	}
}

// unpack extracts an archive and returns the names in order.
func unpack(t *testing.T, path string, compressed bool) (dir string, names []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var in io.Reader = f
	if compressed {
		if in, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	dir = t.TempDir()
	for archive := tar.NewReader(in); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return dir, names
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(header.Name)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func publish(t *testing.T, p bake.Publisher, d *qemu.Disk) {
	t.Helper()
	if err := p.Publish(t.Context(), d); err != nil {
		t.Fatalf("Publish of %v: %v", p, err)
	}
}

func TestDiskOutputs(t *testing.T) {
	t.Parallel()
	d := imported(t)
	dir := filepath.Dir(d.Path)
	for _, output := range []struct {
		publisher   bake.Publisher
		format, ext string
	}{{qemu.QCOW2{}, "qcow2", ".qcow2"}, {qemu.QCOW2{Compress: true}, "qcow2", ".qcow2"}, {qemu.Raw{}, "raw", ".raw"}, {qemu.VMDK{}, "vmdk", ".vmdk"}, {qemu.VHD{}, "vpc", ".vhd"}} {
		publish(t, output.publisher, d)
		wantDisk(t, output.format, filepath.Join(dir, d.Image+output.ext), content())
		wantDisk(t, output.format, filepath.Join(dir, d.Image+"-db"+output.ext), dataContent())
	}
	info, err := os.Stat(filepath.Join(dir, d.Image+".vhd"))
	if err != nil || info.Size()%(1<<20) != 512 {
		t.Errorf("VHD has %d bytes, %v, want whole MiB and the footer", info.Size(), err)
	}
	out, err := exec.CommandContext(t.Context(), testenv.Need(t, "qemu-img"), "info", "-f", "vpc", "--output=json", filepath.Join(dir, d.Image+".vhd")).Output()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf(`"virtual-size": %d`, 6<<20)) {
		t.Errorf("qemu-img info of the VHD: %s, %v, want a disk of 6 MiB", out, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3+4*2 {
		t.Errorf("directory of the image has %v, %v, want eleven files", entries, err)
	}
	if err := d.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the image's directory after Destroy: %v, want it gone", err)
	}
}

// TestVMDKReadByDissect reads the outputs with another implementation.
func TestVMDKReadByDissect(t *testing.T) {
	t.Parallel()
	python := testenv.Need(t, "dissect")
	d := imported(t)
	path := filepath.Join(t.TempDir(), "x.vmdk")
	publish(t, qemu.VMDK{Path: path}, d)
	const script = `
import hashlib, sys
from dissect.hypervisor.disk.vmdk import VMDK
disk = VMDK(open(sys.argv[1], "rb"))
print(hashlib.sha256(disk.read(int(sys.argv[2]))).hexdigest())`
	out, err := exec.CommandContext(t.Context(), python, "-c", script, path, fmt.Sprint(diskSize)).CombinedOutput()
	want := sha256.Sum256(content())
	if err != nil || strings.TrimSpace(string(out)) != hex.EncodeToString(want[:]) {
		t.Errorf("dissect reads a disk with the digest %s, %v, want %x", out, err, want)
	}
}

func TestBoxes(t *testing.T) {
	t.Parallel()
	d := imported(t)
	dir := t.TempDir()
	catalog := qemu.BoxCatalog{Path: filepath.Join(dir, "web.json"), Name: "team/web", Version: "1.0.0"}
	for _, box := range []struct {
		provider qemu.Provider
		files    []string
		format   string
		metadata string
	}{
		{qemu.Libvirt, []string{"metadata.json", "Vagrantfile", "box.img", "box-db.img"}, "qcow2", `{"disks":[{"path":"box.img"},{"path":"box-db.img","name":"db"}],"format":"qcow2","provider":"libvirt"}`},
		{qemu.VirtualBox, []string{"metadata.json", "Vagrantfile", "box.ovf", "box-disk1.vmdk", "box-disk2.vmdk"}, "vmdk", `{"provider":"virtualbox"}`},
		{qemu.VMware, []string{"metadata.json", "box.vmx", "disk.vmdk", "disk-db.vmdk"}, "vmdk", `{"provider":"vmware_desktop"}`},
	} {
		path := filepath.Join(dir, string(box.provider)+".box")
		for range 2 { // the second replaces the first
			publish(t, qemu.Box{Provider: box.provider, Path: path, Catalog: &catalog}, d)
		}
		unpacked, names := unpack(t, path, true)
		if !slices.Equal(names, box.files) {
			t.Errorf("%s box has %q, want %q", box.provider, names, box.files)
			continue
		}
		if got := read(t, unpacked, "metadata.json"); got != box.metadata {
			t.Errorf("metadata of the %s box is %s, want %s", box.provider, got, box.metadata)
		}
		wantDisk(t, box.format, filepath.Join(unpacked, box.files[len(box.files)-2]), content())
		wantDisk(t, box.format, filepath.Join(unpacked, box.files[len(box.files)-1]), dataContent())
	}
	catalog.Version, catalog.URL = "1.1.0", "https://example.com/web.box"
	publish(t, qemu.Box{Provider: qemu.Libvirt, Path: filepath.Join(dir, "libvirt.box"), Catalog: &catalog}, d)
	var got struct {
		Name     string
		Versions []struct {
			Version   string
			Providers []struct{ Name, URL, Checksum string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, catalog.Path)), &got); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(read(t, dir, "libvirt.box")))
	if len(got.Versions) != 2 || len(got.Versions[0].Providers) != 3 || len(got.Versions[1].Providers) != 1 ||
		got.Versions[1].Providers[0].URL != catalog.URL || got.Versions[1].Providers[0].Checksum != hex.EncodeToString(sum[:]) {
		t.Errorf("catalog %+v, want three boxes of 1.0.0 and one of 1.1.0", got)
	}
	catalog.Name = "other"
	err := qemu.Box{Provider: qemu.Libvirt, Path: filepath.Join(dir, "libvirt.box"), Catalog: &catalog}.Publish(t.Context(), d)
	if err == nil || !strings.Contains(err.Error(), `is for the box "team/web", want "other"`) {
		t.Errorf("Publish to the catalog of another box = %v", err)
	}
}

func TestOutputsFail(t *testing.T) {
	d := imported(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	errStop := errors.New("stop")
	cancel(errStop)
	dir := t.TempDir()
	for _, p := range []bake.Publisher{qemu.Raw{Path: filepath.Join(dir, "x")}, qemu.OVA{Path: filepath.Join(dir, "x")}, qemu.Box{Provider: qemu.VMware, Path: filepath.Join(dir, "x")}} {
		if err := p.Publish(ctx, d); !errors.Is(err, errStop) {
			t.Errorf("Publish of %v after the end of its context = %v, want the cause", p, err)
		}
	}
	for _, left := range []string{dir, filepath.Dir(d.Path)} {
		entries, err := os.ReadDir(left)
		if err != nil || len(entries) > 3 || left == dir && len(entries) > 0 {
			t.Errorf("%s has %v, %v after the failures", left, entries, err)
		}
	}
	for want, v := range map[string]bake.Validator{
		"OVA.Memory: is 1024 bytes":                            qemu.OVA{Memory: 1024},
		"OVA.CPUs: must not be negative":                       qemu.OVA{CPUs: -1},
		`OVA.OSType: invalid name "<x>"`:                       qemu.OVA{OSType: "<x>"},
		"OVA.Hardware: unknown value 7":                        qemu.OVA{Hardware: 7},
		"OVA.Hardware: unknown value 1, or not of VMware":      qemu.OVA{Hardware: qemu.VirtioHardware},
		"OVA.Certificate: needs a certificate with an RSA key": qemu.OVA{Certificate: &tls.Certificate{}},
		`Box.Provider: unknown provider ""`:                    qemu.Box{},
		"Box.Hardware: VirtualBox has no PVSCSI":               qemu.Box{Provider: qemu.VirtualBox, Hardware: qemu.ParavirtualHardware},
		"Box.Catalog: needs Path, Name":                        qemu.Box{Provider: qemu.Libvirt, Catalog: &qemu.BoxCatalog{Path: "x"}},
	} {
		if err := v.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate of %+v = %v, want %q", v, err, want)
		}
	}
}

package qemu_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/qemu"
)

func TestOVA(t *testing.T) {
	d := imported(t)
	path := filepath.Join(t.TempDir(), "x.ova")
	publish(t, qemu.OVA{Path: path, CPUs: 3, Memory: 2 << 30, OSType: "debian12_64Guest"}, d)
	dir, names := unpack(t, path, false)
	want := []string{"web 1.ovf", "web 1.mf", "web 1-disk1.vmdk", "web 1-disk2.vmdk"}
	if !slices.Equal(names, want) {
		t.Fatalf("OVA has %q, want %q: the descriptor must be first", names, want)
	}
	wantDisk(t, "vmdk", filepath.Join(dir, want[2]), content())
	wantDisk(t, "vmdk", filepath.Join(dir, want[3]), dataContent())
	var manifest strings.Builder
	for _, name := range []string{want[0], want[2], want[3]} {
		fmt.Fprintf(&manifest, "SHA256(%s)= %x\n", name, sha256.Sum256([]byte(read(t, dir, name))))
	}
	if got := read(t, dir, want[1]); got != manifest.String() {
		t.Errorf("manifest\n%s\nwant\n%s", got, manifest.String())
	}
	var envelope struct {
		Files []struct {
			Href string `xml:"href,attr"`
			Size int    `xml:"size,attr"`
		} `xml:"References>File"`
		Disks []struct {
			Capacity int64 `xml:"capacity,attr"`
		} `xml:"DiskSection>Disk"`
		Name  string `xml:"VirtualSystem>Name"`
		Items []struct {
			Type     int    `xml:"ResourceType"`
			SubType  string `xml:"ResourceSubType"`
			Quantity int    `xml:"VirtualQuantity"`
		} `xml:"VirtualSystem>VirtualHardwareSection>Item"`
	}
	text := read(t, dir, want[0])
	if err := xml.Unmarshal([]byte(text), &envelope); err != nil {
		t.Fatal(err)
	}
	if len(envelope.Files) != 2 || len(envelope.Disks) != 2 || envelope.Name != d.Image {
		t.Fatalf("descriptor says %+v of files and disks, want two", envelope)
	}
	for i, name := range want[2:] {
		if f := envelope.Files[i]; f.Href != name || f.Size != len(read(t, dir, name)) || envelope.Disks[i].Capacity%(64<<10) != 0 {
			t.Errorf("descriptor says %+v of file and disk %d", envelope, i+1)
		}
	}
	var hardware []string
	for _, i := range envelope.Items {
		hardware = append(hardware, fmt.Sprintf("%d:%s:%d", i.Type, i.SubType, i.Quantity))
	}
	if got := strings.Join(hardware, " "); got != "3::3 4::2048 20:AHCI:0 17::0 17::0 10:E1000:0" {
		t.Errorf("descriptor has the hardware %q", got)
	}
	if !strings.Contains(text, "vmx-13") || strings.Contains(text, "virtualbox") || !strings.Contains(text, `vmw:osType="debian12_64Guest"`) {
		t.Errorf("descriptor has another hardware family or guest:\n%s", text)
	}
}

// TestOVAReadByCOT reads the descriptor with another implementation, Cisco's Common OVF
// Tool. It knows SHA-1 manifests only and says so, but then reads the package.
func TestOVAReadByCOT(t *testing.T) {
	t.Parallel()
	cot := testenv.Need(t, "cot")
	d := imported(t)
	for hardware, want := range map[qemu.Hardware][]string{
		qemu.CommonHardware:      {"harddisk @ SATA 0:0", "harddisk @ SATA 0:1", "Ethernet device types:    E1000"},
		qemu.ParavirtualHardware: {"harddisk @ SCSI 0:0", "harddisk @ SCSI 0:1", "Ethernet device types:    VmxNet3"},
		qemu.IDEHardware:         {"harddisk @ IDE 0:0", "harddisk @ IDE 0:1", "Ethernet device types:    E1000"},
	} {
		path := filepath.Join(t.TempDir(), "x.ova")
		publish(t, qemu.OVA{Path: path, CPUs: 3, Memory: 2 << 30, Hardware: hardware}, d)
		cmd := exec.CommandContext(t.Context(), cot, "info", "-v", path)
		cmd.Env = append(os.Environ(), "COLUMNS=200", "HOME="+t.TempDir())
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("cot info: %v\n%s", err, out)
		}
		want = append(want, "web 1-disk1.vmdk", "web 1-disk2.vmdk", "  2 MiB ", "vmx-13", "  3     2 GiB    1       0  2 /", "VM Network")
		for _, w := range want {
			if !strings.Contains(string(out), w) {
				t.Errorf("cot info lacks %q:\n%s", w, out)
			}
		}
	}
}

// TestSignedOVA verifies the signature of a manifest with OpenSSL.
func TestSignedOVA(t *testing.T) {
	t.Parallel()
	openssl := testenv.Need(t, "openssl")
	d, dir := imported(t), t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), openssl, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
	}
	run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=appliances", "-keyout", "key.pem", "-out", "cert.pem")
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	signed := qemu.OVA{Path: filepath.Join(dir, "x.ova"), Certificate: &certificate}
	if err := signed.Validate(); err != nil {
		t.Fatal(err)
	}
	publish(t, signed, d)
	unpacked, names := unpack(t, signed.Path, false)
	if want := []string{"web 1.ovf", "web 1.mf", "web 1.cert", "web 1-disk1.vmdk", "web 1-disk2.vmdk"}; !slices.Equal(names, want) {
		t.Fatalf("OVA has %q, want %q", names, want)
	}
	first, pem, _ := strings.Cut(read(t, unpacked, "web 1.cert"), "\n")
	digits, found := strings.CutPrefix(first, "SHA256(web 1.mf)= ")
	signature, err := hex.DecodeString(digits)
	if !found || err != nil || pem != read(t, dir, "cert.pem") {
		t.Fatalf("the certificate file is %q, %q, want the signature and %s", first, pem, read(t, dir, "cert.pem"))
	}
	if err := os.WriteFile(filepath.Join(dir, "signature"), signature, 0o600); err != nil {
		t.Fatal(err)
	}
	run("x509", "-in", "cert.pem", "-pubkey", "-noout", "-out", "public.pem")
	run("dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", filepath.Join(unpacked, "web 1.mf"))
}

package ovf_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/qemu/internal/ovf"
)

// TestDescriptorIsOrdered checks what the schema demands of the elements of hardware:
// alphabetical order.
func TestDescriptorIsOrdered(t *testing.T) {
	m := ovf.Machine{Name: `a <b> & "c"`, CPUs: 1, MemoryMiB: 512, Disks: []ovf.Disk{{File: "x.vmdk"}, {File: "y.vmdk"}}, Adapter: "E1000", Controller: ovf.Controller{Type: 20, SubType: "AHCI", Name: "SATA"}}
	data, err := m.Descriptor()
	if err != nil {
		t.Fatal(err)
	}
	var envelope struct {
		Name  string `xml:"VirtualSystem>Name"`
		Items []struct {
			Elements []struct{ XMLName xml.Name } `xml:",any"`
		} `xml:"VirtualSystem>VirtualHardwareSection>Item"`
	}
	if err := xml.Unmarshal(data, &envelope); err != nil {
		t.Fatalf("descriptor is not XML: %v\n%s", err, data)
	}
	if envelope.Name != m.Name {
		t.Errorf("name %q, want %q", envelope.Name, m.Name)
	}
	if len(envelope.Items) != 6 {
		t.Errorf("%d items, want 6", len(envelope.Items))
	}
	for i, item := range envelope.Items {
		var names []string
		for _, e := range item.Elements {
			names = append(names, e.XMLName.Local)
		}
		if !slices.IsSorted(names) || !slices.Contains(names, "InstanceID") {
			t.Errorf("item %d has the elements %q, want them sorted, with an id", i, names)
		}
	}
	if strings.Contains(string(data), "vmw:osType=") {
		t.Errorf("descriptor names an operating system that was not given:\n%s", data)
	}
}

func TestManifestAndTar(t *testing.T) {
	a := ovf.Bytes("a.ovf", []byte("hello"))
	manifest, err := ovf.Manifest("a.mf", a)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := ovf.WriteTar(t.Context(), &out, a, manifest); err != nil {
		t.Fatal(err)
	}
	const want = "SHA256(a.ovf)= 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\n"
	for archive, i := tar.NewReader(&out), 0; i < 2; i++ {
		header, err := archive.Next()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if text := []string{"hello", want}[i]; err != nil || string(data) != text || header.Uid != 0 || header.Mode != 0o644 {
			t.Errorf("%s = %q, %v, owner %d, mode %o, want %q of root", header.Name, data, err, header.Uid, header.Mode, text)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	errStop := errors.New("stop")
	cancel(errStop)
	if err := ovf.WriteTar(ctx, io.Discard, a); !errors.Is(err, errStop) {
		t.Errorf("WriteTar after the end of its context = %v, want the cause", err)
	}
}

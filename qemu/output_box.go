package qemu

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/atomicfile"
	"github.com/bakestone-go/bakestone/qemu/internal/ovf"
)

// A Provider is the Vagrant provider that a [Box] is for.
type Provider string

// The providers.
const (
	Libvirt    Provider = "libvirt"
	VirtualBox Provider = "virtualbox"
	VMware     Provider = "vmware_desktop" // Workstation and Fusion
)

// A Box output is a Vagrant box. Vagrant logs in as the user vagrant with a well-known
// key, unless the Vagrantfile says otherwise; provisioners must create what it needs. It
// was not tested with the providers themselves.
//
// Boxes for VirtualBox and VMware of an image that was baked with UEFI start with UEFI. A
// libvirt box cannot, since it would have to name files of the user's host: their
// Vagrantfile must set libvirt.loader and libvirt.nvram.
type Box struct {
	// Provider is the Vagrant provider. It is required.
	Provider Provider

	// Path is the file to write. Empty means a file beside the image, named after it
	// and the provider.
	Path string

	// CPUs, Memory, Hardware and OSType describe the machine, as in OVA. A libvirt box
	// has only CPUs and Memory.
	CPUs     int
	Memory   int64
	Hardware Hardware
	OSType   string

	// Catalog adds the box to a catalog of versions. If nil, there is none.
	Catalog *BoxCatalog
}

// A BoxCatalog is the JSON file from which Vagrant learns the versions of a box.
type BoxCatalog struct {
	// Path is the file, which is created or changed. It is required.
	Path string

	// Name is the name of the box: "team/web". It is required.
	Name string

	// Version is the version of this box: "1.2.3". It is required. A box of the same
	// version and provider is replaced.
	Version string

	// URL is where the box can be downloaded. Empty means the path of the file.
	URL string
}

// String returns the provider and "box".
func (b Box) String() string { return string(b.Provider) + " box" }

// Validate reports an unknown provider, invalid sizes and an incomplete catalog.
func (b Box) Validate() error {
	errs := []error{validateMachine("Box", b.CPUs, b.Memory, b.Hardware, b.OSType)}
	if known := []Provider{Libvirt, VirtualBox, VMware}; !slices.Contains(known, b.Provider) {
		errs = append(errs, bake.Invalid("Box.Provider", "unknown provider %q, want one of %v", string(b.Provider), known))
	}
	if b.Provider == VirtualBox && b.Hardware == ParavirtualHardware {
		errs = append(errs, bake.Invalid("Box.Hardware", "VirtualBox has no PVSCSI and VMXNET3"))
	}
	if c := b.Catalog; c != nil && (c.Path == "" || c.Name == "" || c.Version == "") {
		errs = append(errs, bake.Invalid("Box.Catalog", "needs Path, Name and Version"))
	}
	return errors.Join(errs...)
}

// Publish writes the box and changes the catalog.
func (b Box) Publish(ctx context.Context, a bake.Artifact) error {
	d, err := DiskOf(a)
	if err != nil {
		return err
	}
	path := b.Path
	if path == "" {
		path = filepath.Join(filepath.Dir(d.Path), d.Image+"-"+string(b.Provider)+".box")
	}
	err = output(ctx, a, path, "", func(d *Disk, part *os.File) error {
		z := gzip.NewWriter(part)
		write := map[Provider]func(context.Context, *Disk, io.Writer) error{
			Libvirt: b.writeLibvirt, VirtualBox: b.writeVirtualBox, VMware: b.writeVMware,
		}[b.Provider]
		return errors.Join(write(ctx, d, z), z.Close())
	})
	if err != nil || b.Catalog == nil {
		return err
	}
	return b.addToCatalog(ctx, d.host, path)
}

// A libvirtDisk is a disk in the metadata of a libvirt box with several disks.
type libvirtDisk struct {
	Path string `json:"path"`
	Name string `json:"name,omitempty"`
}

// writeLibvirt writes a box with the disks as they are, which are standalone.
func (b Box) writeLibvirt(ctx context.Context, d *Disk, w io.Writer) error {
	const gb, mib = 1_000_000_000, 20
	metadata := map[string]any{"provider": Libvirt, "format": "qcow2", "virtual_size": (d.Size + gb - 1) / gb}
	vagrantfile := fmt.Sprintf(`Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |v|
    v.cpus = %d
    v.memory = %d
  end
end
`, cmp.Or(b.CPUs, defaultCPUs), cmp.Or(b.Memory, defaultMemory)>>mib)
	var list []libvirtDisk
	var disks []ovf.Entry
	for _, f := range d.files() {
		file, err := os.Open(f.Path)
		if err != nil {
			return err
		}
		defer file.Close()
		name := f.beside("box.img")
		err = withEntry(file, name, func(e ovf.Entry) error {
			disks, list = append(disks, e), append(list, libvirtDisk{name, f.Name})
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(d.Data) > 0 { // version 2 of the format, which older versions of vagrant-libvirt lack
		metadata = map[string]any{"provider": Libvirt, "format": "qcow2", "disks": list}
	}
	text, err := json.Marshal(metadata)
	if err != nil {
		return err
	}
	return ovf.WriteTar(ctx, w, slices.Concat([]ovf.Entry{
		ovf.Bytes("metadata.json", text), ovf.Bytes("Vagrantfile", []byte(vagrantfile)),
	}, disks)...)
}

// writeVirtualBox writes a box with an OVF descriptor, which must have the name box.ovf,
// and stream-optimized VMDKs.
func (b Box) writeVirtualBox(ctx context.Context, d *Disk, w io.Writer) error {
	return d.withVMDKs(ctx, "box", func(disks []ovf.Entry) error {
		descriptor, err := d.descriptor(disks, b.CPUs, b.Memory, b.Hardware, b.OSType)
		if err != nil {
			return err
		}
		// Vagrant wants to know a MAC address; it sets it when it imports the machine.
		firmware := ""
		if d.Firmware.uefi() { // which VirtualBox does not learn from the descriptor
			firmware = `  config.vm.provider(:virtualbox) { |v| v.customize ["modifyvm", :id, "--firmware", "efi"] }` + "\n"
		}
		vagrantfile := "Vagrant.configure(\"2\") do |config|\n  config.vm.base_mac = \"080027B4CE57\"\n" + firmware + "end\n"
		return ovf.WriteTar(ctx, w, slices.Concat([]ovf.Entry{
			ovf.Bytes("metadata.json", []byte(`{"provider":"virtualbox"}`)), ovf.Bytes("Vagrantfile", []byte(vagrantfile)),
			ovf.Bytes("box.ovf", descriptor),
		}, disks)...)
	})
}

// writeVMware writes a box with a machine's configuration and VMDKs that grow, since
// machines cannot write to stream-optimized ones.
func (b Box) writeVMware(ctx context.Context, d *Disk, w io.Writer) error {
	return d.withDisks(func(f DataFile, temp *os.File) (string, error) {
		return f.beside("disk.vmdk"), d.convert(ctx, f, "vmdk", temp.Name(), "-o", "subformat=monolithicSparse,hwversion=13")
	}, func(disks []ovf.Entry) error {
		return ovf.WriteTar(ctx, w, slices.Concat([]ovf.Entry{
			ovf.Bytes("metadata.json", []byte(`{"provider":"vmware_desktop"}`)), ovf.Bytes("box.vmx", []byte(b.vmx(d, disks))),
		}, disks)...)
	})
}

// vmx returns the configuration of a machine of VMware's.
func (b Box) vmx(d *Disk, disks []ovf.Entry) string {
	const mib = 20
	devices := b.Hardware.orCommon()
	var hardware strings.Builder
	fmt.Fprintf(&hardware, "%s.present = \"TRUE\"\n", devices.vmx)
	if devices.vmxType != "" {
		fmt.Fprintf(&hardware, "%s.virtualDev = \"%s\"\n", devices.vmx, devices.vmxType)
	}
	for i, disk := range disks {
		fmt.Fprintf(&hardware, "%[1]s:%[2]d.present = \"TRUE\"\n%[1]s:%[2]d.fileName = \"%[3]s\"\n", devices.vmx, i, disk.Name)
	}
	if d.Firmware.uefi() {
		hardware.WriteString("firmware = \"efi\"\n")
	}
	if d.Firmware == SecureBoot {
		hardware.WriteString("uefi.secureBoot.enabled = \"TRUE\"\n")
	}
	return fmt.Sprintf(`.encoding = "UTF-8"
config.version = "8"
virtualHW.version = "13"
displayName = "%s"
guestOS = "%s"
numvcpus = "%d"
memsize = "%d"
%sethernet0.present = "TRUE"
ethernet0.connectionType = "nat"
ethernet0.virtualDev = "%s"
ethernet0.addressType = "generated"
pciBridge0.present = "TRUE"
pciBridge4.present = "TRUE"
pciBridge4.virtualDev = "pcieRootPort"
pciBridge4.functions = "8"
`, d.Image, strings.ToLower(strings.TrimSuffix(cmp.Or(b.OSType, "otherLinux64Guest"), "Guest")),
		cmp.Or(b.CPUs, defaultCPUs), cmp.Or(b.Memory, defaultMemory)>>mib, hardware.String(), strings.ToLower(devices.adapter))
}

type (
	catalog struct {
		Name     string           `json:"name"`
		Versions []catalogVersion `json:"versions"`
	}
	catalogVersion struct {
		Version   string            `json:"version"`
		Providers []catalogProvider `json:"providers"`
	}
	catalogProvider struct {
		Name         Provider `json:"name"`
		URL          string   `json:"url"`
		ChecksumType string   `json:"checksum_type"`
		Checksum     string   `json:"checksum"`
	}
)

// addToCatalog adds the box at path to the catalog.
func (b Box) addToCatalog(ctx context.Context, host *Host, path string) error {
	digest, err := fileDigest(ctx, path)
	if err != nil {
		return err
	}
	at := b.Catalog.URL
	if at == "" {
		if at, err = filepath.Abs(path); err != nil {
			return err
		}
	}
	host.catalogs.Lock() // of one image in several boxes, or several images in one Bake
	defer host.catalogs.Unlock()
	c := catalog{Name: b.Catalog.Name}
	data, err := os.ReadFile(b.Catalog.Path)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("catalog %s: %w", b.Catalog.Path, err)
	}
	if c.Name != b.Catalog.Name {
		return fmt.Errorf("catalog %s is for the box %q, want %q", b.Catalog.Path, c.Name, b.Catalog.Name)
	}
	i := slices.IndexFunc(c.Versions, func(v catalogVersion) bool { return v.Version == b.Catalog.Version })
	if i < 0 {
		i = len(c.Versions)
		c.Versions = append(c.Versions, catalogVersion{Version: b.Catalog.Version})
	}
	v := &c.Versions[i]
	v.Providers = slices.DeleteFunc(v.Providers, func(p catalogProvider) bool { return p.Name == b.Provider })
	v.Providers = append(v.Providers, catalogProvider{b.Provider, at, "sha256", digest})
	if data, err = json.MarshalIndent(c, "", "  "); err != nil {
		return err
	}
	const mode = 0o644
	return atomicfile.Write(b.Catalog.Path, append(data, '\n'), mode)
}

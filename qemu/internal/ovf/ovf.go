// Package ovf writes OVF 1.0 descriptors and OVA files that VMware's products and
// VirtualBox import.
package ovf

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/template"
	"time"
)

// A Machine is a virtual machine with one disk controller and one network adapter.
type Machine struct {
	Name       string
	CPUs       int
	MemoryMiB  int64
	OSType     string // VMware's name of the guest's operating system: "debian12_64Guest"
	Controller Controller
	Adapter    string // "E1000", "VmxNet3"
	Disks      []Disk // in the order in which the guest finds them
	UEFI       bool   // starts the machine instead of a BIOS
	SecureBoot bool   // only with UEFI
}

// A Disk is a disk of a Machine.
type Disk struct {
	File     string // the name of the VMDK
	FileSize int64  // in bytes
	Capacity int64  // of the disk, in bytes
}

// A Controller is a disk controller.
type Controller struct {
	Type    int    // of CIM: 5 for IDE, 6 for SCSI, 20 for others
	SubType string // "AHCI", "VirtualSCSI", "lsilogic"
	Name    string // for people: "SATA Controller"
}

// Descriptor returns the machine's OVF descriptor.
//
// The hardware family is vmx-13 alone: VMware refuses files that also name VirtualBox's,
// which VirtualBox does not need. It does not read the firmware, which has no place in the
// standard but is an extension of VMware's.
func (m Machine) Descriptor() ([]byte, error) {
	t, err := template.New("ovf").Funcs(template.FuncMap{"xml": escape, "add": func(a, b int) int { return a + b }}).Parse(text)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, m)
	return out.Bytes(), err
}

func escape(text string) (string, error) {
	var out strings.Builder
	err := xml.EscapeText(&out, []byte(text))
	return out.String(), err
}

// text is the descriptor. The elements of rasd and vssd must be in alphabetical order.
const text = `<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References>
{{- range $i, $disk := .Disks}}
    <File ovf:href="{{xml .File}}" ovf:id="file{{add $i 1}}" ovf:size="{{.FileSize}}"/>
{{- end}}
  </References>
  <DiskSection>
    <Info>Virtual disks</Info>
{{- range $i, $disk := .Disks}}
    <Disk ovf:capacity="{{.Capacity}}" ovf:capacityAllocationUnits="byte" ovf:diskId="vmdisk{{add $i 1}}" ovf:fileRef="file{{add $i 1}}" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
{{- end}}
  </DiskSection>
  <NetworkSection>
    <Info>Networks</Info>
    <Network ovf:name="VM Network">
      <Description>The network of the first adapter</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="{{xml .Name}}">
    <Info>A virtual machine</Info>
    <Name>{{xml .Name}}</Name>
    <OperatingSystemSection ovf:id="{{if .OSType}}96{{else}}101{{end}}"{{with .OSType}} vmw:osType="{{xml .}}"{{end}}>
      <Info>The guest's operating system</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Virtual hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{{xml .Name}}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType>
      </System>
      <Item>
        <rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits>
        <rasd:Description>Number of virtual CPUs</rasd:Description>
        <rasd:ElementName>{{.CPUs}} virtual CPU(s)</rasd:ElementName>
        <rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>3</rasd:ResourceType>
        <rasd:VirtualQuantity>{{.CPUs}}</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
        <rasd:Description>Memory size</rasd:Description>
        <rasd:ElementName>{{.MemoryMiB}} MiB of memory</rasd:ElementName>
        <rasd:InstanceID>2</rasd:InstanceID>
        <rasd:ResourceType>4</rasd:ResourceType>
        <rasd:VirtualQuantity>{{.MemoryMiB}}</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:Address>0</rasd:Address>
        <rasd:Description>{{xml .Controller.Name}}</rasd:Description>
        <rasd:ElementName>{{xml .Controller.Name}} 0</rasd:ElementName>
        <rasd:InstanceID>3</rasd:InstanceID>
{{- with .Controller.SubType}}
        <rasd:ResourceSubType>{{xml .}}</rasd:ResourceSubType>
{{- end}}
        <rasd:ResourceType>{{.Controller.Type}}</rasd:ResourceType>
      </Item>
{{- range $i, $disk := .Disks}}
      <Item>
        <rasd:AddressOnParent>{{$i}}</rasd:AddressOnParent>
        <rasd:ElementName>Hard disk {{add $i 1}}</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/vmdisk{{add $i 1}}</rasd:HostResource>
        <rasd:InstanceID>{{add $i 5}}</rasd:InstanceID>
        <rasd:Parent>3</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType>
      </Item>
{{- end}}
      <Item>
        <rasd:AddressOnParent>7</rasd:AddressOnParent>
        <rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>
        <rasd:Connection>VM Network</rasd:Connection>
        <rasd:Description>{{xml .Adapter}} adapter on "VM Network"</rasd:Description>
        <rasd:ElementName>Ethernet 1</rasd:ElementName>
        <rasd:InstanceID>4</rasd:InstanceID>
        <rasd:ResourceSubType>{{xml .Adapter}}</rasd:ResourceSubType>
        <rasd:ResourceType>10</rasd:ResourceType>
      </Item>
{{- if .UEFI}}
      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
      <vmw:Config ovf:required="false" vmw:key="bootOptions.efiSecureBootEnabled" vmw:value="{{.SecureBoot}}"/>
{{- end}}
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
`

// An Entry is a file of an archive.
type Entry struct {
	Name    string
	Size    int64
	Content io.ReadSeeker
}

// Bytes returns an entry with the given content.
func Bytes(name string, content []byte) Entry {
	return Entry{name, int64(len(content)), bytes.NewReader(content)}
}

// Manifest returns a manifest with the digests of entries.
func Manifest(name string, entries ...Entry) (Entry, error) {
	var text bytes.Buffer
	for _, e := range entries {
		hash := sha256.New()
		if _, err := io.Copy(hash, e.Content); err != nil {
			return Entry{}, err
		}
		if _, err := e.Content.Seek(0, io.SeekStart); err != nil {
			return Entry{}, err
		}
		// vCenter 8 knows SHA256 but not SHA2-256, and refuses a space before the name.
		fmt.Fprintf(&text, "SHA256(%s)= %s\n", e.Name, hex.EncodeToString(hash.Sum(nil)))
	}
	return Bytes(name, text.Bytes()), nil
}

// Certificate returns a signature of a manifest, with the certificates that verify it.
// The key must be an RSA key.
func Certificate(name string, manifest Entry, c *tls.Certificate) (Entry, error) {
	key, ok := c.PrivateKey.(*rsa.PrivateKey)
	if !ok || len(c.Certificate) == 0 {
		return Entry{}, errors.New("needs a certificate with an RSA key")
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, manifest.Content); err != nil {
		return Entry{}, err
	}
	if _, err := manifest.Content.Seek(0, io.SeekStart); err != nil {
		return Entry{}, err
	}
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, hash.Sum(nil))
	if err != nil {
		return Entry{}, err
	}
	text := fmt.Appendf(nil, "SHA256(%s)= %s\n", manifest.Name, hex.EncodeToString(signature))
	for _, der := range c.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return Bytes(name, text), nil
}

// WriteTar writes the entries to w in order, owned by root and without dates, so that
// the archive depends on its contents only.
func WriteTar(ctx context.Context, w io.Writer, entries ...Entry) error {
	archive := tar.NewWriter(w)
	for _, e := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		const mode = 0o644
		header := &tar.Header{Name: e.Name, Mode: mode, Size: e.Size, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if e.Size >= 8<<30 { // more than ustar can tell
			header.Format = tar.FormatGNU
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(archive, e.Content); err != nil {
			return err
		}
	}
	return archive.Close()
}

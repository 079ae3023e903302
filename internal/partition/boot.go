package partition

import (
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// The architectures, as EC2 names them.
const (
	X86   = "x86_64"
	ARM64 = "arm64"
)

// A Boot tells how a disk can boot.
type Boot struct {
	BIOS bool     // it has a boot loader for BIOS
	UEFI []string // the architectures of its boot loaders for UEFI
}

// FindBoot tells how the disk of a table can boot. It reads the EFI system partition.
func (t *Table) FindBoot(disk io.ReaderAt) (Boot, error) {
	var b Boot
	b.BIOS = t.Kind == MBR && t.BootCode
	for _, p := range t.Partitions {
		b.BIOS = b.BIOS || p.BIOSBoot && t.BootCode
		if !p.ESP {
			continue
		}
		found, err := loaders(io.NewSectionReader(disk, p.Start, p.Size))
		if err != nil {
			return b, fmt.Errorf("EFI system partition %d: %w", p.Number, err)
		}
		for _, arch := range found {
			if !slices.Contains(b.UEFI, arch) {
				b.UEFI = append(b.UEFI, arch)
			}
		}
	}
	slices.Sort(b.UEFI)
	return b, nil
}

// loaders returns the architectures of the boot loaders of a partition. A machine whose
// firmware knows nothing of a disk starts the one in \EFI\BOOT.
func loaders(disk io.ReaderAt) ([]string, error) {
	fat, err := openFAT(disk)
	if err != nil {
		return nil, err
	}
	var found []string
	dir, err := fat.lookup("EFI", "BOOT")
	if err != nil || dir == nil {
		return nil, err
	}
	files, err := fat.list(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		want, known := map[string]string{"BOOTX64.EFI": X86, "BOOTAA64.EFI": ARM64}[strings.ToUpper(f.name)]
		if !known || f.dir {
			continue
		}
		is, err := fat.machine(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path.Join("/EFI/BOOT", f.name), err)
		}
		if is != want {
			return nil, fmt.Errorf("%s is a program for %s, want %s", path.Join("/EFI/BOOT", f.name), is, want)
		}
		found = append(found, is)
	}
	return found, nil
}

// machine returns the architecture of an EFI program.
func (f *fat) machine(e entry) (string, error) {
	const headerAt = 0x3c
	head := make([]byte, headerAt+4)
	if err := f.read(e, head, 0); err != nil {
		return "", err
	}
	if string(head[:2]) != "MZ" {
		return "", fmt.Errorf("not an EFI program")
	}
	at := binary.LittleEndian.Uint32(head[headerAt:])
	header := make([]byte, 6)
	if err := f.read(e, header, int64(at)); err != nil {
		return "", err
	}
	if string(header[:4]) != "PE\x00\x00" {
		return "", fmt.Errorf("not an EFI program")
	}
	switch kind := binary.LittleEndian.Uint16(header[4:]); kind {
	case 0x8664:
		return X86, nil
	case 0xaa64:
		return ARM64, nil
	default:
		return fmt.Sprintf("machine %#x", kind), nil
	}
}

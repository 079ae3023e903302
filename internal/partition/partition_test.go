package partition_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/partition"
	"github.com/bakestone-go/bakestone/internal/testenv/disktest"
)

const mib = 1 << 20

func read(t *testing.T, disk []byte) *partition.Table {
	t.Helper()
	table, err := partition.Read(bytes.NewReader(disk), int64(len(disk)))
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return table
}

func TestFindBoot(t *testing.T) {
	part := func(kind string, content []byte) disktest.Partition {
		return disktest.Partition{Type: kind, Content: content}
	}
	root := part(disktest.Linux, make([]byte, mib))
	loader := func(name string, machine uint16) disktest.Partition {
		return part(disktest.ESP, disktest.FAT(t, 4*mib, map[string][]byte{"EFI/BOOT/" + name: disktest.EFIProgram(machine), "EFI/debian/grubx64.efi": {1}}))
	}
	bios := part(disktest.BIOS, make([]byte, mib))
	x86, arm := loader("BOOTX64.EFI", disktest.X86), loader("BOOTAA64.EFI", disktest.ARM64)
	for _, test := range []struct {
		name string
		disk []byte
		kind partition.Kind
		bios bool
		uefi []string
		err  string
	}{
		{"MBR", disktest.MBR(4*mib, true, make([]byte, mib)), partition.MBR, true, nil, ""},
		{"MBR without code", disktest.MBR(4*mib, false, make([]byte, mib)), partition.MBR, false, nil, ""},
		{"GPT for BIOS", disktest.GPT(8*mib, true, bios, root), partition.GPT, true, nil, ""},
		{"GPT for UEFI", disktest.GPT(16*mib, false, x86, root), partition.GPT, false, []string{partition.X86}, ""},
		{"GPT for both", disktest.GPT(16*mib, true, bios, x86, root), partition.GPT, true, []string{partition.X86}, ""},
		{"arm64", disktest.GPT(16*mib, false, root, arm), partition.GPT, false, []string{partition.ARM64}, ""},
		{"FAT32", disktest.GPT(80*mib, false, part(disktest.ESP, disktest.FAT(t, 64*mib, map[string][]byte{"EFI/BOOT/BOOTX64.EFI": disktest.EFIProgram(disktest.X86)}))), partition.GPT, false, []string{partition.X86}, ""},
		{"no loader", disktest.GPT(8*mib, true, root), partition.GPT, false, nil, ""},
		{"nothing", make([]byte, mib), partition.None, false, nil, ""},
		{"wrong machine", disktest.GPT(16*mib, false, loader("BOOTX64.EFI", disktest.I386)), partition.GPT, false, nil, "BOOTX64.EFI is a program for machine 0x14c"},
		{"no program", disktest.GPT(16*mib, false, part(disktest.ESP, disktest.FAT(t, 4*mib, map[string][]byte{"EFI/BOOT/BOOTX64.EFI": make([]byte, 512)}))), partition.GPT, false, nil, "not an EFI program"},
		{"no FAT", disktest.GPT(16*mib, false, part(disktest.ESP, make([]byte, mib))), partition.GPT, false, nil, "not a FAT"},
	} {
		table := read(t, test.disk)
		if table.Kind != test.kind {
			t.Errorf("%s: Kind = %q, want %q", test.name, table.Kind, test.kind)
		}
		boot, err := table.FindBoot(bytes.NewReader(test.disk))
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: FindBoot: %v, want %q", test.name, err, test.err)
			}
			continue
		}
		if err != nil || boot.BIOS != test.bios || !slices.Equal(boot.UEFI, test.uefi) {
			t.Errorf("%s: FindBoot = %+v, %v, want BIOS %t, UEFI %v", test.name, boot, err, test.bios, test.uefi)
		}
	}
}

func TestReadRefusesDamage(t *testing.T) {
	for _, at := range []int{512 + 20, 512 + 60, 1024 + 33} {
		disk := disktest.GPT(8*mib, false, disktest.Partition{Type: disktest.Linux, Content: make([]byte, mib)})
		disk[at] ^= 1
		if _, err := partition.Read(bytes.NewReader(disk), int64(len(disk))); err == nil {
			t.Errorf("Read of a GPT with a changed byte at %d succeeded", at)
		}
	}
}

func TestEnlarge(t *testing.T) {
	content := bytes.Repeat([]byte("content."), mib/8)
	disk := disktest.GPT(4*mib, true, disktest.Partition{Type: disktest.Linux, Name: "root", Content: content})
	before := read(t, disk)
	if patches, err := before.Enlarge(bytes.NewReader(disk), int64(len(disk))); err != nil || len(patches) > 0 {
		t.Errorf("Enlarge to the same size = %v, %v, want none", patches, err)
	}
	const size = 9 * mib
	patches, err := before.Enlarge(bytes.NewReader(disk), size)
	if err != nil {
		t.Fatalf("Enlarge: %v", err)
	}
	larger := make([]byte, size)
	copy(larger, disk)
	for _, p := range patches {
		copy(larger[p.Offset:], p.Data)
	}
	after := read(t, larger)
	if !slices.Equal(after.Partitions, before.Partitions) || after.Partitions[0].Name != "root" {
		t.Errorf("partitions = %+v, want %+v", after.Partitions, before.Partitions)
	}
	// The copy is as the one that was made for a disk of that size, but for the ids.
	want := disktest.GPT(size, true, disktest.Partition{Type: disktest.Linux, Name: "root", Content: content})
	if !bytes.Equal(larger, want) {
		for at := range want {
			if larger[at] != want[at] {
				t.Fatalf("the larger disk differs at %d (sector %d) from one made with that size", at, at/512)
			}
		}
	}
	if last := binary.LittleEndian.Uint64(larger[512+48:]); last != size/512-34 {
		t.Errorf("last usable sector = %d, want %d", last, size/512-34)
	}
}

func FuzzFindBoot(f *testing.F) {
	f.Add(uint32(0), uint64(0))
	base := disktest.GPT(8*mib, true, disktest.Partition{Type: disktest.ESP, Content: disktest.FAT(f, 2*mib, map[string][]byte{"EFI/BOOT/BOOTX64.EFI": disktest.EFIProgram(disktest.X86)})})
	f.Fuzz(func(_ *testing.T, at uint32, put uint64) {
		disk := bytes.Clone(base)
		binary.LittleEndian.PutUint64(disk[int(at)%(4*mib):], put)
		if table, err := partition.Read(bytes.NewReader(disk), int64(len(disk))); err == nil {
			_, _ = table.FindBoot(bytes.NewReader(disk))
			_, _ = table.Enlarge(bytes.NewReader(disk), 16*mib)
		}
	})
}

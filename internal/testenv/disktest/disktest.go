// Package disktest makes disks for tests: partition tables, EFI system partitions and file
// systems. It uses mtools and mke2fs, and skips tests where they are missing.
package disktest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"unicode/utf16"

	"github.com/bakestone-go/bakestone/internal/testenv"
)

// The types of partitions of a GPT.
const (
	ESP   = "\x28\x73\x2a\xc1\x1f\xf8\xd2\x11\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b"
	BIOS  = "Hah!IdontNeedEFI"
	Linux = "\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4"
)

// The architectures of EFI programs.
const (
	X86   = 0x8664
	ARM64 = 0xaa64
	I386  = 0x014c
)

const (
	sector = 512
	mib    = 1 << 20
)

// A Partition is a partition with its contents, which are a multiple of 512 bytes.
type Partition struct {
	Type    string // of a GPT
	Name    string
	Content []byte
}

// GPT returns a disk with partitions that begin at whole MiB.
func GPT(size int64, bootCode bool, parts ...Partition) []byte {
	const entries, entrySize, first = 128, 128, 2
	disk := make([]byte, size)
	last := size/sector - 1
	boot(disk, bootCode)
	disk[446+4] = 0xee
	binary.LittleEndian.PutUint32(disk[446+8:], 1)
	binary.LittleEndian.PutUint32(disk[446+12:], uint32(last)) //nolint:gosec // small
	table := make([]byte, entries*entrySize)
	at := int64(mib)
	for i, p := range parts {
		e := table[i*entrySize:]
		copy(e, p.Type)
		e[16] = byte(i + 1)
		binary.LittleEndian.PutUint64(e[32:], uint64(at/sector))
		binary.LittleEndian.PutUint64(e[40:], uint64((at+int64(len(p.Content)))/sector-1))
		for n, u := range utf16.Encode([]rune(p.Name)) {
			binary.LittleEndian.PutUint16(e[56+2*n:], u)
		}
		copy(disk[at:], p.Content)
		at = (at + int64(len(p.Content)) + mib - 1) / mib * mib
	}
	const tableSectors = entries * entrySize / sector
	header := func(current, other, table64 int64, table []byte) []byte {
		h := make([]byte, sector)
		copy(h, "EFI PART\x00\x00\x01\x00\x5c\x00\x00\x00")
		for at, v := range map[int]int64{24: current, 32: other, 40: first + tableSectors, 48: last - tableSectors - 1, 72: table64} {
			binary.LittleEndian.PutUint64(h[at:], uint64(v)) //nolint:gosec // positive
		}
		h[56] = 1
		binary.LittleEndian.PutUint32(h[80:], entries)
		binary.LittleEndian.PutUint32(h[84:], entrySize)
		binary.LittleEndian.PutUint32(h[88:], crc32.ChecksumIEEE(table))
		binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
		return h
	}
	copy(disk[sector:], header(1, last, first, table))
	copy(disk[first*sector:], table)
	copy(disk[(last-tableSectors)*sector:], table)
	copy(disk[last*sector:], header(last, 1, last-tableSectors, table))
	return disk
}

// boot writes a first sector.
func boot(disk []byte, code bool) {
	copy(disk[510:], "\x55\xaa")
	if code {
		copy(disk, "\xeb\x63\x90 a boot loader")
	}
}

// MBR returns a disk with one bootable partition.
func MBR(size int64, bootCode bool, content []byte) []byte {
	disk := make([]byte, size)
	boot(disk, bootCode)
	disk[446], disk[446+4] = 0x80, 0x83
	binary.LittleEndian.PutUint32(disk[446+8:], mib/sector)
	binary.LittleEndian.PutUint32(disk[446+12:], uint32(len(content)/sector)) //nolint:gosec // small
	copy(disk[mib:], content)
	return disk
}

// EFIProgram returns the beginning of a program for UEFI.
func EFIProgram(machine uint16) []byte {
	const headerAt = 0x80
	p := make([]byte, 2*sector)
	copy(p, "MZ")
	p[0x3c] = headerAt
	copy(p[headerAt:], "PE\x00\x00")
	binary.LittleEndian.PutUint16(p[headerAt+4:], machine)
	return p
}

// FAT returns a file system of a size with files, such as "EFI/BOOT/BOOTX64.EFI".
func FAT(t testing.TB, size int64, files map[string][]byte) []byte {
	t.Helper()
	mformat, mmd, mcopy := testenv.Need(t, "mformat"), testenv.Need(t, "mmd"), testenv.Need(t, "mcopy")
	image := filepath.Join(t.TempDir(), "fat")
	write(t, image, make([]byte, size))
	args := []string{"-i", image, "-h", "4", "-s", "32", "-t", strconv.FormatInt(size/(4*32*sector), 10)}
	if size >= 64*mib {
		args = append(args, "-F")
	}
	run(t, mformat, append(args, "::")...)
	made := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for i, c := range name {
			if dir := name[:i]; c == '/' && !made[dir] {
				run(t, mmd, "-i", image, "::"+dir)
				made[dir] = true
			}
		}
		from := filepath.Join(t.TempDir(), "file")
		write(t, from, files[name])
		run(t, mcopy, "-i", image, from, "::"+name)
	}
	return read(t, image)
}

// A File is a file of a file system that Ext4 makes.
type File struct {
	Content string
	Mode    os.FileMode // zero means 0644
	Link    string      // the target of a symbolic link
}

// Ext4 returns an ext4 file system of a size with files, by their absolute paths. Options
// are those of mke2fs.
func Ext4(t testing.TB, size int64, files map[string]File, options ...string) []byte {
	t.Helper()
	mke2fs := testenv.Need(t, "mke2fs")
	root := t.TempDir()
	for name, f := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if f.Link != "" {
			if err := os.Symlink(f.Link, path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		write(t, path, []byte(f.Content))
		if f.Mode == 0 {
			f.Mode = 0o644
		}
		if err := os.Chmod(path, f.Mode); err != nil {
			t.Fatal(err)
		}
	}
	image := filepath.Join(t.TempDir(), "ext4")
	write(t, image, nil)
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(options, "-t") {
		options = append([]string{"-t", "ext4"}, options...)
	}
	args := append([]string{"-q", "-F", "-d", root}, options...)
	run(t, mke2fs, append(args, image)...)
	return read(t, image)
}

// System returns the files of a small Linux system, with more of them.
func System(more map[string]File) map[string]File {
	files := map[string]File{
		"/etc/passwd":           {Content: "root:x:0:0:root:/root:/bin/bash\ndebian:x:1000:1000::/home/debian:/bin/bash\n"},
		"/etc/group":            {Content: "root:x:0:\ndebian:x:1000:\n"},
		"/etc/shadow":           {Content: "root:*:19000:0:99999:7:::\ndebian:!:19000:0:99999:7:::\n", Mode: 0o640},
		"/etc/os-release":       {Content: "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"},
		"/etc/cloud/cloud.cfg":  {Content: "system_info:\n  default_user:\n    name: debian\n"},
		"/home/debian/.profile": {Content: ""},
		"/etc/hostname":         {Content: "image\n"},
		"/etc/machine-id":       {Content: ""},
		"/usr/bin/tool":         {Content: "#!/bin/sh\n", Mode: 0o755},
		"/bin":                  {Link: "usr/bin"},
	}
	maps.Copy(files, more)
	return files
}

func write(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func run(t testing.TB, program string, args ...string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=1")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out.String())
	}
}

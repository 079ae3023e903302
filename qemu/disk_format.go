package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/bakestone-go/bakestone/bake"
)

// The architectures of Builder.Arch.
const (
	x86   = "x86_64"
	arm64 = "aarch64"
)

const (
	sectorSize    = 512
	bootSignature = "\x55\xaa" // at the end of a boot sector
)

// diskFormat returns QEMU's name for the format of a disk file, which it finds by the
// file's first bytes: a file's extension may be wrong.
func diskFormat(path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // the caller's own file
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, sectorSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	head = head[:n]
	const vdiAt = 64
	for _, known := range []struct {
		at     int
		magic  string
		format string // or empty
		remedy string
	}{
		{0, "QFI\xfb", "qcow2", ""},
		{0, "KDMV", "vmdk", ""},
		{0, "conectix", "vpc", ""},
		{0, "vhdxfile", "vhdx", ""},
		{vdiAt, "\x7f\x10\xda\xbe", "vdi", ""},
		{0, "# Disk DescriptorFile", "", "a VMDK descriptor, which names other files: convert it with qemu-img convert -O qcow2"},
		{0, "\x1f\x8b", "", "compressed with gzip: decompress it first"},
		{0, "\xfd7zXZ", "", "compressed with xz: decompress it first"},
		{0, "BZh", "", "compressed with bzip2: decompress it first"},
		{0, "\x28\xb5\x2f\xfd", "", "compressed with zstd: decompress it first"},
		{0, "PK\x03\x04", "", "a zip archive: extract the disk first"},
	} {
		if known.at < len(head) && bytes.HasPrefix(head[known.at:], []byte(known.magic)) {
			if known.format == "" {
				return "", fmt.Errorf("%s is %s", path, known.remedy)
			}
			return known.format, nil
		}
	}
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 || info.Size()%sectorSize != 0 || !bytes.HasSuffix(head, []byte(bootSignature)) {
		return "", fmt.Errorf("%s is not a disk: want qcow2, VMDK, VDI, VHD, VHDX, or a raw disk with a boot sector", path)
	}
	return "raw", nil
}

// diskInfo is what qemu-img tells about a disk file.
type diskInfo struct {
	VirtualSize int64           `json:"virtual-size"`
	Format      string          `json:"format"`
	Backing     string          `json:"backing-filename"`
	Encrypted   bool            `json:"encrypted"`
	Specific    json.RawMessage `json:"format-specific"`
}

// inspect reads a disk file of the given format. It refuses files that refer to others:
// a downloaded image could name any file of the baking host.
func (h *Host) inspect(ctx context.Context, run *bake.Run, path, format string) (diskInfo, error) {
	var info diskInfo
	out, err := h.img(ctx, run, "info", "--output=json", "-f", format, path)
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return info, fmt.Errorf("qemu-img info %s: %w", path, err)
	}
	var specific struct {
		Data struct {
			DataFile string `json:"data-file"`
		} `json:"data"`
	}
	if len(info.Specific) > 0 {
		if err := json.Unmarshal(info.Specific, &specific); err != nil {
			return info, fmt.Errorf("qemu-img info %s: %w", path, err)
		}
	}
	switch other := specific.Data.DataFile; {
	case info.Backing != "":
		return info, fmt.Errorf("%s has the backing file %s: make it standalone with qemu-img convert", path, info.Backing)
	case other != "":
		return info, fmt.Errorf("%s keeps its data in %s: make it standalone with qemu-img convert", path, other)
	case info.Encrypted:
		return info, fmt.Errorf("%s is encrypted", path)
	case info.VirtualSize <= 0:
		return info, fmt.Errorf("qemu-img info %s: a disk of %d bytes", path, info.VirtualSize)
	}
	return info, nil
}

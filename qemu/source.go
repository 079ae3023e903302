package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Source selects the disk that a bake starts from: a [DiskFile], the [NewestFile] of
// a directory, a [URL], the [NewestImage] baked before, or an empty disk with an
// [Installer].
type Source interface {
	bake.Validator
	fmt.Stringer

	// find returns the disk, with its digest and format.
	find(ctx context.Context, h *Host, run *bake.Run) (SourceDisk, error)

	// installer returns what writes the disk first, or nil.
	installer() *Installer
}

// A SourceDisk describes the disk that an image was made from.
type SourceDisk struct {
	Path   string `json:"path"`            // or what the installer boots
	Format string `json:"format"`          // QEMU's name: "qcow2", "raw", "vmdk"; or "installer"
	Size   int64  `json:"size"`            // of the disk, in bytes
	SHA256 string `json:"sha256"`          // of the file, or of all that the installer uses
	ID     string `json:"id,omitempty"`    // of the image, if it was baked
	Login  string `json:"login,omitempty"` // of the image, if it was baked
	Arch   string `json:"arch,omitempty"`  // of the image, if it was baked

	Data []DataFile `json:"data,omitempty"` // the further disks of the image, if it was baked

	Firmware FirmwareType `json:"firmware,omitempty"` // of the image, if it was baked
	Vars     string       `json:"vars,omitempty"`     // UEFI's variable store, if the image has it
}

// same reports whether the disks have the same contents.
func (d SourceDisk) same(other SourceDisk) bool {
	equal := func(a, b DataFile) bool { return a.Name == b.Name && a.SHA256 == b.SHA256 }
	return d.SHA256 == other.SHA256 && slices.EqualFunc(d.Data, other.Data, equal)
}

// A DiskFile is a disk in a file: qcow2, raw, VMDK, VDI, VHD or VHDX, recognized by its
// contents. It must not change while images are baked from it.
type DiskFile string

// String returns the path.
func (d DiskFile) String() string { return string(d) }

// Validate reports an empty path.
func (d DiskFile) Validate() error {
	if d == "" {
		return errors.New("path of the disk is required")
	}
	return nil
}

func (d DiskFile) find(ctx context.Context, h *Host, run *bake.Run) (SourceDisk, error) {
	return h.disk(ctx, run, d)
}

func (d DiskFile) installer() *Installer { return nil }

func (d DiskFile) locate(ctx context.Context, _ *Host, _ *bake.Run) (path, digest string, err error) {
	if digest, err = fileDigest(ctx, string(d)); err != nil {
		return "", "", err
	}
	path, err = filepath.Abs(string(d))
	return path, digest, err
}

// disk describes the disk in a file.
func (h *Host) disk(ctx context.Context, run *bake.Run, file InstallFile) (SourceDisk, error) {
	path, digest, err := file.locate(ctx, h, run)
	if err != nil {
		return SourceDisk{}, err
	}
	return h.sourceDisk(ctx, run, path, digest)
}

// A NewestFile is the file of a directory that was modified last, among those whose
// names match a pattern.
type NewestFile struct {
	// Dir is the directory.
	Dir string

	// Pattern is matched against the names of files, as by path/filepath.Match:
	// "debian-12-*.qcow2". Empty matches all.
	Pattern string
}

// String returns the directory and the pattern.
func (n NewestFile) String() string {
	return "newest of " + filepath.Join(n.Dir, n.pattern())
}

func (n NewestFile) pattern() string {
	if n.Pattern == "" {
		return "*"
	}
	return n.Pattern
}

// Validate reports a missing directory and an invalid pattern.
func (n NewestFile) Validate() error {
	if n.Dir == "" {
		return bake.Invalid("NewestFile.Dir", "is required")
	}
	if _, err := filepath.Match(n.pattern(), ""); err != nil {
		return bake.Invalid("NewestFile.Pattern", "%w", err)
	}
	return nil
}

func (n NewestFile) find(ctx context.Context, h *Host, run *bake.Run) (SourceDisk, error) {
	return h.disk(ctx, run, n)
}

func (n NewestFile) installer() *Installer { return nil }

func (n NewestFile) locate(ctx context.Context, h *Host, run *bake.Run) (path, digest string, err error) {
	entries, err := os.ReadDir(n.Dir)
	if err != nil {
		return "", "", err
	}
	var newest string
	var latest time.Time
	for _, e := range entries {
		matches, err := filepath.Match(n.pattern(), e.Name())
		if err != nil {
			return "", "", err
		}
		info, err := os.Stat(filepath.Join(n.Dir, e.Name()))
		if err != nil || !matches || !info.Mode().IsRegular() {
			continue // a file that has just been removed cannot be the newest
		}
		if newest == "" || info.ModTime().After(latest) {
			newest, latest = filepath.Join(n.Dir, e.Name()), info.ModTime()
		}
	}
	if newest == "" {
		return "", "", fmt.Errorf("no file in %s matches %q", n.Dir, n.pattern())
	}
	return DiskFile(newest).locate(ctx, h, run)
}

// NewestImage is the newest good image with this name in the directory of the Host:
// the Image.Name that it was baked with.
type NewestImage string

// String returns the name.
func (n NewestImage) String() string { return "newest image " + string(n) }

// Validate reports an invalid name.
func (n NewestImage) Validate() error {
	if !validName(string(n)) {
		return fmt.Errorf("invalid image name %q", string(n))
	}
	return nil
}

func (n NewestImage) installer() *Installer { return nil }

func (n NewestImage) find(ctx context.Context, h *Host, run *bake.Run) (SourceDisk, error) {
	d, err := h.newest(string(n), func(*Disk) bool { return true })
	if errors.Is(err, bake.ErrNoArtifact) {
		return SourceDisk{}, fmt.Errorf("no image %q in %s", string(n), h.imagesDir())
	}
	if err != nil {
		return SourceDisk{}, err
	}
	return d.source(ctx, h, run)
}

// source returns the image as the source of another.
func (d *Disk) source(ctx context.Context, h *Host, run *bake.Run) (SourceDisk, error) {
	s, err := h.sourceDisk(ctx, run, d.Path, d.SHA256)
	s.ID, s.Login, s.Arch, s.Data = d.ID(), d.Login, d.Arch, d.Data
	s.Firmware, s.Vars = d.Firmware, d.Vars
	return s, err
}

// sourceDisk describes the disk in a file.
func (h *Host) sourceDisk(ctx context.Context, run *bake.Run, path, digest string) (SourceDisk, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return SourceDisk{}, err
	}
	format, err := diskFormat(path)
	if err != nil {
		return SourceDisk{}, err
	}
	info, err := h.inspect(ctx, run, path, format)
	if err != nil {
		return SourceDisk{}, err
	}
	return SourceDisk{Path: path, Format: format, Size: info.VirtualSize, SHA256: digest}, nil
}

// fileDigest returns the SHA-256 digest of a file in hexadecimal digits.
func fileDigest(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // the caller's own file
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, contextReader{ctx, f}); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// A contextReader reads until its context ends.
type contextReader struct {
	ctx context.Context //nolint:containedctx // for one copy
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}

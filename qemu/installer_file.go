package qemu

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/qemu/internal/iso9660"
)

// An InstallFile selects a file that an [Installer] boots: a [DiskFile], the
// [NewestFile] of a directory, a [URL], or a file [InISO].
type InstallFile interface {
	bake.Validator
	fmt.Stringer

	// locate returns the path and the SHA-256 digest of the file.
	locate(ctx context.Context, h *Host, run *bake.Run) (path, digest string, err error)

	// inISO returns the name of the file in Installer.ISO, if it is one.
	inISO() (name string, within bool)
}

var (
	_ InstallFile = DiskFile("")
	_ InstallFile = NewestFile{}
	_ InstallFile = URL{}
	_ InstallFile = InISO("")
)

// InISO is a file of Installer.ISO: the path of a kernel or initial RAM disk with
// slashes, such as "install.amd/vmlinuz". It is extracted into the cache of the Host.
type InISO string

// String returns the path and where it is.
func (f InISO) String() string { return string(f) + " of the ISO image" }

// Validate reports an empty path.
func (f InISO) Validate() error {
	if strings.Trim(string(f), "/") == "" {
		return errors.New("path in the ISO image is required")
	}
	return nil
}

func (f InISO) inISO() (string, bool)      { return string(f), true }
func (d DiskFile) inISO() (string, bool)   { return "", false }
func (n NewestFile) inISO() (string, bool) { return "", false }
func (u URL) inISO() (string, bool)        { return "", false }

func (f InISO) locate(context.Context, *Host, *bake.Run) (path, digest string, err error) {
	return "", "", fmt.Errorf("%v was not extracted", f) // Installer extracts it
}

// extract copies a file of an ISO image into the cache and returns its path and digest.
func (h *Host) extract(ctx context.Context, iso, name string) (path, digest string, err error) {
	image, err := os.Open(iso) //nolint:gosec // the caller's own file
	if err != nil {
		return "", "", err
	}
	defer image.Close()
	file, err := iso9660.Open(image, name)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", iso, err)
	}
	const most = 2 << 30 // of a kernel or initial RAM disk
	if file.Size() > most {
		return "", "", fmt.Errorf("%s: %s has %d bytes, want at most %d", iso, name, file.Size(), most)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, contextReader{ctx, file}); err != nil {
		return "", "", fmt.Errorf("read %s of %s: %w", name, iso, err)
	}
	digest = hex.EncodeToString(hash.Sum(nil))
	path = filepath.Join(h.cacheDir(), digest)
	if there, err := exists(path); there || err != nil {
		return path, digest, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", "", err
	}
	return path, digest, h.cache(path, contextReader{ctx, file})
}

// cache writes a file of the cache, which appears as a whole.
func (h *Host) cache(path string, content io.Reader) error {
	if err := os.MkdirAll(h.cacheDir(), privateDir); err != nil {
		return err
	}
	part, err := os.CreateTemp(h.cacheDir(), "extract-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(part, content)
	err = cmp.Or(err, part.Sync(), part.Close())
	if err == nil {
		err = os.Rename(part.Name(), path)
	}
	if err != nil {
		return errors.Join(err, part.Close(), os.Remove(part.Name()))
	}
	return nil
}

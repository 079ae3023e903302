package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/atomicfile"
	"github.com/bakestone-go/bakestone/qemu/internal/ovf"
	"github.com/bakestone-go/bakestone/qemu/internal/vmdk"
)

// The outputs are publishers: each writes the image to a further file, or a file for each
// of its disks. Without a path the file is beside the image, and removed with it.

var (
	_ bake.Publisher = QCOW2{}
	_ bake.Publisher = Raw{}
	_ bake.Publisher = VMDK{}
)

// A QCOW2 output is a copy of the image that was baked.
type QCOW2 struct {
	// Path is the file to write. Empty means a file beside the image, named after it.
	// Further disks are written to files beside it: "web-data.raw" to "web.raw".
	Path string

	// Compress makes the file smaller, as Capture.Compress does.
	Compress bool
}

// String returns "qcow2".
func (q QCOW2) String() string { return "qcow2" }

// Publish writes the file.
func (q QCOW2) Publish(ctx context.Context, a bake.Artifact) error {
	return eachDisk(ctx, a, q.Path, ".qcow2", func(d *Disk, f DataFile, part *os.File) error {
		var options []string
		if q.Compress {
			options = []string{"-c"}
		}
		return d.convert(ctx, f, "qcow2", part.Name(), options...)
	})
}

// A Raw output is a raw disk image. Blocks of zeros are holes in the file.
type Raw struct {
	// Path is the file to write. Empty means a file beside the image, named after it.
	// Further disks are written to files beside it: "web-data.raw" to "web.raw".
	Path string
}

// String returns "raw image".
func (r Raw) String() string { return "raw image" }

// Publish writes the file.
func (r Raw) Publish(ctx context.Context, a bake.Artifact) error {
	return eachDisk(ctx, a, r.Path, ".raw", func(d *Disk, f DataFile, part *os.File) error {
		return d.convert(ctx, f, "raw", part.Name())
	})
}

// A VMDK output is a stream-optimized VMDK, as OVF packages and cloud importers take it.
type VMDK struct {
	// Path is the file to write. Empty means a file beside the image, named after it.
	// Further disks are written to files beside it: "web-data.raw" to "web.raw".
	Path string
}

// String returns "VMDK".
func (v VMDK) String() string { return "VMDK" }

// Publish writes the file.
func (v VMDK) Publish(ctx context.Context, a bake.Artifact) error {
	return eachDisk(ctx, a, v.Path, ".vmdk", func(d *Disk, f DataFile, part *os.File) error {
		return d.writeVMDK(ctx, f, part, filepath.Base(f.beside(cmp.Or(v.Path, d.Image+".vmdk"))))
	})
}

// output writes a file by way of a partial one, in the directory of the result. An empty
// path is that of a file beside the image, with the extension.
func output(ctx context.Context, a bake.Artifact, path, ext string, write func(d *Disk, part *os.File) error) (err error) {
	d, err := DiskOf(a)
	if err != nil {
		return err
	}
	if path == "" {
		path = filepath.Join(filepath.Dir(d.Path), d.Image+ext)
	}
	part, err := os.CreateTemp(filepath.Dir(path), atomicfile.TempPrefix+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = part.Close() // err is why
			err = errors.Join(err, os.Remove(part.Name()))
		}
	}()
	if err := write(d, part); err != nil {
		return err
	}
	const mode = 0o644
	if err := errors.Join(part.Chmod(mode), part.Sync(), part.Close()); err != nil {
		return err
	}
	info, err := os.Stat(part.Name())
	if err != nil {
		return err
	}
	if err := bake.CheckLease(ctx); err != nil {
		return err
	}
	if err := os.Rename(part.Name(), path); err != nil {
		return err
	}
	bake.RunFromContext(ctx).Say("written: %s (%d MiB)", path, info.Size()>>20)
	return nil
}

// eachDisk writes a file for each disk of the image.
func eachDisk(ctx context.Context, a bake.Artifact, path, ext string, write func(d *Disk, f DataFile, part *os.File) error) error {
	d, err := DiskOf(a)
	if err != nil {
		return err
	}
	if path == "" {
		path = filepath.Join(filepath.Dir(d.Path), d.Image+ext)
	}
	for _, f := range d.files() {
		err := output(ctx, a, f.beside(path), "", func(d *Disk, part *os.File) error { return write(d, f, part) })
		if err != nil {
			return err
		}
	}
	return nil
}

// beside returns the path of an output of the disk: that of the first disk, or one beside
// it with the name of the disk.
func (f DataFile) beside(path string) string {
	if f.Name == "" {
		return path
	}
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-" + f.Name + ext
}

// convert writes a disk in another format to a file.
func (d *Disk) convert(ctx context.Context, f DataFile, format, path string, options ...string) error {
	args := append([]string{"convert", "-f", d.Format, "-O", format}, options...)
	_, err := d.host.img(ctx, bake.RunFromContext(ctx), append(args, f.Path, path)...)
	return err
}

// withTemp calls f with the name of a temporary file beside the image.
func (d *Disk) withTemp(f func(name string) error) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(d.Path), atomicfile.TempPrefix+"*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(temp.Name())) }()
	if err := temp.Close(); err != nil {
		return err
	}
	return f(temp.Name())
}

// writeVMDK writes a disk to an empty file as a stream-optimized VMDK.
func (d *Disk) writeVMDK(ctx context.Context, f DataFile, to io.WriteSeeker, name string) error {
	return d.withTemp(func(temp string) error {
		if err := d.convert(ctx, f, "raw", temp); err != nil {
			return err
		}
		raw, err := os.Open(temp) //nolint:gosec // our own file
		if err != nil {
			return err
		}
		defer raw.Close()
		info, err := raw.Stat()
		if err != nil {
			return err
		}
		if info.Size() != f.Size {
			return fmt.Errorf("%s has a disk of %d bytes, want %d", f.Path, info.Size(), f.Size)
		}
		return vmdk.Write(ctx, to, raw, info.Size(), name)
	})
}

// withVMDKs calls then with the disks as stream-optimized VMDKs: PREFIX-disk1.vmdk.
func (d *Disk) withVMDKs(ctx context.Context, prefix string, then func(disks []ovf.Entry) error) error {
	number := 0
	return d.withDisks(func(f DataFile, temp *os.File) (name string, err error) {
		number++
		name = fmt.Sprintf("%s-disk%d.vmdk", prefix, number)
		return name, d.writeVMDK(ctx, f, temp, name)
	}, then)
}

// withDisks calls then with a temporary file for each disk, which write fills and names.
func (d *Disk) withDisks(write func(f DataFile, temp *os.File) (name string, err error), then func(disks []ovf.Entry) error) error {
	files := d.files()
	var add func(done []ovf.Entry) error
	add = func(done []ovf.Entry) error {
		if len(done) == len(files) {
			return then(done)
		}
		return d.withTemp(func(temp string) error {
			file, err := os.OpenFile(temp, os.O_RDWR, 0) //nolint:gosec // our own file
			if err != nil {
				return err
			}
			defer file.Close()
			name, err := write(files[len(done)], file)
			if err != nil {
				return err
			}
			return withEntry(file, name, func(e ovf.Entry) error { return add(append(done, e)) })
		})
	}
	return add(nil)
}

// withEntry calls f with a file as the entry of an archive.
func withEntry(file *os.File, name string, f func(ovf.Entry) error) error {
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return f(ovf.Entry{Name: name, Size: size, Content: file})
}

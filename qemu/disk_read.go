package qemu

import (
	"context"
	"fmt"
	"os"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/diskimage"
)

var _ bake.DiskReader = (*Disk)(nil)

// ReadDisks implements [bake.DiskReader]. It returns an error if a file changed meanwhile.
func (d *Disk) ReadDisks(_ context.Context, read func(bake.SystemDisks) error) error {
	disks := bake.SystemDisks{Architecture: d.Arch, Login: d.Login}
	if d.Arch == arm64 {
		disks.Architecture = "arm64"
	}
	var unchanged []func() error
	for _, f := range d.files() {
		file, err := os.Open(f.Path)
		if err != nil {
			return err
		}
		defer file.Close()
		before, err := file.Stat()
		if err != nil {
			return err
		}
		contents, err := diskimage.Open(file, before.Size(), d.Format)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		if before.Size() != f.FileSize || contents.Size() != f.Size {
			return fmt.Errorf("%s has %d bytes for a disk of %d, but %d and %d when it was baked: it was changed or cut", f.Path, before.Size(), contents.Size(), f.FileSize, f.Size)
		}
		unchanged = append(unchanged, func() error {
			after, err := file.Stat()
			if err == nil && (after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime())) {
				err = fmt.Errorf("%s changed while it was read", f.Path)
			}
			return err
		})
		disks.Disks = append(disks.Disks, bake.Disk{Name: f.Name, DiskContents: contents})
	}
	if err := read(disks); err != nil {
		return err
	}
	for _, check := range unchanged {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

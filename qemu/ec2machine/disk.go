package ec2machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/qemu/internal/qmp"
)

// blockSize is the size of the blocks of EBS direct.
const blockSize = 512 << 10

// disk is a qcow2 file in a directory of its own.
type disk struct {
	machines *Machines
	dir      string

	mu    sync.Mutex
	guest *guest // that uses it; nil if none does
	node  string // its name in the guest's QEMU
}

// newDisk creates a disk whose file create writes.
func (m *Machines) newDisk(create func(file string) error) (*disk, error) {
	dir, err := m.newDir()
	if err != nil {
		return nil, err
	}
	d := &disk{machines: m, dir: dir}
	if err := create(d.file()); err != nil {
		return nil, errors.Join(err, m.removeDir(dir))
	}
	return d, nil
}

func (d *disk) file() string { return filepath.Join(d.dir, "disk.qcow2") }

// use marks the disk as used by a guest, or by none.
func (d *disk) use(g *guest, node string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.guest, d.node = g, node
}

// Clone copies the file. A guest that uses it stands still meanwhile.
func (d *disk) Clone(ctx context.Context) (ec2test.Disk, error) { return d.copied(ctx) }

func (d *disk) copied(ctx context.Context) (*disk, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.guest != nil {
		resume, err := d.guest.pause(ctx)
		if err != nil {
			return nil, err
		}
		defer resume()
	}
	return d.machines.newDisk(func(file string) error { return copyFile(d.file(), file) })
}

func copyFile(from, to string) error {
	in, err := os.Open(from) //nolint:gosec // in our directory
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600) //nolint:gosec // in our directory
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// Grow enlarges the disk, also in a guest that uses it.
func (d *disk) Grow(ctx context.Context, sizeGiB int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.guest != nil {
		return d.guest.do(ctx, "block_resize", map[string]any{"node-name": d.node, "size": int64(sizeGiB) << 30})
	}
	return image(ctx, "resize", d.file(), gib(sizeGiB))
}

// Blocks reads a copy of the disk.
func (d *disk) Blocks(ctx context.Context, write func(offset int64, data []byte) error) error {
	c, err := d.copied(ctx)
	if err != nil {
		return err
	}
	return errors.Join(c.read(ctx, write), c.Close())
}

func (d *disk) read(ctx context.Context, write func(offset int64, data []byte) error) error {
	text, err := output(ctx, "map", "--output=json", d.file())
	if err != nil {
		return err
	}
	var extents []struct {
		Start  int64 `json:"start"`
		Length int64 `json:"length"`
		Zero   bool  `json:"zero"`
	}
	if err := json.Unmarshal(text, &extents); err != nil {
		return fmt.Errorf("map of %s: %w", d.file(), err)
	}
	raw := d.file() + ".raw"
	if err := image(ctx, "convert", "-O", "raw", d.file(), raw); err != nil {
		return err
	}
	in, err := os.Open(raw) //nolint:gosec // in our directory
	if err != nil {
		return err
	}
	defer in.Close()
	data := make([]byte, blockSize)
	next := int64(0) // blocks before it are done
	for _, e := range extents {
		if e.Zero {
			continue
		}
		for offset := max(next, e.Start/blockSize*blockSize); offset < e.Start+e.Length; offset += blockSize {
			n, err := in.ReadAt(data, offset)
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			clear(data[n:])
			if err := write(offset, data); err != nil {
				return err
			}
			next = offset + blockSize
		}
	}
	return nil
}

// Files is not supported.
func (*disk) Files() ([]ec2test.File, error) { return nil, errNoFiles() }

// ReadFile is not supported.
func (*disk) ReadFile(string) ([]byte, error) { return nil, errNoFiles() }

func errNoFiles() error {
	return fmt.Errorf("the disk of a virtual machine cannot be read as files; log in to an instance: %w", errors.ErrUnsupported)
}

// Close removes the disk.
func (d *disk) Close() error { return d.machines.removeDir(d.dir) }

// do runs a command of the guest's QEMU.
func (g *guest) do(ctx context.Context, command string, args any) error {
	return qmp.Do(ctx, g.socket(), command, args, nil)
}

// pause makes the guest stand still, with its writes in the files of its disks. The
// caller must call resume.
func (g *guest) pause(ctx context.Context) (resume func(), _ error) {
	if err := g.do(ctx, "stop", nil); err != nil {
		return nil, fmt.Errorf("pause the machine: %w", err)
	}
	return func() {
		if err := g.do(context.WithoutCancel(ctx), "cont", nil); err != nil {
			g.spec.Logger.Warn("cannot resume machine", slog.String("instance", g.spec.InstanceID), slog.String("err", err.Error()))
		}
	}, nil
}

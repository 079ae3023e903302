package ec2test

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/bakestone-go/bakestone/internal/blockstore"
)

// errBlank marks the disk of a volume that has never been written.
var errBlank = errors.New("blank volume")

// A diskRef refers to a disk that may still be in the making. Its contents are a
// Disk of the machine kind, blocks, or both.
type diskRef struct {
	server *Server
	fixed  bool          // the contents never change: they are a snapshot's
	ready  chan struct{} // closed when it is made
	err    error         // of making it

	mu      sync.Mutex
	sizeGiB int
	disk    Disk            // nil until it is needed, if there are blocks
	blocks  blockstore.Disk // nil if unknown
}

// newDiskRef returns the disk of a new volume, which the caller must fill.
func (s *Server) newDiskRef(sizeGiB int) *diskRef {
	return &diskRef{server: s, sizeGiB: sizeGiB, ready: make(chan struct{})}
}

// newFixedRef returns the disk of a new snapshot, which the caller must fill.
func (s *Server) newFixedRef(sizeGiB int) *diskRef {
	d := s.newDiskRef(sizeGiB)
	d.fixed = true
	return d
}

// noDisk returns a disk that fails with err.
func noDisk(err error) *diskRef {
	d := &diskRef{ready: make(chan struct{})}
	d.fill(nil, err)
	return d
}

// newBlankDisk returns the disk of a new, empty volume of a size.
func (s *Server) newBlankDisk(sizeGiB int) *diskRef {
	d := s.newDiskRef(sizeGiB)
	if !s.enter() {
		d.fill(nil, net.ErrClosed)
		return d
	}
	ctx := context.Background() //nolint:forbidigo // the volume outlives the call
	go func() {
		defer s.work.Done()
		disk, err := s.opts.Machines.Blank(ctx, sizeGiB)
		if errors.Is(err, errors.ErrUnsupported) {
			disk, err = nil, errBlank
		}
		d.fill(disk, err)
	}()
	return d
}

func (d *diskRef) fill(disk Disk, err error) {
	d.disk, d.err = disk, err
	close(d.ready)
}

// fillBlocks fills d with blocks, of which machines get a disk when they need it.
func (d *diskRef) fillBlocks(blocks blockstore.Disk) {
	d.blocks = blocks
	close(d.ready)
}

// wait waits until the disk is made.
func (d *diskRef) wait(ctx context.Context) error {
	select {
	case <-d.ready:
		return d.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// get waits for the disk as machines use it.
func (d *diskRef) get(ctx context.Context) (Disk, error) {
	if err := d.wait(ctx); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.disk == nil {
		disk, err := d.server.opts.Machines.Load(ctx, d.sizeGiB, d.server.reader(d.blocks))
		if err != nil {
			return nil, err
		}
		d.disk = disk
	}
	if !d.fixed {
		d.blocks = nil // the machine may change the disk
	}
	return d.disk, nil
}

// copyFrom waits for another disk and fills d with a copy of it.
func (d *diskRef) copyFrom(ctx context.Context, from *diskRef) error {
	disk, err := d.clone(ctx, from)
	d.fill(disk, err)
	if errors.Is(err, errBlank) {
		return nil
	}
	return err
}

func (d *diskRef) clone(ctx context.Context, from *diskRef) (Disk, error) {
	if err := from.wait(ctx); err != nil {
		return nil, err
	}
	from.mu.Lock()
	defer from.mu.Unlock()
	d.blocks = from.blocks
	if from.disk == nil {
		return nil, nil //nolint:nilnil // there are blocks
	}
	disk, err := from.disk.Clone(ctx)
	if err == nil && d.sizeGiB > from.sizeGiB {
		err = disk.Grow(ctx, d.sizeGiB)
	}
	return disk, err
}

// grow enlarges the disk, also while a machine runs on it.
func (d *diskRef) grow(ctx context.Context, sizeGiB int) error {
	if err := d.wait(ctx); err != nil {
		if errors.Is(err, errBlank) {
			return nil
		}
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sizeGiB = sizeGiB
	if d.disk == nil {
		return nil
	}
	return d.disk.Grow(ctx, sizeGiB)
}

// contents waits for the disk and returns its blocks.
func (d *diskRef) contents(ctx context.Context) (blockstore.Disk, error) {
	if err := d.wait(ctx); errors.Is(err, errBlank) {
		return blockstore.Disk{}, nil
	} else if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.blocks != nil {
		return d.blocks, nil
	}
	blocks := make(blockstore.Disk)
	err := d.disk.Blocks(ctx, func(offset int64, data []byte) error {
		block, err := d.server.blocks.Put(data)
		if err == nil {
			blocks[int(offset/blockstore.Size)] = block
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if d.fixed {
		d.blocks = blocks
	}
	return blocks, nil
}

// reader returns the contents of a disk for machines.
func (s *Server) reader(blocks blockstore.Disk) Blocks {
	return func(write func(offset int64, data []byte) error) error {
		data := make([]byte, blockstore.Size)
		for _, index := range blocks.Indexes() {
			if blocks[index].IsZero() {
				continue
			}
			if err := s.blocks.Read(blocks[index], data); err != nil {
				return err
			}
			if err := write(int64(index)*blockstore.Size, data); err != nil {
				return err
			}
		}
		return nil
	}
}

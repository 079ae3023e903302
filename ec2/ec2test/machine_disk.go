package ec2test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
)

// errBlank is the lack of a disk: a volume that was never written to.
var errBlank = errors.New("blank volume")

// diskRef is a disk that may still be being made.
type diskRef struct {
	ready chan struct{}
	disk  Disk
	err   error
}

func newDiskRef() *diskRef { return &diskRef{ready: make(chan struct{})} }

// blankDisk is the disk of a new, empty volume.
func blankDisk() *diskRef {
	d := newDiskRef()
	d.fill(nil, errBlank)
	return d
}

func (d *diskRef) fill(disk Disk, err error) {
	d.disk, d.err = disk, err
	close(d.ready)
}

// get waits for the disk.
func (d *diskRef) get(ctx context.Context) (Disk, error) {
	select {
	case <-d.ready:
		return d.disk, d.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// copyFrom fills d with a clone of another disk. It waits for that one.
func (d *diskRef) copyFrom(ctx context.Context, from *diskRef) error {
	disk, err := from.get(ctx)
	if err == nil {
		disk, err = disk.Clone(ctx)
	}
	d.fill(disk, err)
	if errors.Is(err, errBlank) {
		return nil
	}
	return err
}

// closeDisk gives the disk up, once the machine that runs on it is off; m may
// be nil.
func (s *Server) closeDisk(d *diskRef, m *machine) {
	s.background(func() {
		if m != nil {
			m.stop()
		}
		select {
		case <-d.ready:
		case <-s.closing:
			return
		}
		if d.err != nil {
			return
		}
		if err := d.disk.Close(); err != nil {
			s.opts.Logger.Warn("closing a disk", slog.String("err", err.Error()))
		}
	})
}

// closeDisks gives up the disks that are left when the server closes.
func (s *Server) closeDisks() {
	s.mu.Lock()
	var left []*diskRef
	for _, d := range s.disks {
		left = append(left, d)
	}
	s.mu.Unlock()
	for _, r := range s.existing() {
		r.mu.Lock()
		for v := range r.volumes.all() {
			left = append(left, v.disk)
		}
		for snap := range r.snapshots.all() {
			if !snap.vendor {
				left = append(left, snap.disk)
			}
		}
		for b := range r.snapshotBin.all() {
			if !b.resource.vendor {
				left = append(left, b.resource.disk)
			}
		}
		r.mu.Unlock()
	}
	for _, d := range left {
		select {
		case <-d.ready:
		default:
			continue
		}
		if d.err == nil {
			if err := d.disk.Close(); err != nil {
				s.opts.Logger.Warn("closing a disk", slog.String("err", err.Error()))
			}
		}
	}
}

// vendorDisk is the root disk of a vendor's image, the same in all regions.
func (s *Server) vendorDisk(img Image) *diskRef {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := img.Owner + " " + img.Name
	if d := s.disks[key]; d != nil {
		return d
	}
	d := newDiskRef()
	s.disks[key] = d
	// It belongs to all calls that will need it, and to none of them.
	ctx := context.Background() //nolint:forbidigo // see above
	if s.closed {
		d.fill(nil, net.ErrClosed)
		return d
	}
	s.work.Go(func() { d.fill(s.opts.Machines.Disk(ctx, img)) })
	return d
}

// ReadFile reads a file from the root disk of an image, an instance, a
// snapshot or a volume, found in any region and account. Of a running
// instance it is the file as it is now.
func (s *Server) ReadFile(id, path string) ([]byte, error) {
	for _, r := range s.existing() {
		if d := r.rootDisk(id); d != nil {
			select {
			case <-d.ready:
			case <-s.closing:
				return nil, fmt.Errorf("disk of %s: the server is closed", id)
			}
			if d.err != nil {
				return nil, fmt.Errorf("disk of %s: %w", id, d.err)
			}
			return d.disk.ReadFile(path)
		}
	}
	return nil, fmt.Errorf("no image, instance, snapshot or volume has the id %q", id)
}

func (r *region) rootDisk(id string) *diskRef {
	r.mu.Lock()
	defer r.mu.Unlock()
	if snap, ok := r.snapshots.get(id); ok {
		return r.diskOf(snap)
	}
	if v, ok := r.volumes.get(id); ok {
		return v.disk
	}
	if img, ok := r.images.get(id); ok {
		if snap := img.rootSnapshot(r); snap != nil {
			return r.diskOf(snap)
		}
	}
	if i, ok := r.instances.get(id); ok {
		if v := i.rootVolume(); v != nil {
			return v.disk
		}
	}
	return nil
}

package ec2test

import (
	"context"
	"errors"
	"log/slog"
	"net"
)

// closeDisk closes the disk after stopping the machine that uses it. m may be
// nil.
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
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.err != nil || d.disk == nil {
			return
		}
		if err := d.disk.Close(); err != nil {
			s.opts.Logger.Warn("cannot close disk", slog.String("err", err.Error()))
		}
	})
}

// closeDisks closes all remaining disks.
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
		if d.err == nil && d.disk != nil {
			if err := d.disk.Close(); err != nil {
				s.opts.Logger.Warn("cannot close disk", slog.String("err", err.Error()))
			}
		}
	}
}

// vendorDisk returns the root disk of a vendor's image, which all regions
// share.
func (s *Server) vendorDisk(img Image) *diskRef {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := img.Owner + " " + img.Name
	if d := s.disks[key]; d != nil {
		return d
	}
	d := s.newFixedRef(img.SizeGiB)
	s.disks[key] = d
	// All calls that need the disk share it, so no caller's context applies.
	ctx := context.Background() //nolint:forbidigo // see above
	if s.closed {
		d.fill(nil, net.ErrClosed)
		return d
	}
	s.work.Go(func() { d.fill(s.opts.Machines.Disk(ctx, img)) })
	return d
}

func (r *region) rootDisk(id string) *diskRef {
	r.mu.Lock()
	defer r.mu.Unlock()
	if snap, ok := r.snapshots.get(id); ok {
		if snap.unfinished() {
			return noDisk(errors.New("the snapshot is not completed"))
		}
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

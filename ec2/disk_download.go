package ec2

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/internal/ebsdirect"
	"github.com/bakestone-go/bakestone/internal/atomicfile"
	"github.com/bakestone-go/bakestone/internal/diskimage"
)

// A DiskDownload says what to download, and to which file.
type DiskDownload struct {
	DiskSelection

	// Since is a snapshot, or an AMI whose disk of the same Device is meant, of which
	// the disk is a later version. Only blocks that are not the same are downloaded.
	Since string

	// Base is a file with the disk of Since, in any format of Disk.File. The new file
	// then has the whole disk. Without it, a file with Since has the changed blocks
	// only, and holes elsewhere.
	Base string

	// Path is the file to write. It is replaced when the download is complete.
	Path string

	// Format is "raw" or "qcow2". Empty means raw. Blocks of zeros are holes.
	Format string
}

// A DownloadedDisk describes the result of a download.
type DownloadedDisk struct {
	Path     string
	Snapshot string // that was read
	Size     int64  // of the disk, in bytes
	Blocks   int    // that were downloaded, of 512 KiB
}

// DownloadDisk writes the disk of an AMI or snapshot to a file, which Disk and the QEMU
// platform can start from. Each block is compared with the checksum that EBS has of it.
//
//	disk, err := ec2.DownloadDisk(ctx, cloud, &ec2.DiskDownload{
//		DiskSelection: ec2.DiskSelection{ID: "ami-0123456789abcdef0"}, Path: "vendor.qcow2", Format: "qcow2",
//	})
//	…
//	qemu.Builder{Host: host, Source: qemu.DiskFile(disk.Path)}
func DownloadDisk(ctx context.Context, cloud *Cloud, d *DiskDownload) (*DownloadedDisk, error) {
	if err := d.validate(); err != nil {
		return nil, err
	}
	r := cloud.region(d.Region)
	of, err := r.findDisks(ctx, &d.DiskSelection)
	if err != nil {
		return nil, err
	}
	done := &DownloadedDisk{Path: d.Path, Snapshot: of.disks[0].snapshot}
	since := ""
	if d.Since != "" {
		earlier, err := r.findDisks(ctx, &DiskSelection{Region: d.Region, ID: d.Since, Device: d.Device})
		if err != nil {
			return nil, fmt.Errorf("DiskDownload.Since: %w", err)
		}
		since = earlier.disks[0].snapshot
	}
	file, err := os.CreateTemp(filepath.Dir(d.Path), atomicfile.TempPrefix+"*")
	if err != nil {
		return nil, err
	}
	err = d.download(ctx, r, file, since, done)
	const mode = 0o644
	if err == nil {
		err = errors.Join(file.Chmod(mode), file.Sync())
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), d.Path)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(file.Name()))
	}
	return done, nil
}

func (d *DiskDownload) validate() error {
	var errs []error
	if d.Path == "" {
		errs = append(errs, bake.Invalid("DiskDownload.Path", "is required"))
	}
	if d.ID == "" {
		errs = append(errs, bake.Invalid("DiskDownload.ID", "is required"))
	}
	if d.Base != "" && d.Since == "" {
		errs = append(errs, bake.Invalid("DiskDownload.Base", "needs Since, the snapshot whose disk it has"))
	}
	if d.Format != "" && d.Format != diskimage.Raw && d.Format != diskimage.QCOW2 {
		errs = append(errs, bake.Invalid("DiskDownload.Format", "unknown value %q, want %s or %s", d.Format, diskimage.Raw, diskimage.QCOW2))
	}
	return errors.Join(errs...)
}

// download writes the disk to a new file.
func (d *DiskDownload) download(ctx context.Context, r *region, file *os.File, since string, done *DownloadedDisk) error {
	var to *diskSink
	size, blocks, err := r.ebs.Download(ctx, done.Snapshot, since, func(sizeGiB int64) (ebsdirect.Sink, error) {
		var err error
		to, err = newDiskSink(file, sizeGiB<<30, d.Format)
		return to, err
	})
	if err != nil {
		return explainRead(done.Snapshot, err)
	}
	done.Size, done.Blocks = size<<30, blocks
	if d.Base != "" {
		if err := to.fill(ctx, d.Base); err != nil {
			return fmt.Errorf("DiskDownload.Base: %w", err)
		}
	}
	return to.close()
}

// A diskSink writes the blocks of a disk to a file. Blocks of zeros are not written.
type diskSink struct {
	file *os.File
	size int64

	mu    sync.Mutex
	qcow2 *diskimage.QCOW2Writer // nil for a raw file
	seen  map[ebsdirect.Index]bool
}

func newDiskSink(file *os.File, size int64, format string) (*diskSink, error) {
	s := &diskSink{file: file, size: size, seen: map[ebsdirect.Index]bool{}}
	if format != diskimage.QCOW2 {
		return s, file.Truncate(size)
	}
	var err error
	s.qcow2, err = diskimage.NewQCOW2Writer(file, size)
	return s, err
}

// WriteBlock implements ebsdirect.Sink.
func (s *diskSink) WriteBlock(index ebsdirect.Index, data []byte) error {
	off := int64(index) * ebsdirect.BlockSize
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[index] = true
	switch {
	case data == nil || ebsdirect.IsZero(data):
		return nil
	case s.qcow2 != nil:
		return s.qcow2.WriteCluster(off, data)
	}
	_, err := s.file.WriteAt(data, off)
	return err
}

// fill writes the blocks of a base that have not been written.
func (s *diskSink) fill(ctx context.Context, path string) error {
	base, closer, err := diskInput{file: path}.openDisk(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = closer.Close() }() // it was only read
	if base.contents.Size() > s.size {
		return fmt.Errorf("%s has a disk of %d bytes, more than the %d of the later one", path, base.contents.Size(), s.size)
	}
	blocks := &ebsdirect.DiskSource{Disk: base.contents}
	data := make([]byte, ebsdirect.BlockSize)
	for {
		index, err := blocks.Next(ctx, data)
		if ebsdirect.IsEnd(err) {
			return base.unchanged()
		}
		if err != nil {
			return err
		}
		if !s.seen[index] {
			if err := s.WriteBlock(index, data); err != nil {
				return err
			}
		}
	}
}

func (s *diskSink) close() error {
	if s.qcow2 != nil {
		return s.qcow2.Close()
	}
	return nil
}

package ec2

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/ec2/internal/ebsdirect"
	"github.com/bakestone-go/bakestone/internal/atomicfile"
)

// errNoSums is returned, wrapped, if the sums of the blocks of the parent are gone.
var errNoSums = errors.New("the sums of the blocks of the parent snapshot are missing")

// blockSums is the directory Disk.BlockSums; empty if there is none.
type blockSums string

func (b blockSums) path(snapshot string) string {
	return filepath.Join(string(b), filepath.Base(snapshot)+".sums")
}

// open returns the file of the sums of a snapshot, at its beginning, or nil if there is no
// snapshot.
func (b blockSums) open(snapshot string) (*os.File, error) {
	if snapshot == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	if b == "" {
		return nil, fs.ErrNotExist
	}
	f, err := os.Open(b.path(snapshot))
	if err != nil {
		return nil, err
	}
	err = ebsdirect.CheckSums(f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", f.Name(), err), f.Close())
	}
	return f, nil
}

// newSums is a file of sums that is being written.
type newSums struct {
	dir    blockSums
	file   *os.File // nil if they are not kept
	writer *ebsdirect.SumsWriter
}

// create begins to write sums.
func (b blockSums) create() (*newSums, error) {
	if b == "" {
		return &newSums{writer: ebsdirect.NewSumsWriter(nil)}, nil
	}
	const mode = 0o755
	if err := os.MkdirAll(string(b), mode); err != nil {
		return nil, fmt.Errorf("create Disk.BlockSums: %w", err)
	}
	f, err := os.CreateTemp(string(b), atomicfile.TempPrefix+"*")
	if err != nil {
		return nil, fmt.Errorf("write to Disk.BlockSums: %w", err)
	}
	return &newSums{b, f, ebsdirect.NewSumsWriter(f)}, nil
}

// keep makes the sums those of a snapshot.
func (n *newSums) keep(snapshot string) error {
	if n.file == nil {
		return nil
	}
	f := n.file
	if err := n.writer.Close(); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	n.file = nil
	return os.Rename(f.Name(), n.dir.path(snapshot))
}

// discard removes the sums unless they are kept.
func (n *newSums) discard() error {
	if n.file == nil {
		return nil
	}
	return errors.Join(n.file.Close(), os.Remove(n.file.Name()))
}

// sumOf returns a digest of what tells a disk from others.
func sumOf(device string, sizeGiB int32, digest string) [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%s %d %s", device, sizeGiB, digest))
}

// chooseParent chooses the snapshot of which the new one of a disk is a change: that of the
// image's newest AMI whose sums are known.
func (s *session) chooseParent(ctx context.Context, i int) error {
	d, disk := &s.Machine.Disks[i], s.builder.disk()
	if d.Upload.Chosen || disk.BlockSums == "" {
		d.Upload.Chosen = true
		return nil
	}
	candidates, err := s.parents(ctx, d)
	if err != nil {
		return fmt.Errorf("find the image's previous AMI: %w", err)
	}
	sums := blockSums(disk.BlockSums)
	for n, snapshot := range candidates {
		f, err := sums.open(snapshot)
		if err == nil {
			_ = f.Close() // it was only read
			d.Upload.Parent = snapshot
			break
		}
		if n == 0 && disk.ReadParent {
			if err := s.readParent(ctx, snapshot); err != nil {
				s.run.Say("cannot read %s, the snapshot of the previous AMI: %v", snapshot, err)
				continue
			}
			d.Upload.Parent = snapshot
			break
		}
	}
	d.Upload.Chosen = true
	return ctx.Err()
}

// readParent reads a snapshot for the sums of its blocks.
func (s *session) readParent(ctx context.Context, snapshot string) (err error) {
	read, err := blockSums(s.builder.disk().BlockSums).create()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, read.discard()) }()
	s.run.Say("reading %s, the snapshot of the previous AMI", snapshot)
	if err := s.region.ebs.WriteSums(ctx, snapshot, read.writer); err != nil {
		return err
	}
	return read.keep(snapshot)
}

// parents returns the snapshots of the image's good AMIs that could be the parent of a
// disk, the newest first.
func (s *session) parents(ctx context.Context, d *disk) ([]string, error) {
	images, err := s.region.describeImages(ctx, &awsec2.DescribeImagesInput{
		Owners: []string{Self}, Filters: []ec2types.Filter{filter("tag:"+TagImage, s.run.Image), filter("state", string(ec2types.ImageStateAvailable))},
	})
	if err != nil {
		return nil, err
	}
	images = slices.DeleteFunc(images, func(i ec2types.Image) bool { return !(Newest{Deprecated: true}).usable(i, s.run.Clock.Now()) })
	slices.SortFunc(images, func(a, b ec2types.Image) int { return created(b).Compare(created(a)) })
	var ids []string
	for _, image := range images {
		for _, m := range image.BlockDeviceMappings {
			if m.Ebs == nil || aws.ToString(m.Ebs.SnapshotId) == "" || aws.ToString(m.DeviceName) != d.Device {
				continue
			}
			ids = append(ids, aws.ToString(m.Ebs.SnapshotId))
		}
	}
	return s.usableParents(ctx, d, ids)
}

// usableParents returns the snapshots whose size and encryption a disk can have.
func (s *session) usableParents(ctx context.Context, d *disk, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	want := s.builder.disk()
	usable := map[string]bool{}
	for some := range slices.Chunk(ids, mostFilterValues) {
		err := s.region.eachSnapshot(ctx, filter("snapshot-id", some...), func(snap ec2types.Snapshot) {
			encrypted := aws.ToBool(snap.Encrypted)
			usable[aws.ToString(snap.SnapshotId)] = snap.State == ec2types.SnapshotStateCompleted && aws.ToInt32(snap.VolumeSize) <= d.SizeGiB &&
				(want.KMSKey == "" || aws.ToString(snap.KmsKeyId) == want.KMSKey) &&
				(want.Encrypted != Disabled || !encrypted) && (!want.encrypts() || encrypted)
		})
		if err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(ids, func(id string) bool { return !usable[id] }), nil
}

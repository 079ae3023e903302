package ec2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/internal/ebsdirect"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

var _ bake.DiskReader = (*AMI)(nil)

// ReadDisks implements [bake.DiskReader]: it reads the snapshots by the EBS direct APIs, of
// which each block that is read is one request.
func (a *AMI) ReadDisks(ctx context.Context, read func(bake.SystemDisks) error) error {
	return ReadDisks(ctx, a.cloud, &DiskSelection{Region: a.Region, ID: a.ImageID}, read)
}

// A DiskSelection selects the disks of an AMI, or a snapshot.
type DiskSelection struct {
	// Region is the region. Empty means the Cloud's.
	Region string

	// ID is an AMI of any account, or a snapshot. Its snapshots must be the account's
	// own, or shared with it: public snapshots cannot be read.
	ID string

	// Device is one device of an AMI. Empty means all disks for reading, and that of the
	// root device for a download.
	Device string
}

// ReadDisks calls read with disks, that of the root device first. They can be read until
// it returns: each block of 512 KiB is fetched when it is needed.
func ReadDisks(ctx context.Context, cloud *Cloud, of *DiskSelection, read func(bake.SystemDisks) error) error {
	r := cloud.region(of.Region)
	found, err := r.findDisks(ctx, of)
	if err != nil {
		return err
	}
	disks := bake.SystemDisks{Architecture: found.architecture, Login: found.login}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, d := range found.disks {
		reader, err := r.ebs.NewReader(ctx, d.snapshot)
		if err != nil {
			return explainRead(d.snapshot, err)
		}
		name := d.device
		if len(disks.Disks) == 0 {
			name = ""
		}
		disks.Disks = append(disks.Disks, bake.Disk{Name: name, DiskContents: reader})
	}
	return read(disks)
}

// foundDisks are the snapshots of an AMI.
type foundDisks struct {
	architecture, login string
	disks               []foundDisk // that of the root device first
}

type foundDisk struct{ device, snapshot string }

// findDisks returns the snapshots that are selected.
func (r *region) findDisks(ctx context.Context, of *DiskSelection) (foundDisks, error) {
	if strings.HasPrefix(of.ID, "snap-") {
		return foundDisks{disks: []foundDisk{{snapshot: of.ID}}}, nil
	}
	id := ImageID(of.ID)
	if err := id.Validate(); err != nil {
		return foundDisks{}, fmt.Errorf("%w: want an AMI or a snapshot", err)
	}
	var image ec2types.Image
	var failed error
	err := r.settled(ctx, func(ctx context.Context) (bool, error) {
		image, failed = id.find(ctx, r)
		return !errors.Is(failed, ErrNoSource), nil
	})
	if err := errors.Join(err, failed); err != nil {
		return foundDisks{}, err
	}
	f := foundDisks{architecture: string(image.Architecture), login: loginOf(image)}
	root := aws.ToString(image.RootDeviceName)
	for _, m := range image.BlockDeviceMappings {
		if m.Ebs == nil || aws.ToString(m.Ebs.SnapshotId) == "" {
			continue
		}
		d := foundDisk{aws.ToString(m.DeviceName), aws.ToString(m.Ebs.SnapshotId)}
		switch {
		case of.Device != "" && d.device != of.Device:
		case d.device == root:
			f.disks = slices.Insert(f.disks, 0, d)
		default:
			f.disks = append(f.disks, d)
		}
	}
	switch {
	case len(f.disks) == 0 && of.Device != "":
		return f, fmt.Errorf("%s has no EBS volume %s", of.ID, of.Device)
	case len(f.disks) == 0:
		return f, fmt.Errorf("%s has no EBS volumes", of.ID)
	case of.Device == "" && f.disks[0].device != root:
		return f, fmt.Errorf("the root device %s of %s has no snapshot", root, of.ID)
	}
	return f, nil
}

// explainRead says what to do about a snapshot that cannot be read.
func explainRead(snapshot string, err error) error {
	switch awsapi.Code(err) {
	case "AccessDeniedException":
		return fmt.Errorf("snapshot %s cannot be read: EBS reads only the account's own snapshots and those shared with it by number, "+
			"with a key that the account may use: copy the AMI, and read the copy: %w", snapshot, err)
	case "ResourceNotFoundException":
		return fmt.Errorf("snapshot %s does not exist, or is not shared with the account: copy the AMI, and read the copy: %w", snapshot, err)
	}
	return fmt.Errorf("read snapshot %s: %w", snapshot, err)
}

var _ bake.DiskContents = (*ebsdirect.Reader)(nil)

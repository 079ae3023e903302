package amicleanup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// A SnapshotInventory is which snapshots there were in all targets at one time.
type SnapshotInventory struct {
	Time    time.Time        `json:"time"`
	Targets []SnapshotTarget `json:"targets"`
}

// A SnapshotTarget is which own snapshots there were in one target, and what
// has a use for them.
type SnapshotTarget struct {
	Account   string       `json:"account,omitempty"`
	Owner     string       `json:"owner,omitempty"` // the id of the account
	Region    string       `json:"region"`
	Snapshots []Snapshot   `json:"snapshots"`
	Images    []string     `json:"images"`        // ids of all own images, of whatever state
	Bin       []BinnedItem `json:"bin,omitempty"` // images in the Recycle Bin
	Error     string       `json:"error,omitempty"`

	there map[string]string // of imageThere, made when it is first needed
}

// A BinnedItem is an image in the Recycle Bin.
type BinnedItem struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// imageThere says where an image still is; empty is nowhere.
func (t *SnapshotTarget) imageThere(id string) string {
	if t.there == nil {
		t.there = make(map[string]string, len(t.Images)+len(t.Bin))
		for _, image := range t.Bin {
			t.there[image.ID] = "in the Recycle Bin"
		}
		for _, image := range t.Images {
			t.there[image] = "there"
		}
	}
	return t.there[id]
}

// ReadSnapshots asks every target for its snapshots and for what has a use for
// them. It is like Read in all else: the error joins a *TargetError for each
// target that could not be read completely; nothing of it is deleted.
//
// A nil clock is the real time.
func ReadSnapshots(ctx context.Context, targets []Target, policy *OrphanPolicy, c clock.Clock) (*SnapshotInventory, error) {
	if err := errors.Join(validateTargets(targets), policy.Validate()); err != nil {
		return nil, err
	}
	inv := &SnapshotInventory{Time: clock.OrSystem(c).Now().UTC(), Targets: make([]SnapshotTarget, len(targets))}
	errs := make([]error, len(targets))
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() {
			into := &inv.Targets[i]
			into.Account, into.Region = t.Account, t.Region
			if err := into.read(ctx, t.Client, policy, inv.Time); err != nil {
				into.Snapshots, into.Error = nil, err.Error()
				errs[i] = &TargetError{t.Account, t.Region, err}
			}
		})
	}
	wg.Wait()
	return inv, errors.Join(errs...)
}

func (t *SnapshotTarget) read(ctx context.Context, client Client, policy *OrphanPolicy, now time.Time) error {
	// The snapshots come first: an image that is made meanwhile is then seen.
	var err error
	if t.Snapshots, t.Owner, err = readSnapshots(ctx, client); err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	byID := make(map[string]*Snapshot, len(t.Snapshots))
	for i := range t.Snapshots {
		byID[t.Snapshots[i].ID] = &t.Snapshots[i]
	}
	if err := t.readImages(ctx, client, byID); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	if err := readLocks(ctx, client, byID); err != nil {
		return fmt.Errorf("locks: %w", err)
	}
	if err := readAttached(ctx, client, byID); err != nil {
		return fmt.Errorf("launch templates: %w", err)
	}
	// EC2 tells of one snapshot at a time who may use it.
	for i := range t.Snapshots {
		s := &t.Snapshots[i]
		s.Shares = &Shares{}
		if !policy.known(s) || len(s.Images) > 0 || policy.why(t, s, now) != "" {
			s.Shares = nil
			continue
		}
		if s.Shares, err = snapshotShares(ctx, client, s.ID); err != nil {
			return fmt.Errorf("who may use %s: %w", s.ID, err)
		}
	}
	return nil
}

// snapshotsPerPage is the most that EC2 answers with.
const snapshotsPerPage = 1000

func readSnapshots(ctx context.Context, client ImageReader, filters ...ec2types.Filter) (all []Snapshot, owner string, err error) {
	pages := awsec2.NewDescribeSnapshotsPaginator(client, &awsec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, Filters: filters, MaxResults: aws.Int32(snapshotsPerPage),
	}, func(o *awsec2.DescribeSnapshotsPaginatorOptions) { o.StopOnDuplicateToken = true })
	var next *string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, "", err
		}
		next = page.NextToken
		for i := range page.Snapshots {
			owner = aws.ToString(page.Snapshots[i].OwnerId)
			all = append(all, snapshotOf(&page.Snapshots[i]))
		}
	}
	return all, owner, ended(next)
}

func (t *SnapshotTarget) readImages(ctx context.Context, client Client, snapshots map[string]*Snapshot) error {
	images, err := readImages(ctx, client)
	if err != nil {
		return err
	}
	for i := range images {
		t.Images = append(t.Images, images[i].ID)
		for _, id := range images[i].Snapshots {
			if s := snapshots[id]; s != nil {
				s.Images = append(s.Images, images[i].ID)
			}
		}
	}
	pages := awsec2.NewListImagesInRecycleBinPaginator(client, &awsec2.ListImagesInRecycleBinInput{MaxResults: aws.Int32(imagesPerPage)},
		func(o *awsec2.ListImagesInRecycleBinPaginatorOptions) { o.StopOnDuplicateToken = true })
	var next *string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("in the Recycle Bin: %w", err)
		}
		next = page.NextToken
		for _, img := range page.Images {
			t.Bin = append(t.Bin, BinnedItem{aws.ToString(img.ImageId), aws.ToString(img.Name)})
		}
	}
	return ended(next)
}

func readLocks(ctx context.Context, client ImageReader, snapshots map[string]*Snapshot) error {
	in := &awsec2.DescribeLockedSnapshotsInput{MaxResults: aws.Int32(snapshotsPerPage)}
	for {
		page, err := client.DescribeLockedSnapshots(ctx, in)
		if err != nil {
			return err
		}
		for _, lock := range page.Snapshots {
			if s := snapshots[aws.ToString(lock.SnapshotId)]; s != nil && lock.LockState != ec2types.LockStateExpired {
				s.Lock = string(lock.LockState)
			}
		}
		switch next := aws.ToString(page.NextToken); next {
		case "":
			return nil
		case aws.ToString(in.NextToken):
			return errPaging
		default:
			in.NextToken = page.NextToken
		}
	}
}

// readAttached notes the snapshots that launch templates attach as volumes.
func readAttached(ctx context.Context, client Client, snapshots map[string]*Snapshot) error {
	pages := awsec2.NewDescribeLaunchTemplateVersionsPaginator(client, &awsec2.DescribeLaunchTemplateVersionsInput{
		Versions: []string{"$Latest", "$Default"}, MaxResults: aws.Int32(templatesPerPage), IncludeManagedResources: aws.Bool(true),
	}, func(o *awsec2.DescribeLaunchTemplateVersionsPaginatorOptions) { o.StopOnDuplicateToken = true })
	var next *string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		next = page.NextToken
		for _, v := range page.LaunchTemplateVersions {
			if v.LaunchTemplateData == nil {
				continue
			}
			for _, m := range v.LaunchTemplateData.BlockDeviceMappings {
				if m.Ebs == nil {
					continue
				}
				if s := snapshots[aws.ToString(m.Ebs.SnapshotId)]; s != nil {
					s.UsedBy = append(s.UsedBy, "launch template "+aws.ToString(v.LaunchTemplateId))
				}
			}
		}
	}
	return ended(next)
}

// snapshotShares asks EC2 who else may make volumes of a snapshot, and so
// register images with it.
func snapshotShares(ctx context.Context, client ImageReader, id string) (*Shares, error) {
	out, err := client.DescribeSnapshotAttribute(ctx, &awsec2.DescribeSnapshotAttributeInput{
		SnapshotId: aws.String(id), Attribute: ec2types.SnapshotAttributeNameCreateVolumePermission,
	})
	if meaningOf(err) == gone {
		return &Shares{}, nil
	} else if err != nil {
		return nil, err
	}
	s := &Shares{}
	for _, p := range out.CreateVolumePermissions {
		if p.Group == ec2types.PermissionGroupAll {
			s.Public = true
		} else {
			s.Accounts = append(s.Accounts, aws.ToString(p.UserId))
		}
	}
	return s, nil
}

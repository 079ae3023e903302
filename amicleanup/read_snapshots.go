package amicleanup

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// readSnapshotUse reads everything that may need the snapshots.
func (t *targetInventory) readSnapshotUse(ctx context.Context, client *awsec2.Client, policy *SnapshotPolicy, now time.Time) error {
	byID := make(map[string]*Snapshot, len(t.snapshots))
	for i := range t.snapshots {
		byID[t.snapshots[i].ID] = &t.snapshots[i]
	}
	t.noteImages(byID)
	if err := t.readBinned(ctx, client); err != nil {
		return fmt.Errorf("images in the Recycle Bin: %w", err)
	}
	locks, err := readLocks(ctx, client)
	if err != nil {
		return fmt.Errorf("locks: %w", err)
	}
	for id, lock := range locks {
		if s := byID[id]; s != nil {
			s.Lock = lock
		}
	}
	if err := readAttached(ctx, client, byID); err != nil {
		return fmt.Errorf("launch templates: %w", err)
	}
	var open []*Snapshot // EC2 answers for one snapshot at a time who may use it
	for i := range t.snapshots {
		s := &t.snapshots[i]
		if !policy.selects(s) || len(s.Images) > 0 {
			continue
		}
		s.Shares = &Shares{}
		if policy.why(t, s, now) != "" {
			s.Shares = nil
			continue
		}
		open = append(open, s)
	}
	return awsapi.ForEach(open, func(s *Snapshot) error {
		shares, err := snapshotShares(ctx, client, s.ID)
		if err != nil {
			s.Shares = nil
			return fmt.Errorf("who may use %s: %w", s.ID, err)
		}
		s.Shares = shares
		return nil
	})
}

// snapshotsPerPage is the largest page of snapshots.
const snapshotsPerPage = 1000

func readSnapshots(ctx context.Context, client *awsec2.Client, filters ...ec2types.Filter) (all []Snapshot, owner string, err error) {
	pages := awsec2.NewDescribeSnapshotsPaginator(client, &awsec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, Filters: filters, MaxResults: aws.Int32(snapshotsPerPage),
	}, func(o *awsec2.DescribeSnapshotsPaginatorOptions) { o.StopOnDuplicateToken = true })
	err = awsapi.EachPage(ctx, pages, func(page *awsec2.DescribeSnapshotsOutput) *string {
		for i := range page.Snapshots {
			owner = aws.ToString(page.Snapshots[i].OwnerId)
			all = append(all, snapshotOf(&page.Snapshots[i]))
		}
		return page.NextToken
	})
	if err != nil {
		return nil, "", err
	}
	return all, owner, nil
}

// noteImages notes the images of each snapshot, whatever the policy selects.
func (t *targetInventory) noteImages(snapshots map[string]*Snapshot) {
	t.there, t.binned = make(map[string]string, len(t.images)), map[string]string{}
	for _, img := range t.images {
		t.there[img.ID] = "exists"
		for _, id := range img.Snapshots {
			if s := snapshots[id]; s != nil {
				s.Images = append(s.Images, img.ID)
			}
		}
	}
}

func (t *targetInventory) readBinned(ctx context.Context, client *awsec2.Client) error {
	pages := awsec2.NewListImagesInRecycleBinPaginator(client, &awsec2.ListImagesInRecycleBinInput{MaxResults: aws.Int32(imagesPerPage)},
		func(o *awsec2.ListImagesInRecycleBinPaginatorOptions) { o.StopOnDuplicateToken = true })
	return awsapi.EachPage(ctx, pages, func(page *awsec2.ListImagesInRecycleBinOutput) *string {
		for _, img := range page.Images {
			t.there[aws.ToString(img.ImageId)] = "is in the Recycle Bin"
			t.binned[aws.ToString(img.Name)] = aws.ToString(img.ImageId)
		}
		return page.NextToken
	})
}

// readImageLocks notes the locked snapshots of each image.
func (t *targetInventory) readImageLocks(ctx context.Context, client *awsec2.Client) error {
	locks, err := readLocks(ctx, client)
	if err != nil {
		return err
	}
	for _, img := range t.images {
		for _, id := range img.Snapshots {
			if locks[id] != "" {
				img.Locked = append(img.Locked, id)
			}
		}
	}
	return nil
}

// readLocks returns the state of each locked snapshot.
func readLocks(ctx context.Context, client *awsec2.Client) (map[string]string, error) {
	locks := map[string]string{}
	in := &awsec2.DescribeLockedSnapshotsInput{MaxResults: aws.Int32(snapshotsPerPage)}
	for {
		page, err := client.DescribeLockedSnapshots(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, lock := range page.Snapshots {
			if lock.LockState != ec2types.LockStateExpired {
				locks[aws.ToString(lock.SnapshotId)] = string(lock.LockState)
			}
		}
		switch next := aws.ToString(page.NextToken); next {
		case "":
			return locks, nil
		case aws.ToString(in.NextToken):
			return nil, awsapi.ErrPaging
		default:
			in.NextToken = page.NextToken
		}
	}
}

// readAttached notes the snapshots that launch templates attach as volumes.
func readAttached(ctx context.Context, client *awsec2.Client, snapshots map[string]*Snapshot) error {
	pages := awsec2.NewDescribeLaunchTemplateVersionsPaginator(client, &awsec2.DescribeLaunchTemplateVersionsInput{
		Versions: []string{"$Latest", "$Default"}, MaxResults: aws.Int32(filterValues), IncludeManagedResources: aws.Bool(true),
	}, func(o *awsec2.DescribeLaunchTemplateVersionsPaginatorOptions) { o.StopOnDuplicateToken = true })
	return awsapi.EachPage(ctx, pages, func(page *awsec2.DescribeLaunchTemplateVersionsOutput) *string {
		for i := range page.LaunchTemplateVersions {
			v := &page.LaunchTemplateVersions[i]
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
		return page.NextToken
	})
}

// snapshotShares asks EC2 who else may create volumes from a snapshot, and so
// register images with it.
func snapshotShares(ctx context.Context, client *awsec2.Client, id string) (*Shares, error) {
	out, err := client.DescribeSnapshotAttribute(ctx, &awsec2.DescribeSnapshotAttributeInput{
		SnapshotId: aws.String(id), Attribute: ec2types.SnapshotAttributeNameCreateVolumePermission,
	})
	if isGone(err) {
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

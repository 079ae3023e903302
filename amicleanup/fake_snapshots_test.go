package amicleanup_test

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// orphan makes a snapshot that no image has.
func (f *fake) orphan(id string, change func(*ec2types.Snapshot)) {
	s := ec2types.Snapshot{Tags: []ec2types.Tag{{Key: aws.String("bakestone:build"), Value: aws.String("b1")}}}
	if change != nil {
		change(&s)
	}
	if f.facts == nil {
		f.facts = map[string]ec2types.Snapshot{}
	}
	f.facts[id] = s
	f.snapshots[id] = 0
}

func (f *fake) DescribeSnapshots(_ context.Context, in *awsec2.DescribeSnapshotsInput, _ ...func(*awsec2.Options)) (*awsec2.DescribeSnapshotsOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin("DescribeSnapshots", ""); err != nil {
		return nil, err
	}
	if !slices.Equal(in.OwnerIds, []string{"self"}) || aws.ToInt32(in.MaxResults) < 5 {
		return nil, apiError("TestWantsOwnersMaxResults")
	}
	out := &awsec2.DescribeSnapshotsOutput{}
	for _, id := range slices.Sorted(maps.Keys(f.snapshots)) {
		if len(in.Filters) > 0 && !slices.Contains(in.Filters[0].Values, id) {
			continue
		}
		s := f.facts[id]
		s.SnapshotId, s.OwnerId = aws.String(id), aws.String("111122223333")
		if s.State == "" {
			s.State = ec2types.SnapshotStateCompleted
		}
		if s.StartTime == nil {
			s.StartTime = aws.Time(after(0))
		}
		out.Snapshots = append(out.Snapshots, s)
	}
	return out, nil
}

func (f *fake) DescribeSnapshotAttribute(_ context.Context, in *awsec2.DescribeSnapshotAttributeInput, _ ...func(*awsec2.Options)) (*awsec2.DescribeSnapshotAttributeOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin("DescribeSnapshotAttribute", *in.SnapshotId); err != nil {
		return nil, err
	}
	out := &awsec2.DescribeSnapshotAttributeOutput{}
	if account, ok := f.snapUsers[*in.SnapshotId]; ok {
		out.CreateVolumePermissions = []ec2types.CreateVolumePermission{{UserId: aws.String(account)}}
	}
	return out, nil
}

func (f *fake) DescribeLockedSnapshots(context.Context, *awsec2.DescribeLockedSnapshotsInput, ...func(*awsec2.Options)) (*awsec2.DescribeLockedSnapshotsOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin("DescribeLockedSnapshots", ""); err != nil {
		return nil, err
	}
	out := &awsec2.DescribeLockedSnapshotsOutput{}
	for _, id := range f.locked {
		out.Snapshots = append(out.Snapshots, ec2types.LockedSnapshotsInfo{SnapshotId: aws.String(id), LockState: ec2types.LockStateGovernance})
	}
	return out, nil
}

func (f *fake) ListImagesInRecycleBin(context.Context, *awsec2.ListImagesInRecycleBinInput, ...func(*awsec2.Options)) (*awsec2.ListImagesInRecycleBinOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin("ListImagesInRecycleBin", ""); err != nil {
		return nil, err
	}
	out := &awsec2.ListImagesInRecycleBinOutput{}
	for _, id := range slices.Sorted(maps.Keys(f.bin)) {
		out.Images = append(out.Images, ec2types.ImageRecycleBinInfo{ImageId: aws.String(id), Name: f.bin[id].Name})
	}
	return out, nil
}

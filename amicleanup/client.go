package amicleanup

import (
	"context"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
)

// A Client is what this package needs of EC2. *awsec2.Client is one. Its
// retries and its pace are what the images are read and removed with. Which
// calls are made depends on the policy: a call that no part of a policy needs
// is never made, and needs no permission.
type Client interface {
	ImageReader
	ImageRemover
	ImageSwitcher
	ReferenceReader
}

var _ Client = (*awsec2.Client)(nil)

// ImageReader is what reads images and snapshots.
type ImageReader interface {
	DescribeImages(ctx context.Context, in *awsec2.DescribeImagesInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeImagesOutput, error)
	DescribeImageAttribute(ctx context.Context, in *awsec2.DescribeImageAttributeInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeImageAttributeOutput, error)
	DescribeSnapshots(ctx context.Context, in *awsec2.DescribeSnapshotsInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeSnapshotsOutput, error)
	DescribeSnapshotAttribute(ctx context.Context, in *awsec2.DescribeSnapshotAttributeInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeSnapshotAttributeOutput, error)
	DescribeLockedSnapshots(ctx context.Context, in *awsec2.DescribeLockedSnapshotsInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeLockedSnapshotsOutput, error)
}

// ImageRemover is what removes images and snapshots, and takes them back from
// the Recycle Bin.
type ImageRemover interface {
	DeregisterImage(ctx context.Context, in *awsec2.DeregisterImageInput, opts ...func(*awsec2.Options)) (*awsec2.DeregisterImageOutput, error)
	DeleteSnapshot(ctx context.Context, in *awsec2.DeleteSnapshotInput, opts ...func(*awsec2.Options)) (*awsec2.DeleteSnapshotOutput, error)
	ListImagesInRecycleBin(ctx context.Context, in *awsec2.ListImagesInRecycleBinInput, opts ...func(*awsec2.Options)) (*awsec2.ListImagesInRecycleBinOutput, error)
	RestoreImageFromRecycleBin(ctx context.Context, in *awsec2.RestoreImageFromRecycleBinInput, opts ...func(*awsec2.Options)) (*awsec2.RestoreImageFromRecycleBinOutput, error)
	RestoreSnapshotFromRecycleBin(ctx context.Context, in *awsec2.RestoreSnapshotFromRecycleBinInput, opts ...func(*awsec2.Options)) (*awsec2.RestoreSnapshotFromRecycleBinOutput, error)
}

// ImageSwitcher is what a Ladder and its undoing need.
type ImageSwitcher interface {
	LaunchableSwitcher
	ModifyImageAttribute(ctx context.Context, in *awsec2.ModifyImageAttributeInput, opts ...func(*awsec2.Options)) (*awsec2.ModifyImageAttributeOutput, error)
	CreateTags(ctx context.Context, in *awsec2.CreateTagsInput, opts ...func(*awsec2.Options)) (*awsec2.CreateTagsOutput, error)
	DeleteTags(ctx context.Context, in *awsec2.DeleteTagsInput, opts ...func(*awsec2.Options)) (*awsec2.DeleteTagsOutput, error)
}

// LaunchableSwitcher makes images launchable and found, or not.
type LaunchableSwitcher interface {
	DisableImage(ctx context.Context, in *awsec2.DisableImageInput, opts ...func(*awsec2.Options)) (*awsec2.DisableImageOutput, error)
	EnableImage(ctx context.Context, in *awsec2.EnableImageInput, opts ...func(*awsec2.Options)) (*awsec2.EnableImageOutput, error)
	EnableImageDeprecation(ctx context.Context, in *awsec2.EnableImageDeprecationInput, opts ...func(*awsec2.Options)) (*awsec2.EnableImageDeprecationOutput, error)
	DisableImageDeprecation(ctx context.Context, in *awsec2.DisableImageDeprecationInput, opts ...func(*awsec2.Options)) (*awsec2.DisableImageDeprecationOutput, error)
}

package amicleanup_test

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// edit changes an own image, or returns the error for a missing one.
func (f *fake) edit(action, id string, how func(*ec2types.Image) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(action, id); err != nil {
		return err
	}
	img, ok := f.images[id]
	if !ok {
		return apiError("InvalidAMIID.NotFound")
	}
	if err := how(&img); err != nil {
		return err
	}
	f.images[id] = img
	return nil
}

func (f *fake) DisableImage(_ context.Context, in *awsec2.DisableImageInput, _ ...func(*awsec2.Options)) (*awsec2.DisableImageOutput, error) {
	return &awsec2.DisableImageOutput{}, f.edit("DisableImage", *in.ImageId, func(img *ec2types.Image) error {
		if img.State != ec2types.ImageStateAvailable {
			return apiError("InvalidAMIID.Unavailable")
		}
		img.State, img.Public = ec2types.ImageStateDisabled, nil
		delete(f.shares, *in.ImageId)
		return nil
	})
}

func (f *fake) EnableImage(_ context.Context, in *awsec2.EnableImageInput, _ ...func(*awsec2.Options)) (*awsec2.EnableImageOutput, error) {
	return &awsec2.EnableImageOutput{}, f.edit("EnableImage", *in.ImageId, func(img *ec2types.Image) error {
		img.State = ec2types.ImageStateAvailable
		return nil
	})
}

func (f *fake) EnableImageDeprecation(_ context.Context, in *awsec2.EnableImageDeprecationInput, _ ...func(*awsec2.Options)) (*awsec2.EnableImageDeprecationOutput, error) {
	return &awsec2.EnableImageDeprecationOutput{}, f.edit("EnableImageDeprecation", *in.ImageId, func(img *ec2types.Image) error {
		now := time.Now
		if f.now != nil {
			now = f.now
		}
		if in.DeprecateAt.Before(now().Truncate(time.Minute)) {
			return apiError("InvalidParameterValue")
		}
		img.DeprecationTime = aws.String(in.DeprecateAt.Format("2006-01-02T15:04:05.000Z"))
		return nil
	})
}

func (f *fake) DisableImageDeprecation(_ context.Context, in *awsec2.DisableImageDeprecationInput, _ ...func(*awsec2.Options)) (*awsec2.DisableImageDeprecationOutput, error) {
	return &awsec2.DisableImageDeprecationOutput{}, f.edit("DisableImageDeprecation", *in.ImageId, func(img *ec2types.Image) error {
		img.DeprecationTime = nil
		return nil
	})
}

func (f *fake) ModifyImageAttribute(_ context.Context, in *awsec2.ModifyImageAttributeInput, _ ...func(*awsec2.Options)) (*awsec2.ModifyImageAttributeOutput, error) {
	return &awsec2.ModifyImageAttributeOutput{}, f.edit("ModifyImageAttribute", *in.ImageId, func(img *ec2types.Image) error {
		if img.State != ec2types.ImageStateAvailable {
			return apiError("InvalidAMIID.Unavailable")
		}
		for _, p := range in.LaunchPermission.Add {
			if p.Group == ec2types.PermissionGroupAll {
				img.Public = aws.Bool(true)
			}
		}
		f.shares[*in.ImageId] = append(f.shares[*in.ImageId], in.LaunchPermission.Add...)
		return nil
	})
}

func (f *fake) DescribeImageAttribute(_ context.Context, in *awsec2.DescribeImageAttributeInput, _ ...func(*awsec2.Options)) (*awsec2.DescribeImageAttributeOutput, error) {
	out := &awsec2.DescribeImageAttributeOutput{}
	return out, f.edit("DescribeImageAttribute", *in.ImageId, func(*ec2types.Image) error {
		out.LaunchPermissions = f.shares[*in.ImageId]
		return nil
	})
}

func (f *fake) CreateTags(_ context.Context, in *awsec2.CreateTagsInput, _ ...func(*awsec2.Options)) (*awsec2.CreateTagsOutput, error) {
	return &awsec2.CreateTagsOutput{}, f.edit("CreateTags", in.Resources[0], func(img *ec2types.Image) error {
		img.Tags = append(untagged(img.Tags, in.Tags), in.Tags...)
		return nil
	})
}

func (f *fake) DeleteTags(_ context.Context, in *awsec2.DeleteTagsInput, _ ...func(*awsec2.Options)) (*awsec2.DeleteTagsOutput, error) {
	return &awsec2.DeleteTagsOutput{}, f.edit("DeleteTags", in.Resources[0], func(img *ec2types.Image) error {
		img.Tags = untagged(img.Tags, in.Tags)
		return nil
	})
}

func untagged(tags, without []ec2types.Tag) []ec2types.Tag {
	return slices.DeleteFunc(slices.Clone(tags), func(t ec2types.Tag) bool {
		return slices.ContainsFunc(without, func(w ec2types.Tag) bool { return *w.Key == *t.Key })
	})
}

func (f *fake) RestoreSnapshotFromRecycleBin(_ context.Context, in *awsec2.RestoreSnapshotFromRecycleBinInput, _ ...func(*awsec2.Options)) (*awsec2.RestoreSnapshotFromRecycleBinOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := *in.SnapshotId
	if err := f.begin("RestoreSnapshotFromRecycleBin", id); err != nil {
		return nil, err
	}
	if !f.binned[id] {
		return nil, apiError("InvalidSnapshot.NotFound")
	}
	delete(f.binned, id)
	f.snapshots[id] = 0
	return &awsec2.RestoreSnapshotFromRecycleBinOutput{}, nil
}

func (f *fake) RestoreImageFromRecycleBin(_ context.Context, in *awsec2.RestoreImageFromRecycleBinInput, _ ...func(*awsec2.Options)) (*awsec2.RestoreImageFromRecycleBinOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := *in.ImageId
	if err := f.begin("RestoreImageFromRecycleBin", id); err != nil {
		return nil, err
	}
	img, ok := f.bin[id]
	if !ok {
		return nil, apiError("InvalidAMIID.NotFound")
	}
	for _, s := range snapshotsOf(img) {
		if _, ok := f.snapshots[s]; !ok {
			return nil, apiError("InvalidSnapshot.NotFound")
		}
	}
	delete(f.bin, id)
	f.images[id] = img
	return &awsec2.RestoreImageFromRecycleBinOutput{}, nil
}

func (f *fake) DisableImageDeregistrationProtection(_ context.Context, in *awsec2.DisableImageDeregistrationProtectionInput, _ ...func(*awsec2.Options)) (*awsec2.DisableImageDeregistrationProtectionOutput, error) {
	return &awsec2.DisableImageDeregistrationProtectionOutput{}, f.edit("DisableImageDeregistrationProtection", *in.ImageId, func(img *ec2types.Image) error {
		if aws.ToString(img.DeregistrationProtection) == "enabled-with-cooldown" {
			img.DeregistrationProtection = aws.String("disabled after 2023-11-18T00:00:00Z")
		} else {
			img.DeregistrationProtection = aws.String("disabled")
		}
		return nil
	})
}

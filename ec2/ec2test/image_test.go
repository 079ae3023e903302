package ec2test_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// bakeImage creates an image of a new instance and returns its id.
func bakeImage(t *testing.T, c *awsec2.Client, name string) string {
	t.Helper()
	inst := run(t, c, *ubuntu(t, c).ImageId, nil)
	out := must(c.CreateImage(t.Context(), &awsec2.CreateImageInput{InstanceId: inst.InstanceId, Name: aws.String(name)}))(t)
	must(c.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{*inst.InstanceId}}))(t)
	return *out.ImageId
}

// shareImage allows another account to launch an image.
func shareImage(t *testing.T, c *awsec2.Client, id, account string) {
	t.Helper()
	must(c.ModifyImageAttribute(t.Context(), &awsec2.ModifyImageAttributeInput{
		ImageId: aws.String(id), LaunchPermission: &ec2types.LaunchPermissionModifications{Add: []ec2types.LaunchPermission{{UserId: aws.String(account)}}},
	}))(t)
}

// image describes an image, which may be disabled.
func image(t *testing.T, c *awsec2.Client, id string) ec2types.Image {
	t.Helper()
	return must(c.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{ImageIds: []string{id}, IncludeDisabled: aws.Bool(true)}))(t).Images[0]
}

func TestCreateImage(t *testing.T) {
	_, c := start(t, nil)
	inst := run(t, c, *ubuntu(t, c).ImageId, func(in *awsec2.RunInstancesInput) {
		in.BlockDeviceMappings = []ec2types.BlockDeviceMapping{
			{DeviceName: aws.String("/dev/sda1"), Ebs: &ec2types.EbsBlockDevice{VolumeSize: aws.Int32(20), Iops: aws.Int32(4000), Encrypted: aws.Bool(true)}},
			{DeviceName: aws.String("/dev/sdf"), Ebs: &ec2types.EbsBlockDevice{VolumeSize: aws.Int32(5)}},
		}
	})
	tag := []ec2types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}
	made := must(c.CreateImage(t.Context(), &awsec2.CreateImageInput{
		InstanceId: inst.InstanceId, Name: aws.String("two disks"), Description: aws.String("text"),
		TagSpecifications: []ec2types.TagSpecification{{ResourceType: "image", Tags: tag}, {ResourceType: "snapshot", Tags: tag}},
	}))(t)
	got := image(t, c, *made.ImageId)
	if got.State != "available" || *got.Description != "text" || len(got.Tags) != 1 || *got.SourceInstanceId != *inst.InstanceId {
		t.Errorf("image = %+v, want an available image with description, tag and source instance", got)
	}
	root, data := got.BlockDeviceMappings[0].Ebs, got.BlockDeviceMappings[1].Ebs
	if *root.VolumeSize != 20 || *root.Iops != 4000 || !*root.Encrypted || !*root.DeleteOnTermination {
		t.Errorf("root disk = %+v, want 20 GiB, 4000 IOPS, encrypted and deleted on termination", root)
	}
	if *data.VolumeSize != 5 || *data.DeleteOnTermination {
		t.Errorf("data disk = %+v, want 5 GiB and not deleted on termination", data)
	}
	snaps := must(c.DescribeSnapshots(t.Context(), &awsec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, Filters: []ec2types.Filter{filter("tag:a", "b")},
	}))(t)
	if len(snaps.Snapshots) != 2 || !strings.Contains(*snaps.Snapshots[0].Description, "Created by CreateImage("+*inst.InstanceId+") for "+*made.ImageId) {
		t.Errorf("snapshots = %+v, want two that name the instance and the image", snaps.Snapshots)
	}

	for name, want := range map[string]string{
		"two disks": "InvalidAMIName.Duplicate", "ab": "InvalidAMIName.Malformed", "what?": "InvalidAMIName.Malformed",
		strings.Repeat("x", 129): "InvalidAMIName.Malformed",
	} {
		if _, err := c.CreateImage(t.Context(), &awsec2.CreateImageInput{InstanceId: inst.InstanceId, Name: aws.String(name)}); code(err) != want {
			t.Errorf("CreateImage with name %q = %v, want %s", name, err, want)
		}
	}
	_, err := c.DeleteSnapshot(t.Context(), &awsec2.DeleteSnapshotInput{SnapshotId: root.SnapshotId})
	if code(err) != "InvalidSnapshot.InUse" {
		t.Errorf("DeleteSnapshot of a snapshot in use = %v, want InvalidSnapshot.InUse", err)
	}
}

func TestShareImage(t *testing.T) {
	srv, c := start(t, nil)
	other := client(srv.ConfigFor(otherAccount, region))
	id := bakeImage(t, c, "shared")
	visible := func() int {
		return len(must(other.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{account}}))(t).Images)
	}
	if n := visible(); n != 0 {
		t.Errorf("%d images visible to another account before sharing, want 0", n)
	}
	shareImage(t, c, id, otherAccount)
	if n := visible(); n != 1 {
		t.Errorf("%d images visible to another account after sharing, want 1", n)
	}
	run(t, other, id, nil)
	_, err := other.DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: aws.String(id)})
	if code(err) != "AuthFailure" {
		t.Errorf("DeregisterImage by another account = %v, want AuthFailure", err)
	}
	copyIn := &awsec2.CopyImageInput{Name: aws.String("mine"), SourceImageId: aws.String(id), SourceRegion: aws.String(region)}
	if _, err := other.CopyImage(t.Context(), copyIn); code(err) != "InvalidRequest" {
		t.Errorf("CopyImage without access to the snapshots = %v, want InvalidRequest", err)
	}
	snap := image(t, c, id).BlockDeviceMappings[0].Ebs.SnapshotId
	must(c.ModifySnapshotAttribute(t.Context(), &awsec2.ModifySnapshotAttributeInput{
		SnapshotId: snap, Attribute: "createVolumePermission", OperationType: "add", UserIds: []string{otherAccount},
	}))(t)
	must(other.CopyImage(t.Context(), copyIn))(t)

	attr := must(c.DescribeImageAttribute(t.Context(), &awsec2.DescribeImageAttributeInput{ImageId: aws.String(id), Attribute: "launchPermission"}))(t)
	if len(attr.LaunchPermissions) != 1 {
		t.Errorf("launch permissions = %+v, want one", attr.LaunchPermissions)
	}
	// DisableImage removes all launch permissions permanently.
	must(c.DisableImage(t.Context(), &awsec2.DisableImageInput{ImageId: aws.String(id)}))(t)
	if got := image(t, c, id); got.State != "disabled" {
		t.Errorf("state after DisableImage = %s, want disabled", got.State)
	}
	must(c.EnableImage(t.Context(), &awsec2.EnableImageInput{ImageId: aws.String(id)}))(t)
	if n := visible(); n != 0 {
		t.Errorf("%d images visible to another account after DisableImage and EnableImage, want 0", n)
	}
}

func TestCopyImage(t *testing.T) {
	srv, c := start(t, nil)
	id := bakeImage(t, c, "original")
	west := client(srv.Config("us-west-2"))
	in := &awsec2.CopyImageInput{
		Name: aws.String("copy"), SourceImageId: aws.String(id), SourceRegion: aws.String(region),
		Encrypted: aws.Bool(true), ClientToken: aws.String("once"),
		TagSpecifications: []ec2types.TagSpecification{{ResourceType: "snapshot", Tags: []ec2types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}}},
	}
	first, again := must(west.CopyImage(t.Context(), in))(t), must(west.CopyImage(t.Context(), in))(t)
	if *first.ImageId != *again.ImageId {
		t.Error("CopyImage with the same token created another image")
	}
	got := image(t, west, *first.ImageId)
	ebs := got.BlockDeviceMappings[0].Ebs
	if !*ebs.Encrypted || *got.SourceImageId != id || *got.SourceImageRegion != region {
		t.Errorf("copy = %+v, want an encrypted image with its source", got)
	}
	run(t, west, *first.ImageId, nil)
	if n := len(srv.Resources(func(r ec2test.Resource) bool { return r.Type == "snapshot" && r.Tags["k"] == "v" })); n != 1 {
		t.Errorf("%d tagged snapshots, want 1", n)
	}
	in.Name = aws.String("another")
	if _, err := west.CopyImage(t.Context(), in); code(err) != "IdempotentParameterMismatch" {
		t.Errorf("CopyImage with a used token = %v, want IdempotentParameterMismatch", err)
	}
}

func TestDeregistrationProtectionAndDeprecation(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	_, c := start(t, &ec2test.Options{Clock: clock})
	id := aws.String(bakeImage(t, c, "kept"))
	must(c.EnableImageDeregistrationProtection(t.Context(), &awsec2.EnableImageDeregistrationProtectionInput{ImageId: id, WithCooldown: aws.Bool(true)}))(t)
	deregister := func() string {
		_, err := c.DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: id})
		return code(err)
	}
	if got := deregister(); got != "OperationNotPermitted" {
		t.Errorf("DeregisterImage of a protected image: error code %q, want OperationNotPermitted", got)
	}
	must(c.DisableImageDeregistrationProtection(t.Context(), &awsec2.DisableImageDeregistrationProtectionInput{ImageId: id}))(t)
	if got := deregister(); got != "OperationNotPermitted" {
		t.Errorf("DeregisterImage within the cooldown: error code %q, want OperationNotPermitted", got)
	}
	if got := *image(t, c, *id).DeregistrationProtection; got != "disabled after 2026-11-22T05:00:00.000Z" {
		t.Errorf("DeregistrationProtection = %q, want it disabled after a day", got)
	}

	past, soon := clock.Now().Add(-time.Hour), clock.Now().Add(time.Hour+20*time.Second)
	_, err := c.EnableImageDeprecation(t.Context(), &awsec2.EnableImageDeprecationInput{ImageId: id, DeprecateAt: &past})
	if code(err) != "InvalidParameterValue" {
		t.Errorf("EnableImageDeprecation in the past = %v, want InvalidParameterValue", err)
	}
	must(c.EnableImageDeprecation(t.Context(), &awsec2.EnableImageDeprecationInput{ImageId: id, DeprecateAt: &soon}))(t)
	if got := *image(t, c, *id).DeprecationTime; got != "2026-11-21T06:00:00.000Z" {
		t.Errorf("DeprecationTime = %s, want it rounded down to the minute", got)
	}
	clock.Advance(24 * time.Hour)
	if got := deregister(); got != "" {
		t.Errorf("DeregisterImage after the cooldown: error code %q, want none", got)
	}
}

func TestRegisterImage(t *testing.T) {
	_, c := start(t, nil)
	inst := describe(t, c, *run(t, c, *ubuntu(t, c).ImageId, nil).InstanceId)
	snap := must(c.CreateSnapshot(t.Context(), &awsec2.CreateSnapshotInput{VolumeId: inst.BlockDeviceMappings[0].Ebs.VolumeId}))(t)
	in := &awsec2.RegisterImageInput{
		Name: aws.String("by hand"), Architecture: "x86_64", RootDeviceName: aws.String("/dev/xvda"), VirtualizationType: aws.String("hvm"),
		EnaSupport: aws.Bool(true), ImdsSupport: "v2.0",
		BlockDeviceMappings: []ec2types.BlockDeviceMapping{{
			DeviceName: aws.String("/dev/xvda"), Ebs: &ec2types.EbsBlockDevice{SnapshotId: snap.SnapshotId, VolumeType: "gp3"},
		}},
	}
	made := must(c.RegisterImage(t.Context(), in))(t)
	got := image(t, c, *made.ImageId)
	if *got.BlockDeviceMappings[0].Ebs.VolumeSize != 8 || got.ImdsSupport != "v2.0" {
		t.Errorf("image = %+v, want 8 GiB and IMDSv2", got)
	}
	launched := run(t, c, *made.ImageId, nil)
	if launched.MetadataOptions.HttpTokens != "required" {
		t.Errorf("MetadataOptions = %+v, want required tokens", launched.MetadataOptions)
	}
	in.Name, in.RootDeviceName = aws.String("no root"), aws.String("/dev/sda1")
	if _, err := c.RegisterImage(t.Context(), in); code(err) != "InvalidBlockDeviceMapping" {
		t.Errorf("RegisterImage without a root disk = %v, want InvalidBlockDeviceMapping", err)
	}
	// Two images can share a snapshot, which is deleted with the last one.
	in.Name, in.RootDeviceName = aws.String("second"), aws.String("/dev/xvda")
	second := must(c.RegisterImage(t.Context(), in))(t)
	for i, want := range []string{"skipped", "success"} {
		id := []*string{made.ImageId, second.ImageId}[i]
		out := must(c.DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: id, DeleteAssociatedSnapshots: aws.Bool(true)}))(t)
		if got := string(out.DeleteSnapshotResults[0].ReturnCode); got != want {
			t.Errorf("DeregisterImage %d: snapshot result %s, want %s", i, got, want)
		}
	}
}

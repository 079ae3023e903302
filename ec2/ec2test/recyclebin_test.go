package ec2test_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/rbin"
	rbintypes "github.com/aws/aws-sdk-go-v2/service/rbin/types"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// retain creates a retention rule and returns its id.
func retain(t *testing.T, c *rbin.Client, of rbintypes.ResourceType, days int32, tags ...rbintypes.ResourceTag) string {
	t.Helper()
	out := must(c.CreateRule(t.Context(), &rbin.CreateRuleInput{
		ResourceType: of, ResourceTags: tags,
		RetentionPeriod: &rbintypes.RetentionPeriod{RetentionPeriodUnit: "DAYS", RetentionPeriodValue: &days},
	}))(t)
	return *out.Identifier
}

func TestRecycleBin(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	srv, c := start(t, &ec2test.Options{Clock: clock})
	rules := rbin.NewFromConfig(srv.Config(region), func(o *rbin.Options) { o.Retryer = aws.NopRetryer{} })
	image, snap := bakeImage(t, c, "web"), ""
	remove := func() {
		t.Helper()
		out := must(c.DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: &image, DeleteAssociatedSnapshots: aws.Bool(true)}))(t)
		snap = *out.DeleteSnapshotResults[0].SnapshotId
	}
	imageRule := retain(t, rules, "EC2_IMAGE", 7)
	retain(t, rules, "EC2_IMAGE", 1)
	retain(t, rules, "EBS_SNAPSHOT", 14)
	retain(t, rules, "EBS_SNAPSHOT", 30, rbintypes.ResourceTag{ResourceTagKey: aws.String("keep")})
	shareImage(t, c, image, otherAccount)
	remove()
	images := must(c.ListImagesInRecycleBin(t.Context(), &awsec2.ListImagesInRecycleBinInput{ImageIds: []string{image}}))(t).Images
	snaps := must(c.ListSnapshotsInRecycleBin(t.Context(), nil))(t).Snapshots
	if len(images) != 1 || images[0].RecycleBinExitTime.Sub(clock.Now()) != 7*24*time.Hour || *images[0].Name != "web" {
		t.Errorf("ListImagesInRecycleBin = %+v, want the image for 7 days", images)
	}
	if len(snaps) != 1 || snaps[0].RecycleBinExitTime.Sub(clock.Now()) != 14*24*time.Hour {
		t.Errorf("ListSnapshotsInRecycleBin = %+v, want the snapshot for 14 days", snaps)
	}
	restore := func() error {
		_, err := c.RestoreImageFromRecycleBin(t.Context(), &awsec2.RestoreImageFromRecycleBinInput{ImageId: &image})
		return err
	}
	if err := restore(); code(err) != "InvalidSnapshot.NotFound" {
		t.Errorf("RestoreImageFromRecycleBin before its snapshot = %v, want InvalidSnapshot.NotFound", err)
	}
	must(c.RestoreSnapshotFromRecycleBin(t.Context(), &awsec2.RestoreSnapshotFromRecycleBinInput{SnapshotId: &snap}))(t)
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	attr := must(c.DescribeImageAttribute(t.Context(), &awsec2.DescribeImageAttributeInput{ImageId: &image, Attribute: "launchPermission"}))(t)
	if len(attr.LaunchPermissions) != 1 {
		t.Errorf("launch permissions after the restore = %v, want one", attr.LaunchPermissions)
	}
	run(t, c, image, nil)

	listed := must(rules.ListRules(t.Context(), &rbin.ListRulesInput{ResourceType: "EC2_IMAGE"}))(t).Rules
	if len(listed) != 2 || *listed[0].Identifier != imageRule || *listed[0].RetentionPeriod.RetentionPeriodValue != 7 {
		t.Errorf("ListRules = %+v, want two, the rule of 7 days first", listed)
	}
	must(rules.DeleteRule(t.Context(), &rbin.DeleteRuleInput{Identifier: &imageRule}))(t)
	if _, err := rules.GetRule(t.Context(), &rbin.GetRuleInput{Identifier: &imageRule}); code(err) != "ResourceNotFoundException" {
		t.Errorf("GetRule of a deleted rule = %v, want ResourceNotFoundException", err)
	}
	remove()
	clock.Advance(24 * time.Hour)
	if err := restore(); code(err) != "InvalidAMIID.NotFound" {
		t.Errorf("RestoreImageFromRecycleBin after the retention period = %v, want InvalidAMIID.NotFound", err)
	}
	clock.Advance(14 * 24 * time.Hour)
	if left := must(c.ListSnapshotsInRecycleBin(t.Context(), nil))(t).Snapshots; len(left) != 0 {
		t.Errorf("ListSnapshotsInRecycleBin after the retention period = %+v, want none", left)
	}
}

func TestSnapshotLocks(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	_, c := start(t, &ec2test.Options{Clock: clock})
	id := bakeImage(t, c, "locked")
	snap := image(t, c, id).BlockDeviceMappings[0].Ebs.SnapshotId
	lock := &awsec2.LockSnapshotInput{SnapshotId: snap, LockMode: "compliance", LockDuration: aws.Int32(10), CoolOffPeriod: aws.Int32(1)}
	if got := must(c.LockSnapshot(t.Context(), lock))(t); got.LockState != "compliance-cooloff" {
		t.Errorf("LockSnapshot = %+v, want state compliance-cooloff", got)
	}
	must(c.UnlockSnapshot(t.Context(), &awsec2.UnlockSnapshotInput{SnapshotId: snap}))(t)
	must(c.LockSnapshot(t.Context(), lock))(t)
	clock.Advance(time.Hour)
	if _, err := c.UnlockSnapshot(t.Context(), &awsec2.UnlockSnapshotInput{SnapshotId: snap}); code(err) != "OperationNotPermitted" {
		t.Errorf("UnlockSnapshot after the cooling-off period = %v, want OperationNotPermitted", err)
	}
	out := must(c.DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: &id, DeleteAssociatedSnapshots: aws.Bool(true)}))(t)
	if got := out.DeleteSnapshotResults[0].ReturnCode; got != "client-error" {
		t.Errorf("DeregisterImage: result for a locked snapshot = %s, want client-error", got)
	}
	drop := func() string {
		_, err := c.DeleteSnapshot(t.Context(), &awsec2.DeleteSnapshotInput{SnapshotId: snap})
		return code(err)
	}
	if got := drop(); got != "OperationNotPermitted" {
		t.Errorf("DeleteSnapshot of a locked snapshot: error code %q, want OperationNotPermitted", got)
	}
	locked := func(state string) int {
		return len(must(c.DescribeLockedSnapshots(t.Context(), &awsec2.DescribeLockedSnapshotsInput{Filters: []ec2types.Filter{filter("lock-state", state)}}))(t).Snapshots)
	}
	if locked("compliance") != 1 || locked("expired") != 0 {
		t.Error("DescribeLockedSnapshots does not list the lock in state compliance only")
	}
	clock.Advance(10 * 24 * time.Hour)
	if got := drop(); got != "" {
		t.Errorf("DeleteSnapshot after the lock expired: error code %q, want none", got)
	}
}

// Only AWS Backup can remove its images.
func TestDeregisterImageOfAWSBackup(t *testing.T) {
	srv, c := start(t, nil)
	id := srv.Publish(ec2test.Image{
		Name: "AwsBackup_i-0123456789abcdef0_uuid", Private: true, Tags: map[string]string{"aws:backup:source-resource": "i-0123456789abcdef0"},
	})[region]
	if _, err := c.DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: &id}); code(err) != "AuthFailure" {
		t.Errorf("DeregisterImage of an image of AWS Backup = %v, want AuthFailure", err)
	}
	// An ordinary published image can be removed with its snapshot.
	plain := srv.Publish(ec2test.Image{Name: "plain", Private: true})[region]
	out := must(c.DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: &plain, DeleteAssociatedSnapshots: aws.Bool(true)}))(t)
	if out.DeleteSnapshotResults[0].ReturnCode != "success" {
		t.Errorf("DeregisterImage: snapshot results = %+v, want success", out.DeleteSnapshotResults)
	}
}

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
	must(c.ModifyImageAttribute(t.Context(), &awsec2.ModifyImageAttributeInput{ImageId: &image, LaunchPermission: &ec2types.LaunchPermissionModifications{
		Add: []ec2types.LaunchPermission{{UserId: aws.String("210987654321")}},
	}}))(t)
	remove()
	images := must(c.ListImagesInRecycleBin(t.Context(), &awsec2.ListImagesInRecycleBinInput{ImageIds: []string{image}}))(t).Images
	snaps := must(c.ListSnapshotsInRecycleBin(t.Context(), nil))(t).Snapshots
	if len(images) != 1 || images[0].RecycleBinExitTime.Sub(clock.Now()) != 7*24*time.Hour || *images[0].Name != "web" {
		t.Errorf("images: %+v", images)
	}
	if len(snaps) != 1 || snaps[0].RecycleBinExitTime.Sub(clock.Now()) != 14*24*time.Hour {
		t.Errorf("snapshots: %+v", snaps)
	}
	restore := func() error {
		_, err := c.RestoreImageFromRecycleBin(t.Context(), &awsec2.RestoreImageFromRecycleBinInput{ImageId: &image})
		return err
	}
	if err := restore(); code(err) != "InvalidSnapshot.NotFound" {
		t.Errorf("restoring the image before its snapshot: %v", err)
	}
	must(c.RestoreSnapshotFromRecycleBin(t.Context(), &awsec2.RestoreSnapshotFromRecycleBinInput{SnapshotId: &snap}))(t)
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	attr := must(c.DescribeImageAttribute(t.Context(), &awsec2.DescribeImageAttributeInput{ImageId: &image, Attribute: "launchPermission"}))(t)
	if len(attr.LaunchPermissions) != 1 {
		t.Error("launch permissions are lost")
	}
	run(t, c, image, nil)

	listed := must(rules.ListRules(t.Context(), &rbin.ListRulesInput{ResourceType: "EC2_IMAGE"}))(t).Rules
	if len(listed) != 2 || *listed[0].Identifier != imageRule || *listed[0].RetentionPeriod.RetentionPeriodValue != 7 {
		t.Errorf("rules: %+v", listed)
	}
	must(rules.DeleteRule(t.Context(), &rbin.DeleteRuleInput{Identifier: &imageRule}))(t)
	if _, err := rules.GetRule(t.Context(), &rbin.GetRuleInput{Identifier: &imageRule}); code(err) != "ResourceNotFoundException" {
		t.Errorf("a rule that is gone: %v", err)
	}
	remove()
	clock.Advance(24 * time.Hour)
	if err := restore(); code(err) != "InvalidAMIID.NotFound" {
		t.Errorf("restoring it too late: %v", err)
	}
	clock.Advance(14 * 24 * time.Hour)
	if left := must(c.ListSnapshotsInRecycleBin(t.Context(), nil))(t).Snapshots; len(left) != 0 {
		t.Errorf("snapshots in the bin for ever: %+v", left)
	}
}

func TestSnapshotLocks(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	_, c := start(t, &ec2test.Options{Clock: clock})
	id := bakeImage(t, c, "locked")
	snap := image(t, c, id).BlockDeviceMappings[0].Ebs.SnapshotId
	lock := &awsec2.LockSnapshotInput{SnapshotId: snap, LockMode: "compliance", LockDuration: aws.Int32(10), CoolOffPeriod: aws.Int32(1)}
	if got := must(c.LockSnapshot(t.Context(), lock))(t); got.LockState != "compliance-cooloff" {
		t.Errorf("locked: %+v", got)
	}
	must(c.UnlockSnapshot(t.Context(), &awsec2.UnlockSnapshotInput{SnapshotId: snap}))(t)
	must(c.LockSnapshot(t.Context(), lock))(t)
	clock.Advance(time.Hour)
	if _, err := c.UnlockSnapshot(t.Context(), &awsec2.UnlockSnapshotInput{SnapshotId: snap}); code(err) != "OperationNotPermitted" {
		t.Errorf("unlocking after the cooling-off period: %v", err)
	}
	out := must(c.DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: &id, DeleteAssociatedSnapshots: aws.Bool(true)}))(t)
	if got := out.DeleteSnapshotResults[0].ReturnCode; got != "client-error" {
		t.Errorf("deleting it along with its image: %s", got)
	}
	drop := func() string {
		_, err := c.DeleteSnapshot(t.Context(), &awsec2.DeleteSnapshotInput{SnapshotId: snap})
		return code(err)
	}
	if got := drop(); got != "OperationNotPermitted" {
		t.Errorf("deleting it: %s", got)
	}
	states := func(state string) int {
		return len(must(c.DescribeLockedSnapshots(t.Context(), &awsec2.DescribeLockedSnapshotsInput{Filters: []ec2types.Filter{filter("lock-state", state)}}))(t).Snapshots)
	}
	if states("compliance") != 1 || states("expired") != 0 {
		t.Error("the lock is not listed as it is")
	}
	clock.Advance(10 * 24 * time.Hour)
	if got := drop(); got != "" {
		t.Errorf("deleting it after the lock: %s", got)
	}
}

// What AWS Backup made can only be removed by AWS Backup.
func TestManagedByBackup(t *testing.T) {
	srv, c := start(t, nil)
	id := srv.Publish(ec2test.Image{
		Name: "AwsBackup_i-0123456789abcdef0_uuid", Private: true, Tags: map[string]string{"aws:backup:source-resource": "i-0123456789abcdef0"},
	})[region]
	if _, err := c.DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: &id}); code(err) != "AuthFailure" {
		t.Errorf("deregistering: %v", err)
	}
	// One that is only published can be removed with its snapshot.
	plain := srv.Publish(ec2test.Image{Name: "plain", Private: true})[region]
	out := must(c.DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: &plain, DeleteAssociatedSnapshots: aws.Bool(true)}))(t)
	if out.DeleteSnapshotResults[0].ReturnCode != "success" {
		t.Errorf("results: %+v", out.DeleteSnapshotResults)
	}
}

package ec2test_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// Public sharing is blocked by default, and changes take effect after their
// latency.
func TestImageBlockPublicAccess(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC))
	const latency = 5 * time.Minute
	srv, c := start(t, &ec2test.Options{Clock: clock, Latency: ec2test.Latency{PublicAccess: latency}})
	elsewhere := client(srv.Config("us-west-2"))
	id := bakeImage(t, c, "public")
	share := func(entry ec2types.LaunchPermission) string {
		_, err := c.ModifyImageAttribute(t.Context(), &awsec2.ModifyImageAttributeInput{
			ImageId: aws.String(id), LaunchPermission: &ec2types.LaunchPermissionModifications{Add: []ec2types.LaunchPermission{entry}},
		})
		return code(err)
	}
	state := func(c *awsec2.Client) string {
		return *must(c.GetImageBlockPublicAccessState(t.Context(), nil))(t).ImageBlockPublicAccessState
	}
	want := func(when, wantState, wantCode string) {
		t.Helper()
		if got := state(c); got != wantState {
			t.Errorf("%s: state = %s, want %s", when, got, wantState)
		}
		if got := share(ec2types.LaunchPermission{Group: "all"}); got != wantCode {
			t.Errorf("%s: sharing with everyone: error code %q, want %q", when, got, wantCode)
		}
	}
	want("by default", "block-new-sharing", "OperationNotPermitted")
	if got := share(ec2types.LaunchPermission{UserId: aws.String(otherAccount)}); got != "" {
		t.Errorf("sharing with an account: error code %q, want none", got)
	}
	if _, err := c.DisableImageBlockPublicAccess(t.Context(), &awsec2.DisableImageBlockPublicAccessInput{DryRun: aws.Bool(true)}); code(err) != "DryRunOperation" {
		t.Errorf("dry run of DisableImageBlockPublicAccess = %v, want DryRunOperation", err)
	}
	must(c.DisableImageBlockPublicAccess(t.Context(), nil))(t)
	clock.Advance(latency - time.Second)
	want("just before unblocking", "block-new-sharing", "OperationNotPermitted")
	clock.Advance(time.Second)
	want("unblocked", "unblocked", "")
	must(c.EnableImageBlockPublicAccess(t.Context(), &awsec2.EnableImageBlockPublicAccessInput{ImageBlockPublicAccessState: "block-new-sharing"}))(t)
	clock.Advance(latency)
	want("blocked again", "block-new-sharing", "OperationNotPermitted")
	if img := image(t, c, id); !aws.ToBool(img.Public) {
		t.Error("public image became private, want it unchanged")
	}
	if got := state(elsewhere); got != "block-new-sharing" {
		t.Errorf("state of another region = %s, want block-new-sharing", got)
	}
	_, err := c.EnableImageBlockPublicAccess(t.Context(), &awsec2.EnableImageBlockPublicAccessInput{ImageBlockPublicAccessState: "block-all-sharing"})
	if code(err) != "InvalidParameterValue" {
		t.Errorf("EnableImageBlockPublicAccess with a mode of snapshots = %v, want InvalidParameterValue", err)
	}
}

// Blocking all sharing hides public snapshots but keeps their permissions.
// Blocking new sharing does not hide them.
func TestSnapshotBlockPublicAccess(t *testing.T) {
	srv, c := start(t, nil)
	other := client(srv.ConfigFor(otherAccount, region))
	id := *image(t, c, bakeImage(t, c, "public")).BlockDeviceMappings[0].Ebs.SnapshotId
	share := func() string {
		_, err := c.ModifySnapshotAttribute(t.Context(), &awsec2.ModifySnapshotAttributeInput{
			SnapshotId: aws.String(id), OperationType: "add", GroupNames: []string{"all"}, Attribute: "createVolumePermission",
		})
		return code(err)
	}
	if got := share(); got != "" {
		t.Fatalf("sharing with everyone: error code %q, want none", got)
	}
	enable := func(mode ec2types.SnapshotBlockPublicAccessState) {
		must(c.EnableSnapshotBlockPublicAccess(t.Context(), &awsec2.EnableSnapshotBlockPublicAccessInput{State: mode}))(t)
	}
	for _, test := range []struct {
		change func()
		state  ec2types.SnapshotBlockPublicAccessState
		seen   bool
		share  string
	}{
		{func() {}, "unblocked", true, ""},
		{func() { enable("block-all-sharing") }, "block-all-sharing", false, "OperationNotPermitted"},
		{func() { enable("block-new-sharing") }, "block-new-sharing", true, "OperationNotPermitted"},
		{func() { must(c.DisableSnapshotBlockPublicAccess(t.Context(), nil))(t) }, "unblocked", true, ""},
	} {
		test.change()
		if got := must(c.GetSnapshotBlockPublicAccessState(t.Context(), nil))(t).State; got != test.state {
			t.Errorf("state = %s, want %s", got, test.state)
		}
		_, err := other.DescribeSnapshots(t.Context(), &awsec2.DescribeSnapshotsInput{SnapshotIds: []string{id}})
		if (err == nil) != test.seen || !test.seen && code(err) != "InvalidSnapshot.NotFound" {
			t.Errorf("%s: DescribeSnapshots by another account = %v, want it visible %t", test.state, err, test.seen)
		}
		if got := share(); got != test.share {
			t.Errorf("%s: sharing with everyone: error code %q, want %q", test.state, got, test.share)
		}
		kept := must(c.DescribeSnapshotAttribute(t.Context(), &awsec2.DescribeSnapshotAttributeInput{
			SnapshotId: aws.String(id), Attribute: "createVolumePermission",
		}))(t).CreateVolumePermissions
		if len(kept) != 1 || kept[0].Group != "all" {
			t.Errorf("%s: permissions = %v, want group all", test.state, kept)
		}
	}
}

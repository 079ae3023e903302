package ec2test_test

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Packer sends the accounts in both forms, without an operation.
func TestModifyImageAttributeForms(t *testing.T) {
	const third = "333333333333"
	add := func(accounts ...string) *ec2types.LaunchPermissionModifications {
		out := &ec2types.LaunchPermissionModifications{}
		for _, account := range accounts {
			out.Add = append(out.Add, ec2types.LaunchPermission{UserId: aws.String(account)})
		}
		return out
	}
	_, c := start(t, nil)
	id := bakeImage(t, c, "shared")
	for _, test := range []struct {
		name string
		in   awsec2.ModifyImageAttributeInput
		code string
		want []string
	}{
		{"both forms, no operation", awsec2.ModifyImageAttributeInput{LaunchPermission: add(otherAccount), UserIds: []string{otherAccount}}, "", []string{otherAccount}},
		{"structured add, flat remove", awsec2.ModifyImageAttributeInput{LaunchPermission: add(third), UserIds: []string{otherAccount}, OperationType: "remove"}, "", []string{third}},
		{"flat add", awsec2.ModifyImageAttributeInput{UserIds: []string{otherAccount}, OperationType: "add"}, "", []string{otherAccount, third}},
		{"flat, no operation", awsec2.ModifyImageAttributeInput{UserIds: []string{account}}, "MissingParameter", []string{otherAccount, third}},
		{"unknown operation", awsec2.ModifyImageAttributeInput{UserIds: []string{account}, OperationType: "set"}, "InvalidParameterValue", []string{otherAccount, third}},
		{"attribute named", awsec2.ModifyImageAttributeInput{Attribute: aws.String("launchPermission"), UserIds: []string{third}, OperationType: "remove"}, "", []string{otherAccount}},
		{"product code", awsec2.ModifyImageAttributeInput{Attribute: aws.String("productCodes"), ProductCodes: []string{"abc"}}, "AuthFailure", []string{otherAccount}},
	} {
		test.in.ImageId = aws.String(id)
		if _, err := c.ModifyImageAttribute(t.Context(), &test.in); code(err) != test.code {
			t.Errorf("ModifyImageAttribute with %s = %v, want code %q", test.name, err, test.code)
		}
		out := must(c.DescribeImageAttribute(t.Context(), &awsec2.DescribeImageAttributeInput{ImageId: aws.String(id), Attribute: "launchPermission"}))(t)
		var got []string
		for _, p := range out.LaunchPermissions {
			got = append(got, *p.UserId)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("permissions after %s = %q, want %q", test.name, got, test.want)
		}
	}
}

func TestModifySnapshotAttributeForms(t *testing.T) {
	_, c := start(t, nil)
	snap := snapshotOf(image(t, c, bakeImage(t, c, "shared")))
	must(c.ModifySnapshotAttribute(t.Context(), &awsec2.ModifySnapshotAttributeInput{
		SnapshotId: snap, UserIds: []string{otherAccount},
		CreateVolumePermission: &ec2types.CreateVolumePermissionModifications{Add: []ec2types.CreateVolumePermission{{UserId: aws.String(otherAccount)}}},
	}))(t)
	out := must(c.DescribeSnapshotAttribute(t.Context(), &awsec2.DescribeSnapshotAttributeInput{SnapshotId: snap, Attribute: "createVolumePermission"}))(t)
	if got := out.CreateVolumePermissions; len(got) != 1 || *got[0].UserId != otherAccount {
		t.Errorf("permissions = %v, want account %s", got, otherAccount)
	}
	if _, err := c.ModifySnapshotAttribute(t.Context(), &awsec2.ModifySnapshotAttributeInput{SnapshotId: snap, UserIds: []string{account}}); code(err) != "MissingParameter" {
		t.Errorf("ModifySnapshotAttribute without operation = %v, want MissingParameter", err)
	}
}

func TestDescribeAttributes(t *testing.T) {
	_, c := start(t, nil)
	id := aws.String(bakeImage(t, c, "described"))
	for _, name := range ec2types.ImageAttributeName("").Values() {
		want := ""
		if name == "blockDeviceMapping" {
			want = "AuthFailure"
		}
		_, err := c.DescribeImageAttribute(t.Context(), &awsec2.DescribeImageAttributeInput{ImageId: id, Attribute: name})
		if code(err) != want {
			t.Errorf("DescribeImageAttribute(%s) = %v, want code %q", name, err, want)
		}
	}
	kernel := must(c.DescribeImageAttribute(t.Context(), &awsec2.DescribeImageAttributeInput{ImageId: id, Attribute: "kernel"}))(t).KernelId
	if kernel == nil || kernel.Value != nil {
		t.Errorf("kernel = %v, want an empty value", kernel)
	}
	inst := run(t, c, *id, nil).InstanceId
	for _, name := range ec2types.InstanceAttributeName("").Values() {
		if _, err := c.DescribeInstanceAttribute(t.Context(), &awsec2.DescribeInstanceAttributeInput{InstanceId: inst, Attribute: name}); err != nil {
			t.Errorf("DescribeInstanceAttribute(%s) = %v, want nil", name, err)
		}
	}
}

func TestModifyInstanceAttributeByName(t *testing.T) {
	_, c := start(t, nil)
	id := run(t, c, *ubuntu(t, c).ImageId, nil).InstanceId
	must(c.StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: []string{*id}}))(t)
	for _, test := range []struct {
		attribute ec2types.InstanceAttributeName
		value     string
		want      string
	}{
		{"instanceType", "t3.small", ""}, {"instanceType", "t9.huge", "InvalidParameterValue"}, {"userData", "aGk=", ""}, {"userData", "%", "InvalidParameterValue"},
		{"disableApiTermination", "true", ""}, {"disableApiTermination", "maybe", "InvalidParameterValue"}, {"disableApiStop", "true", ""},
		{"instanceInitiatedShutdownBehavior", "terminate", ""}, {"sourceDestCheck", "false", ""}, {"ebsOptimized", "true", ""},
		{"sriovNetSupport", "simple", ""}, {"enaSupport", "true", ""}, {"kernel", "aki-12345678", "UnsupportedOperation"},
		{"rootDeviceName", "/dev/sdb", "InvalidParameterValue"},
	} {
		_, err := c.ModifyInstanceAttribute(t.Context(), &awsec2.ModifyInstanceAttributeInput{
			InstanceId: id, Attribute: test.attribute, Value: aws.String(test.value),
		})
		if code(err) != test.want {
			t.Errorf("ModifyInstanceAttribute(%s, %q) = %v, want code %q", test.attribute, test.value, err, test.want)
		}
	}
	if got := describe(t, c, *id); got.InstanceType != "t3.small" || *got.SourceDestCheck || !*got.EbsOptimized {
		t.Errorf("instance = %s, SourceDestCheck %t, EbsOptimized %t, want t3.small, false, true", got.InstanceType, *got.SourceDestCheck, *got.EbsOptimized)
	}
}

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

func TestClientToken(t *testing.T) {
	srv, c := start(t, nil)
	image := *ubuntu(t, c).ImageId
	with := func(in *awsec2.RunInstancesInput) { in.ClientToken = aws.String("build-7") }
	first, again := run(t, c, image, with), run(t, c, image, with)
	if *first.InstanceId != *again.InstanceId {
		t.Error("RunInstances with the same token launched another instance")
	}
	_, err := c.RunInstances(t.Context(), &awsec2.RunInstancesInput{
		ImageId: aws.String(image), InstanceType: "t3.small", MinCount: aws.Int32(1), MaxCount: aws.Int32(1), ClientToken: aws.String("build-7"),
	})
	if code(err) != "IdempotentParameterMismatch" {
		t.Errorf("RunInstances with a used token = %v, want IdempotentParameterMismatch", err)
	}
	must(c.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{*first.InstanceId}}))(t)
	_, err = c.RunInstances(t.Context(), &awsec2.RunInstancesInput{
		ImageId: aws.String(image), InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1), ClientToken: aws.String("build-7"),
	})
	if code(err) != "IdempotentInstanceTerminated" {
		t.Errorf("RunInstances with the token of a terminated instance = %v, want IdempotentInstanceTerminated", err)
	}
	if got := srv.Leftovers(); len(got) != 0 {
		t.Errorf("Leftovers = %q, want none", got)
	}
}

// Every state transition takes exactly its latency on the virtual clock.
func TestLatency(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	latency := ec2test.Realistic()
	latency.Call = 0
	_, c := start(t, &ec2test.Options{Clock: clock, Latency: latency})
	id := *run(t, c, *ubuntu(t, c).ImageId, nil).InstanceId
	state := func() string { return string(describe(t, c, id).State.Name) }
	step := func(d time.Duration, want string) {
		t.Helper()
		if clock.Advance(d); state() != want {
			t.Errorf("state %v later = %s, want %s", d, state(), want)
		}
	}
	step(0, "pending")
	if describe(t, c, id).PublicIpAddress != nil {
		t.Error("a pending instance has a public address, want none")
	}
	step(7*time.Second, "pending")
	step(time.Second, "running")
	must(c.StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: []string{id}}))(t)
	_, err := c.CreateImage(t.Context(), &awsec2.CreateImageInput{InstanceId: aws.String(id), Name: aws.String("early")})
	if code(err) != "IncorrectInstanceState" {
		t.Errorf("CreateImage of a stopping instance = %v, want IncorrectInstanceState", err)
	}
	step(19*time.Second, "stopping")
	step(time.Second, "stopped")

	made := must(c.CreateImage(t.Context(), &awsec2.CreateImageInput{InstanceId: aws.String(id), Name: aws.String("timed")}))(t)
	if got := image(t, c, *made.ImageId); got.State != "pending" {
		t.Errorf("image state = %s, want pending", got.State)
	}
	_, err = c.RunInstances(t.Context(), &awsec2.RunInstancesInput{
		ImageId: made.ImageId, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	})
	if code(err) != "InvalidAMIID.Unavailable" {
		t.Errorf("RunInstances of a pending image = %v, want InvalidAMIID.Unavailable", err)
	}
	clock.Advance(42 * time.Second)
	snaps := must(c.DescribeSnapshots(t.Context(), &awsec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}}))(t)
	if got := snaps.Snapshots[0]; got.State != "pending" || *got.Progress != "50%" {
		t.Errorf("snapshot after 42s = %s at %s, want pending at 50%%", got.State, *got.Progress)
	}
	clock.Advance(52 * time.Second)
	if got := image(t, c, *made.ImageId); got.State != "available" {
		t.Errorf("image state after 94s = %s, want available", got.State)
	}

	must(c.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{id}}))(t)
	step(14*time.Second, "shutting-down")
	step(time.Second, "terminated")
	clock.Advance(time.Hour)
	_, err = c.DescribeInstances(t.Context(), &awsec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if code(err) != "InvalidInstanceID.NotFound" {
		t.Errorf("DescribeInstances an hour after termination = %v, want InvalidInstanceID.NotFound", err)
	}
}

func TestInstanceStates(t *testing.T) {
	_, c := start(t, nil)
	id := *run(t, c, *ubuntu(t, c).ImageId, nil).InstanceId
	before := describe(t, c, id)
	must(c.StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: []string{id}}))(t)
	if got := describe(t, c, id); got.PublicIpAddress != nil || *got.PrivateIpAddress != *before.PrivateIpAddress {
		t.Errorf("addresses of a stopped instance = %v and %v, want only the private one", got.PublicIpAddress, *got.PrivateIpAddress)
	}
	if _, err := c.RebootInstances(t.Context(), &awsec2.RebootInstancesInput{InstanceIds: []string{id}}); code(err) != "IncorrectState" {
		t.Errorf("RebootInstances of a stopped instance = %v, want IncorrectState", err)
	}
	must(c.StartInstances(t.Context(), &awsec2.StartInstancesInput{InstanceIds: []string{id}}))(t)
	if got := describe(t, c, id); got.State.Name != "running" || *got.PublicIpAddress == *before.PublicIpAddress {
		t.Errorf("restarted instance is %s at %v, want running at a new address", got.State.Name, *got.PublicIpAddress)
	}
	must(c.ModifyInstanceAttribute(t.Context(), &awsec2.ModifyInstanceAttributeInput{
		InstanceId: aws.String(id), DisableApiTermination: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)},
	}))(t)
	terminate := func() string {
		_, err := c.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{id}})
		return code(err)
	}
	if got := terminate(); got != "OperationNotPermitted" {
		t.Errorf("TerminateInstances of a protected instance: error code %q, want OperationNotPermitted", got)
	}
	must(c.ModifyInstanceAttribute(t.Context(), &awsec2.ModifyInstanceAttributeInput{
		InstanceId: aws.String(id), DisableApiTermination: &ec2types.AttributeBooleanValue{Value: aws.Bool(false)},
	}))(t)
	for range 2 { // TerminateInstances is idempotent
		if got := terminate(); got != "" {
			t.Errorf("TerminateInstances: error code %q, want none", got)
		}
	}
	if got := describe(t, c, id); got.State.Name != "terminated" || got.PrivateIpAddress != nil || *got.StateReason.Code != "Client.UserInitiatedShutdown" {
		t.Errorf("terminated instance = %+v, want no address and Client.UserInitiatedShutdown", got)
	}
	if _, err := c.StartInstances(t.Context(), &awsec2.StartInstancesInput{InstanceIds: []string{id}}); code(err) != "IncorrectInstanceState" {
		t.Errorf("StartInstances of a terminated instance = %v, want IncorrectInstanceState", err)
	}
}

func TestVolumesAfterTermination(t *testing.T) {
	srv, c := start(t, nil)
	inst := run(t, c, *ubuntu(t, c).ImageId, func(in *awsec2.RunInstancesInput) {
		in.BlockDeviceMappings = []ec2types.BlockDeviceMapping{
			{DeviceName: aws.String("/dev/sdf"), Ebs: &ec2types.EbsBlockDevice{VolumeSize: aws.Int32(1)}},
			{DeviceName: aws.String("/dev/sdg"), Ebs: &ec2types.EbsBlockDevice{VolumeSize: aws.Int32(1), DeleteOnTermination: aws.Bool(true)}},
		}
	})
	vols := must(c.DescribeVolumes(t.Context(), &awsec2.DescribeVolumesInput{
		Filters: []ec2types.Filter{filter("attachment.instance-id", *inst.InstanceId)},
	}))(t)
	if len(vols.Volumes) != 3 {
		t.Fatalf("%d volumes, want 3", len(vols.Volumes))
	}
	if _, err := c.DeleteVolume(t.Context(), &awsec2.DeleteVolumeInput{VolumeId: vols.Volumes[1].VolumeId}); code(err) != "VolumeInUse" {
		t.Errorf("DeleteVolume of an attached volume = %v, want VolumeInUse", err)
	}
	if err := srv.TerminateInstance(*inst.InstanceId); err != nil {
		t.Fatal(err)
	}
	left := srv.Resources(nil)
	if len(left) != 1 || left[0].Type != "volume" || left[0].State != "available" {
		t.Fatalf("Resources = %v, want one available volume", left)
	}
	must(c.DeleteVolume(t.Context(), &awsec2.DeleteVolumeInput{VolumeId: aws.String(left[0].ID)}))(t)
}

func TestSecurityGroups(t *testing.T) {
	_, c := start(t, nil)
	made := must(c.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{GroupName: aws.String("bake"), Description: aws.String("for a bake")}))(t)
	_, err := c.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{GroupName: aws.String("bake"), Description: aws.String("again")})
	if code(err) != "InvalidGroup.Duplicate" {
		t.Errorf("CreateSecurityGroup with the same name = %v, want InvalidGroup.Duplicate", err)
	}
	rule := &awsec2.AuthorizeSecurityGroupIngressInput{GroupId: made.GroupId, IpPermissions: []ec2types.IpPermission{{
		IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22),
		IpRanges: []ec2types.IpRange{{CidrIp: aws.String("127.0.0.1/32"), Description: aws.String("the baking host")}},
	}}}
	added := must(c.AuthorizeSecurityGroupIngress(t.Context(), rule))(t)
	if _, err := c.AuthorizeSecurityGroupIngress(t.Context(), rule); code(err) != "InvalidPermission.Duplicate" {
		t.Errorf("AuthorizeSecurityGroupIngress of the same rule = %v, want InvalidPermission.Duplicate", err)
	}
	got := must(c.DescribeSecurityGroups(t.Context(), &awsec2.DescribeSecurityGroupsInput{
		Filters: []ec2types.Filter{filter("ip-permission.cidr", "127.*"), filter("group-name", "bake")},
	}))(t).SecurityGroups
	if len(got) != 1 || *got[0].IpPermissions[0].IpRanges[0].Description != "the baking host" || len(got[0].IpPermissionsEgress) != 1 {
		t.Errorf("DescribeSecurityGroups = %+v, want the group with its rule and one for egress", got)
	}
	inst := run(t, c, *ubuntu(t, c).ImageId, func(in *awsec2.RunInstancesInput) { in.SecurityGroups = []string{"bake"} })
	remove := func() string {
		_, err := c.DeleteSecurityGroup(t.Context(), &awsec2.DeleteSecurityGroupInput{GroupId: made.GroupId})
		return code(err)
	}
	if got := remove(); got != "DependencyViolation" {
		t.Errorf("DeleteSecurityGroup of a group in use: error code %q, want DependencyViolation", got)
	}
	must(c.RevokeSecurityGroupIngress(t.Context(), &awsec2.RevokeSecurityGroupIngressInput{
		GroupId: made.GroupId, SecurityGroupRuleIds: []string{*added.SecurityGroupRules[0].SecurityGroupRuleId},
	}))(t)
	_, err = c.RevokeSecurityGroupIngress(t.Context(), &awsec2.RevokeSecurityGroupIngressInput{GroupId: made.GroupId, IpPermissions: rule.IpPermissions})
	if code(err) != "InvalidPermission.NotFound" {
		t.Errorf("RevokeSecurityGroupIngress of a revoked rule = %v, want InvalidPermission.NotFound", err)
	}
	must(c.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{*inst.InstanceId}}))(t)
	if got := remove(); got != "" {
		t.Errorf("DeleteSecurityGroup: error code %q, want none", got)
	}
	if got := remove(); got != "InvalidGroup.NotFound" {
		t.Errorf("second DeleteSecurityGroup: error code %q, want InvalidGroup.NotFound", got)
	}
}

func TestLaunchTemplates(t *testing.T) {
	_, c := start(t, nil)
	source := ubuntu(t, c).ImageId
	data := &ec2types.RequestLaunchTemplateData{
		ImageId: source, InstanceType: "t3.small",
		TagSpecifications: []ec2types.LaunchTemplateTagSpecificationRequest{{
			ResourceType: "instance", Tags: []ec2types.Tag{{Key: aws.String("from"), Value: aws.String("template")}},
		}},
	}
	made := must(c.CreateLaunchTemplate(t.Context(), &awsec2.CreateLaunchTemplateInput{LaunchTemplateName: aws.String("web"), LaunchTemplateData: data}))(t)
	id := bakeImage(t, c, "next")
	v2 := must(c.CreateLaunchTemplateVersion(t.Context(), &awsec2.CreateLaunchTemplateVersionInput{
		LaunchTemplateId: made.LaunchTemplate.LaunchTemplateId, SourceVersion: aws.String("$Latest"),
		LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: aws.String(id)},
	}))(t).LaunchTemplateVersion
	if *v2.VersionNumber != 2 || v2.LaunchTemplateData.InstanceType != "t3.small" || *v2.DefaultVersion {
		t.Errorf("version = %+v, want version 2 with the type of version 1, not the default", v2)
	}
	must(c.ModifyLaunchTemplate(t.Context(), &awsec2.ModifyLaunchTemplateInput{LaunchTemplateName: aws.String("web"), DefaultVersion: aws.String("2")}))(t)
	out := must(c.RunInstances(t.Context(), &awsec2.RunInstancesInput{
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: "t3.nano",
		LaunchTemplate: &ec2types.LaunchTemplateSpecification{LaunchTemplateName: aws.String("web")},
	}))(t).Instances[0]
	if *out.ImageId != id || out.InstanceType != "t3.nano" || tagValue(out.Tags, "from") != "template" ||
		tagValue(out.Tags, "aws:ec2launchtemplate:id") == "" || tagValue(out.Tags, "aws:ec2launchtemplate:version") != "2" {
		t.Errorf("instance = %+v, want the template's image and tags and the type of the call", out)
	}
	all := must(c.DescribeLaunchTemplateVersions(t.Context(), &awsec2.DescribeLaunchTemplateVersionsInput{Versions: []string{"$Latest", "$Default"}}))(t)
	if len(all.LaunchTemplateVersions) != 1 {
		t.Errorf("DescribeLaunchTemplateVersions returned %d versions, want one that is $Latest and $Default", len(all.LaunchTemplateVersions))
	}
	versions := must(c.DescribeLaunchTemplateVersions(t.Context(), &awsec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateName: aws.String("web"), MaxResults: aws.Int32(1)}))(t)
	if *versions.LaunchTemplateVersions[0].VersionNumber != 2 || versions.NextToken == nil {
		t.Errorf("first page of DescribeLaunchTemplateVersions = %+v, want version 2 and a token", versions)
	}
	_, err := c.DescribeLaunchTemplates(t.Context(), &awsec2.DescribeLaunchTemplatesInput{LaunchTemplateNames: []string{"unknown"}})
	if code(err) != "InvalidLaunchTemplateName.NotFoundException" {
		t.Errorf("DescribeLaunchTemplates of an unknown name = %v, want InvalidLaunchTemplateName.NotFoundException", err)
	}
}

func TestKeyPairs(t *testing.T) {
	_, c := start(t, nil)
	for _, kind := range []ec2types.KeyType{"rsa", "ed25519"} {
		made := must(c.CreateKeyPair(t.Context(), &awsec2.CreateKeyPairInput{KeyName: aws.String(string(kind)), KeyType: kind}))(t)
		if made.KeyMaterial == nil {
			t.Fatal("CreateKeyPair returned no private key")
		}
	}
	_, err := c.CreateKeyPair(t.Context(), &awsec2.CreateKeyPairInput{KeyName: aws.String("rsa")})
	if code(err) != "InvalidKeyPair.Duplicate" {
		t.Errorf("CreateKeyPair with the same name = %v, want InvalidKeyPair.Duplicate", err)
	}
	must(c.DeleteKeyPair(t.Context(), &awsec2.DeleteKeyPairInput{KeyName: aws.String("rsa")}))(t)
	must(c.DeleteKeyPair(t.Context(), &awsec2.DeleteKeyPairInput{KeyName: aws.String("rsa")}))(t)
	out := must(c.DescribeKeyPairs(t.Context(), &awsec2.DescribeKeyPairsInput{IncludePublicKey: aws.Bool(true)}))(t)
	if len(out.KeyPairs) != 1 || out.KeyPairs[0].KeyType != "ed25519" || out.KeyPairs[0].PublicKey == nil {
		t.Errorf("DescribeKeyPairs = %+v, want only the ed25519 key with its public key", out.KeyPairs)
	}
}

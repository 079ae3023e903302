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

func TestAttachVolume(t *testing.T) {
	now := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	srv, c := start(t, &ec2test.Options{Clock: now, Latency: ec2test.Latency{Attached: 2 * time.Second}})
	id := run(t, c, *ubuntu(t, c).ImageId, nil).InstanceId
	zone := describe(t, c, *id).Placement.AvailabilityZone
	create := func(zone *string) *string {
		return must(c.CreateVolume(t.Context(), &awsec2.CreateVolumeInput{AvailabilityZone: zone, Size: aws.Int32(4)}))(t).VolumeId
	}
	volume, far := create(zone), create(aws.String(region+"f"))
	state := func(wantVolume, wantAttachment string) {
		t.Helper()
		v := must(c.DescribeVolumes(t.Context(), &awsec2.DescribeVolumesInput{VolumeIds: []string{*volume}}))(t).Volumes[0]
		got := ""
		if len(v.Attachments) > 0 {
			got = string(v.Attachments[0].State)
		}
		if string(v.State) != wantVolume || got != wantAttachment {
			t.Errorf("volume is %s and %q, want %s and %q", v.State, got, wantVolume, wantAttachment)
		}
	}
	attach := func(volume *string, device string) (*awsec2.AttachVolumeOutput, error) {
		return c.AttachVolume(t.Context(), &awsec2.AttachVolumeInput{VolumeId: volume, InstanceId: id, Device: &device})
	}
	detach := func(change func(*awsec2.DetachVolumeInput)) error {
		in := &awsec2.DetachVolumeInput{VolumeId: volume}
		change(in)
		_, err := c.DetachVolume(t.Context(), in)
		return err
	}
	none := func(*awsec2.DetachVolumeInput) {}
	for name, test := range map[string]struct {
		call func() error
		want string
	}{
		"in another zone":    {func() error { _, err := attach(far, "/dev/sdf"); return err }, "InvalidVolume.ZoneMismatch"},
		"at a used device":   {func() error { _, err := attach(volume, "/dev/sda1"); return err }, "InvalidParameterValue"},
		"at no device":       {func() error { _, err := attach(volume, "disk1"); return err }, "InvalidParameterValue"},
		"an unknown volume":  {func() error { _, err := attach(aws.String("vol-0123456789abcdef0"), "/dev/sdf"); return err }, "InvalidVolume.NotFound"},
		"a malformed id":     {func() error { _, err := attach(aws.String("disk"), "/dev/sdf"); return err }, "InvalidVolumeID.Malformed"},
		"that is not in use": {func() error { return detach(none) }, "IncorrectState"},
	} {
		if err := test.call(); code(err) != test.want {
			t.Errorf("AttachVolume or DetachVolume of a volume, %s = %v, want %s", name, err, test.want)
		}
	}
	if out := must(attach(volume, "/dev/sdf"))(t); out.State != "attaching" {
		t.Errorf("AttachVolume = %s, want attaching", out.State)
	}
	state("in-use", "attaching")
	now.Advance(2 * time.Second)
	state("in-use", "attached")
	if _, err := attach(volume, "/dev/sdg"); code(err) != "VolumeInUse" {
		t.Errorf("AttachVolume of an attached volume = %v, want VolumeInUse", err)
	}
	if _, err := c.DeleteVolume(t.Context(), &awsec2.DeleteVolumeInput{VolumeId: volume}); code(err) != "VolumeInUse" {
		t.Errorf("DeleteVolume of an attached volume = %v, want VolumeInUse", err)
	}
	inst := describe(t, c, *id)
	if m := inst.BlockDeviceMappings; len(m) != 2 || *m[1].DeviceName != "/dev/sdf" || *m[1].Ebs.DeleteOnTermination {
		t.Errorf("mappings = %+v, want /dev/sdf, which outlives the instance", m)
	}
	root := inst.BlockDeviceMappings[0].Ebs.VolumeId
	for name, test := range map[string]struct {
		change func(*awsec2.DetachVolumeInput)
		want   string
	}{
		"another device": {func(in *awsec2.DetachVolumeInput) { in.Device = aws.String("/dev/sdg") }, "InvalidAttachment.NotFound"},
		"the root":       {func(in *awsec2.DetachVolumeInput) { in.VolumeId = root }, "OperationNotPermitted"},
		"a dry run":      {func(in *awsec2.DetachVolumeInput) { in.DryRun = aws.Bool(true) }, "DryRunOperation"},
	} {
		if err := detach(test.change); code(err) != test.want {
			t.Errorf("DetachVolume, %s = %v, want %s", name, err, test.want)
		}
	}
	if err := detach(none); err != nil {
		t.Error(err)
	}
	state("in-use", "detaching")
	now.Advance(2 * time.Second)
	state("available", "")

	// The root volume of a stopped instance can be replaced.
	must(c.StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: []string{*id}}))(t)
	if err := detach(func(in *awsec2.DetachVolumeInput) { in.VolumeId = root }); err != nil {
		t.Error(err)
	}
	now.Advance(2 * time.Second)
	if _, err := c.StartInstances(t.Context(), &awsec2.StartInstancesInput{InstanceIds: []string{*id}}); code(err) != "InvalidParameterValue" {
		t.Errorf("StartInstances without a root volume = %v, want InvalidParameterValue", err)
	}
	must(attach(root, "/dev/sda1"))(t)
	must(attach(volume, "/dev/xvdb"))(t)
	must(c.StartInstances(t.Context(), &awsec2.StartInstancesInput{InstanceIds: []string{*id}}))(t)
	must(c.ModifyInstanceAttribute(t.Context(), &awsec2.ModifyInstanceAttributeInput{
		InstanceId: id, BlockDeviceMappings: []ec2types.InstanceBlockDeviceMappingSpecification{{
			DeviceName: aws.String("/dev/xvdb"), Ebs: &ec2types.EbsInstanceBlockDeviceSpecification{DeleteOnTermination: aws.Bool(true)},
		}},
	}))(t)
	must(c.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{*id}}))(t)
	left := srv.Resources(func(r ec2test.Resource) bool { return r.Type == "volume" && r.ID != *far })
	if len(left) != 1 || left[0].ID != *root {
		t.Errorf("volumes after the termination = %v, want only the root volume, which was attached by hand", left)
	}
}

func TestProfileAssociation(t *testing.T) {
	srv, c := start(t, nil)
	for _, name := range []string{"first", "second"} {
		srv.AddInstanceProfile(name)
	}
	named := func(name string) *ec2types.IamInstanceProfileSpecification {
		return &ec2types.IamInstanceProfileSpecification{Name: &name}
	}
	id := run(t, c, *ubuntu(t, c).ImageId, nil).InstanceId
	list := func() []ec2types.IamInstanceProfileAssociation {
		return must(c.DescribeIamInstanceProfileAssociations(t.Context(), &awsec2.DescribeIamInstanceProfileAssociationsInput{
			Filters: []ec2types.Filter{filter("instance-id", *id)},
		}))(t).IamInstanceProfileAssociations
	}
	associate := func(name string) (*awsec2.AssociateIamInstanceProfileOutput, error) {
		return c.AssociateIamInstanceProfile(t.Context(), &awsec2.AssociateIamInstanceProfileInput{InstanceId: id, IamInstanceProfile: named(name)})
	}
	if _, err := associate("none"); code(err) != "InvalidParameterValue" {
		t.Errorf("AssociateIamInstanceProfile of an unknown profile = %v, want InvalidParameterValue", err)
	}
	made := must(associate("first"))(t).IamInstanceProfileAssociation
	if made.State != "associating" || *made.InstanceId != *id {
		t.Errorf("AssociateIamInstanceProfile = %+v, want associating", made)
	}
	if _, err := associate("second"); code(err) != "IncorrectState" {
		t.Errorf("second AssociateIamInstanceProfile = %v, want IncorrectState", err)
	}
	if got := list(); len(got) != 1 || got[0].State != "associated" || *got[0].AssociationId != *made.AssociationId {
		t.Errorf("associations = %+v, want %s", got, *made.AssociationId)
	}
	replaced := must(c.ReplaceIamInstanceProfileAssociation(t.Context(), &awsec2.ReplaceIamInstanceProfileAssociationInput{
		AssociationId: made.AssociationId, IamInstanceProfile: named("second"),
	}))(t).IamInstanceProfileAssociation
	if got := *describe(t, c, *id).IamInstanceProfile.Arn; got != "arn:aws:iam::"+account+":instance-profile/second" {
		t.Errorf("profile of the instance = %s, want second", got)
	}
	in := &awsec2.DisassociateIamInstanceProfileInput{AssociationId: made.AssociationId}
	if _, err := c.DisassociateIamInstanceProfile(t.Context(), in); code(err) != "InvalidAssociationID.NotFound" {
		t.Errorf("DisassociateIamInstanceProfile of a replaced one = %v, want InvalidAssociationID.NotFound", err)
	}
	in.AssociationId = replaced.AssociationId
	must(c.DisassociateIamInstanceProfile(t.Context(), in))(t)
	if got := list(); len(got) != 0 || describe(t, c, *id).IamInstanceProfile != nil {
		t.Errorf("associations = %+v, want none", got)
	}
}

func TestLaunchTemplateData(t *testing.T) {
	_, c := start(t, nil)
	image := *ubuntu(t, c).ImageId
	id := run(t, c, image, func(in *awsec2.RunInstancesInput) { in.TagSpecifications = tagged("instance", "a", "b") }).InstanceId
	data := must(c.GetLaunchTemplateData(t.Context(), &awsec2.GetLaunchTemplateDataInput{InstanceId: id}))(t).LaunchTemplateData
	if *data.ImageId != image || data.InstanceType != "t3.micro" || len(data.BlockDeviceMappings) != 1 || len(data.NetworkInterfaces) != 1 || tagValue(data.TagSpecifications[0].Tags, "a") != "b" {
		t.Errorf("GetLaunchTemplateData = %+v, want the instance's data", data)
	}
	_, err := c.GetLaunchTemplateData(t.Context(), &awsec2.GetLaunchTemplateDataInput{InstanceId: aws.String("i-0123456789abcdef0")})
	if code(err) != "InvalidInstanceID.NotFound" {
		t.Errorf("GetLaunchTemplateData of an unknown instance = %v, want InvalidInstanceID.NotFound", err)
	}
}

func TestModifyRules(t *testing.T) {
	_, c := start(t, nil)
	group := must(c.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{GroupName: aws.String("web"), Description: aws.String("web")}))(t).GroupId
	permission := func(port int32, cidr string) ec2types.IpPermission {
		return ec2types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port, IpRanges: []ec2types.IpRange{{CidrIp: &cidr}}}
	}
	made := must(c.AuthorizeSecurityGroupIngress(t.Context(), &awsec2.AuthorizeSecurityGroupIngressInput{
		GroupId: group, IpPermissions: []ec2types.IpPermission{permission(80, "10.0.0.0/8"), permission(443, "10.0.0.0/8")},
	}))(t).SecurityGroupRules
	modify := func(rule *string, with *ec2types.SecurityGroupRuleRequest) error {
		_, err := c.ModifySecurityGroupRules(t.Context(), &awsec2.ModifySecurityGroupRulesInput{
			GroupId: group, SecurityGroupRules: []ec2types.SecurityGroupRuleUpdate{{SecurityGroupRuleId: rule, SecurityGroupRule: with}},
		})
		return err
	}
	open := func(port int32) *ec2types.SecurityGroupRuleRequest {
		return &ec2types.SecurityGroupRuleRequest{IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port, CidrIpv4: aws.String("10.0.0.0/8"), Description: aws.String("text")}
	}
	two := open(8080)
	two.CidrIpv6 = aws.String("::/0")
	for name, test := range map[string]struct {
		rule *string
		with *ec2types.SecurityGroupRuleRequest
		want string
	}{
		"of another": {made[0].SecurityGroupRuleId, open(443), "InvalidPermission.Duplicate"},
		"unknown":    {aws.String("sgr-0123456789abcdef0"), open(8080), "InvalidSecurityGroupRuleId.NotFound"},
		"two blocks": {made[0].SecurityGroupRuleId, two, "InvalidParameterCombination"},
		"right":      {made[0].SecurityGroupRuleId, open(8080), ""},
	} {
		if err := modify(test.rule, test.with); code(err) != test.want {
			t.Errorf("ModifySecurityGroupRules, %s = %v, want %q", name, err, test.want)
		}
	}
	must(c.UpdateSecurityGroupRuleDescriptionsIngress(t.Context(), &awsec2.UpdateSecurityGroupRuleDescriptionsIngressInput{
		GroupId: group, SecurityGroupRuleDescriptions: []ec2types.SecurityGroupRuleDescription{{SecurityGroupRuleId: made[1].SecurityGroupRuleId, Description: aws.String("other")}},
	}))(t)
	rules := must(c.DescribeSecurityGroupRules(t.Context(), &awsec2.DescribeSecurityGroupRulesInput{SecurityGroupRuleIds: []string{*made[0].SecurityGroupRuleId, *made[1].SecurityGroupRuleId}}))(t).SecurityGroupRules
	if *rules[0].FromPort != 8080 || *rules[0].Description != "text" || *rules[1].Description != "other" {
		t.Errorf("rules = %+v, want port 8080 with the text, and another description", rules)
	}
}

package ec2test_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
)

// Each type of volume has its own limits of size and IOPS, at creation, in a launch and
// when it is modified.
func TestVolumeLimits(t *testing.T) {
	_, c := start(t, nil)
	for _, v := range []struct {
		kind      ec2types.VolumeType
		gib, iops int32
		want      string
	}{
		{"st1", 124, 0, "InvalidParameterValue"}, {"st1", 125, 0, ""}, {"sc1", 20000, 0, "InvalidParameterValue"}, {"standard", 1025, 0, "InvalidParameterValue"},
		{"gp2", 16385, 0, "InvalidParameterValue"}, {"gp2", 16384, 0, ""}, {"gp3", 1, 3000, ""}, {"gp3", 6, 3001, "InvalidParameterValue"}, {"gp3", 7, 3500, ""},
		{"io1", 3, 100, "InvalidParameterValue"}, {"io1", 4, 99, "InvalidParameterValue"}, {"io1", 4, 201, "InvalidParameterValue"}, {"io1", 4, 200, ""}, {"io2", 4, 4000, ""}, {"io2", 4, 4001, "InvalidParameterValue"},
	} {
		in := &awsec2.CreateVolumeInput{AvailabilityZone: aws.String(region + "a"), VolumeType: v.kind, Size: &v.gib}
		if v.iops > 0 {
			in.Iops = &v.iops
		}
		if _, err := c.CreateVolume(t.Context(), in); code(err) != v.want {
			t.Errorf("CreateVolume of %d GiB %s with %d IOPS: %v, want %q", v.gib, v.kind, v.iops, err, v.want)
		}
	}
	made := must(c.CreateVolume(t.Context(), &awsec2.CreateVolumeInput{AvailabilityZone: aws.String(region + "a"), Size: aws.Int32(8), VolumeType: "gp3"}))(t)
	if _, err := c.ModifyVolume(t.Context(), &awsec2.ModifyVolumeInput{VolumeId: made.VolumeId, VolumeType: "st1"}); code(err) != "InvalidParameterValue" {
		t.Errorf("ModifyVolume of 8 GiB to st1: %v", err)
	}
	image := must(c.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{"amazon"}, Filters: []ec2types.Filter{filter("name", "al2023-ami-*-x86_64")}}))(t).Images[0]
	run := &awsec2.RunInstancesInput{ImageId: image.ImageId, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}
	run.BlockDeviceMappings = []ec2types.BlockDeviceMapping{{DeviceName: aws.String("/dev/sdf"), Ebs: &ec2types.EbsBlockDevice{VolumeType: "sc1", VolumeSize: aws.Int32(10)}}}
	if _, err := c.RunInstances(t.Context(), run); code(err) != "InvalidParameterValue" {
		t.Errorf("RunInstances with a small sc1 volume: %v", err)
	}
	run.BlockDeviceMappings, run.MetadataOptions = nil, &ec2types.InstanceMetadataOptionsRequest{HttpPutResponseHopLimit: aws.Int32(65)}
	if _, err := c.RunInstances(t.Context(), run); code(err) != "InvalidParameterValue" {
		t.Errorf("RunInstances with 65 hops: %v", err)
	}
}

func TestReservedGroupAndUnknownProtocol(t *testing.T) {
	_, c := start(t, nil)
	if _, err := c.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{GroupName: aws.String("default"), Description: aws.String("d")}); code(err) != "InvalidParameterValue" {
		t.Errorf("CreateSecurityGroup default: %v", err)
	}
	group := must(c.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{GroupName: aws.String("g"), Description: aws.String("d")}))(t)
	for protocol, want := range map[string]string{"foo": "InvalidParameterValue", "256": "InvalidParameterValue", "50": "", "icmpv6": ""} {
		_, err := c.AuthorizeSecurityGroupIngress(t.Context(), &awsec2.AuthorizeSecurityGroupIngressInput{
			GroupId: group.GroupId, IpProtocol: &protocol, FromPort: aws.Int32(-1), ToPort: aws.Int32(-1), CidrIp: aws.String("10.0.0.0/8"),
		})
		if code(err) != want {
			t.Errorf("protocol %s: %v, want %q", protocol, err, want)
		}
	}
}

// Deleted versions leave gaps: numbers are not used again.
func TestDeleteLaunchTemplateVersions(t *testing.T) {
	_, c := start(t, nil)
	name := aws.String("web")
	must(c.CreateLaunchTemplate(t.Context(), &awsec2.CreateLaunchTemplateInput{LaunchTemplateName: name, LaunchTemplateData: &ec2types.RequestLaunchTemplateData{InstanceType: "t3.micro"}}))(t)
	add := func() int64 {
		out := must(c.CreateLaunchTemplateVersion(t.Context(), &awsec2.CreateLaunchTemplateVersionInput{LaunchTemplateName: name, SourceVersion: aws.String("$Latest"), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{InstanceType: "t3.small"}}))(t)
		return *out.LaunchTemplateVersion.VersionNumber
	}
	add()
	add()
	out := must(c.DeleteLaunchTemplateVersions(t.Context(), &awsec2.DeleteLaunchTemplateVersionsInput{LaunchTemplateName: name, Versions: []string{"1", "3", "9"}}))(t)
	var got []string
	for _, v := range out.SuccessfullyDeletedLaunchTemplateVersions {
		got = append(got, fmt.Sprint("deleted ", *v.VersionNumber))
	}
	for _, v := range out.UnsuccessfullyDeletedLaunchTemplateVersions {
		got = append(got, fmt.Sprint("kept ", *v.VersionNumber, " ", v.ResponseError.Code))
	}
	if diff := cmp.Diff([]string{"deleted 3", "kept 1 unexpectedError", "kept 9 launchTemplateVersionDoesNotExist"}, got); diff != "" {
		t.Errorf("DeleteLaunchTemplateVersions (-want +got):\n%s", diff)
	}
	if n := add(); n != 4 {
		t.Errorf("the next version is %d, want 4", n)
	}
	versions := must(c.DescribeLaunchTemplateVersions(t.Context(), &awsec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateName: name}))(t)
	var numbers []int64
	for _, v := range versions.LaunchTemplateVersions {
		numbers = append(numbers, *v.VersionNumber)
	}
	if diff := cmp.Diff([]int64{4, 2, 1}, numbers); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
	if _, err := c.DescribeLaunchTemplateVersions(t.Context(), &awsec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateName: name, Versions: []string{"3"}}); code(err) != "InvalidLaunchTemplateId.VersionNotFound" {
		t.Errorf("version 3: %v", err)
	}
}

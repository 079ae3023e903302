package ec2test_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// Filters by what a description shows find the resource, and others do not.
func TestFiltersByDescription(t *testing.T) {
	_, c := start(t, nil)
	image := must(c.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{"amazon"}, Filters: []ec2types.Filter{filter("name", "al2023-ami-*-x86_64")}}))(t).Images[0]
	run := must(c.RunInstances(t.Context(), &awsec2.RunInstancesInput{
		ImageId: image.ImageId, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		MetadataOptions: &ec2types.InstanceMetadataOptionsRequest{HttpTokens: "required", HttpPutResponseHopLimit: aws.Int32(2)},
	}))(t).Instances[0]
	instance := must(c.DescribeInstances(t.Context(), &awsec2.DescribeInstancesInput{InstanceIds: []string{*run.InstanceId}}))(t).Reservations[0].Instances[0]
	nic := instance.NetworkInterfaces[0]
	for _, f := range []struct{ name, value, other string }{
		{"monitoring-state", "disabled", "enabled"}, {"hypervisor", string(instance.Hypervisor), "ovm"}, {"platform-details", "Linux/UNIX", "Windows"},
		{"ebs-optimized", "false", "true"}, {"ena-support", "true", "false"}, {"source-dest-check", "true", "false"}, {"usage-operation", "RunInstances", "RunInstances:0002"},
		{"block-device-mapping.status", "attached", "detaching"}, {"block-device-mapping.delete-on-termination", "true", "false"},
		{"metadata-options.http-endpoint", "enabled", "disabled"}, {"metadata-options.http-put-response-hop-limit", "2", "1"},
		{"metadata-options.state", "applied", "pending"}, {"metadata-options.instance-metadata-tags", "disabled", "enabled"},
		{"network-interface.network-interface-id", *nic.NetworkInterfaceId, "eni-0123456789abcdef0"}, {"network-interface.status", "in-use", "available"},
		{"network-interface.addresses.private-ip-address", *instance.PrivateIpAddress, "192.0.2.1"}, {"network-interface.mac-address", *nic.MacAddress, "02:00:00:00:00:00"},
		{"network-interface.addresses.association.public-ip", *instance.PublicIpAddress, "192.0.2.1"}, {"network-interface.addresses.primary", "true", "false"},
		{"network-interface.attachment.status", "attached", "detaching"}, {"private-dns-name-options.hostname-type", "ip-name", "resource-name"},
		{"platform", "", "windows"}, {"kernel-id", "", "aki-1"}, {"product-code", "", "x"}, {"host-id", "", "h-1"}, {"iam-instance-profile.id", "", "AIPA"},
	} {
		for value, want := range map[string]int{f.value: 1, f.other: 0} {
			if value == "" {
				continue
			}
			out := must(c.DescribeInstances(t.Context(), &awsec2.DescribeInstancesInput{Filters: []ec2types.Filter{filter(f.name, value)}}))(t)
			if len(out.Reservations) != want {
				t.Errorf("DescribeInstances with %s=%s returned %d instances, want %d", f.name, value, len(out.Reservations), want)
			}
		}
	}
	for name, value := range map[string]string{
		"association.public-ip": *instance.PublicIpAddress, "private-dns-name": *instance.PrivateDnsName, "interface-type": "interface", "attachment.status": "attached",
		"attachment.device-index": "0", "source-dest-check": "true", "availability-zone-id": *instance.Placement.AvailabilityZoneId,
	} {
		out := must(c.DescribeNetworkInterfaces(t.Context(), &awsec2.DescribeNetworkInterfacesInput{Filters: []ec2types.Filter{filter(name, value)}}))(t)
		if len(out.NetworkInterfaces) != 1 {
			t.Errorf("DescribeNetworkInterfaces with %s=%s returned %d, want 1", name, value, len(out.NetworkInterfaces))
		}
	}
	volumes := must(c.DescribeVolumes(t.Context(), &awsec2.DescribeVolumesInput{Filters: []ec2types.Filter{filter("multi-attach-enabled", "false"), filter("availability-zone-id", *instance.Placement.AvailabilityZoneId)}}))(t)
	if len(volumes.Volumes) != 1 {
		t.Errorf("DescribeVolumes returned %d, want 1", len(volumes.Volumes))
	}
	if out := must(c.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{ImageIds: []string{*image.ImageId}, Filters: []ec2types.Filter{filter("platform", "windows")}}))(t); len(out.Images) != 0 {
		t.Errorf("Amazon Linux is found as Windows")
	}
}

// Filters of security groups by parts of their rules.
func TestFiltersByRules(t *testing.T) {
	_, c := start(t, nil)
	made := must(c.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{GroupName: aws.String("web"), Description: aws.String("web")}))(t)
	permission := ec2types.IpPermission{
		IpProtocol: aws.String("tcp"), FromPort: aws.Int32(8443), ToPort: aws.Int32(8444),
		IpRanges: []ec2types.IpRange{{CidrIp: aws.String("198.51.100.0/24")}}, Ipv6Ranges: []ec2types.Ipv6Range{{CidrIpv6: aws.String("2001:db8::/32")}},
		UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: made.GroupId}},
	}
	must(c.AuthorizeSecurityGroupIngress(t.Context(), &awsec2.AuthorizeSecurityGroupIngressInput{GroupId: made.GroupId, IpPermissions: []ec2types.IpPermission{permission}}))(t)
	must(c.AuthorizeSecurityGroupEgress(t.Context(), &awsec2.AuthorizeSecurityGroupEgressInput{GroupId: made.GroupId, IpPermissions: []ec2types.IpPermission{permission}}))(t)
	for _, direction := range []string{"", "egress."} {
		for _, f := range []struct {
			name, value string
			want        int
		}{
			{"cidr", "198.51.100.0/24", 1}, {"cidr", "2001:db8::/32", 0}, {"ipv6-cidr", "2001:db8::/32", 1}, {"from-port", "8443", 1}, {"to-port", "8444", 1},
			{"group-id", *made.GroupId, 1}, {"group-name", "web", 1}, {"user-id", "123456789012", map[string]int{"": 2, "egress.": 1}[direction]}, {"prefix-list-id", "pl-1", 0},
		} {
			name := direction + "ip-permission." + f.name
			out := must(c.DescribeSecurityGroups(t.Context(), &awsec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{filter(name, f.value)}}))(t)
			if len(out.SecurityGroups) != f.want {
				t.Errorf("DescribeSecurityGroups with %s=%s returned %d groups, want %d", name, f.value, len(out.SecurityGroups), f.want)
			}
		}
	}
}

// Metadata options and detailed monitoring change on instances that run.
func TestModifyInstanceOptions(t *testing.T) {
	_, c := start(t, nil)
	image := must(c.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{"amazon"}, Filters: []ec2types.Filter{filter("name", "al2023-ami-*-x86_64")}}))(t).Images[0]
	id := must(c.RunInstances(t.Context(), &awsec2.RunInstancesInput{ImageId: image.ImageId, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}))(t).Instances[0].InstanceId
	changed := must(c.ModifyInstanceMetadataOptions(t.Context(), &awsec2.ModifyInstanceMetadataOptionsInput{InstanceId: id, HttpTokens: "required", HttpPutResponseHopLimit: aws.Int32(3)}))(t)
	if o := changed.InstanceMetadataOptions; o.State != "pending" || o.HttpTokens != "required" || *o.HttpPutResponseHopLimit != 3 || o.HttpEndpoint != "enabled" {
		t.Errorf("ModifyInstanceMetadataOptions = %+v", o)
	}
	if _, err := c.ModifyInstanceMetadataOptions(t.Context(), &awsec2.ModifyInstanceMetadataOptionsInput{InstanceId: id, HttpPutResponseHopLimit: aws.Int32(65)}); code(err) != "InvalidParameterValue" {
		t.Errorf("65 hops: %v", err)
	}
	monitored := must(c.MonitorInstances(t.Context(), &awsec2.MonitorInstancesInput{InstanceIds: []string{*id}}))(t)
	if state := monitored.InstanceMonitorings[0].Monitoring.State; state != "pending" {
		t.Errorf("MonitorInstances = %s", state)
	}
	got := must(c.DescribeInstances(t.Context(), &awsec2.DescribeInstancesInput{InstanceIds: []string{*id}}))(t).Reservations[0].Instances[0]
	if got.MetadataOptions.State != "applied" || got.MetadataOptions.HttpTokens != "required" || got.Monitoring.State != "enabled" {
		t.Errorf("instance has %+v, monitoring %s", got.MetadataOptions, got.Monitoring.State)
	}
	must(c.UnmonitorInstances(t.Context(), &awsec2.UnmonitorInstancesInput{InstanceIds: []string{*id}}))(t)
}

// A role that a server's own profile has takes policies, as others do.
func TestPolicyOfAddedProfile(t *testing.T) {
	srv, _ := start(t, nil)
	srv.AddInstanceProfile("web")
	client := iam.NewFromConfig(srv.Config(region))
	must(client.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("web"), PolicyName: aws.String("read"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`)}))(t)
	if out := must(client.ListRolePolicies(t.Context(), &iam.ListRolePoliciesInput{RoleName: aws.String("web")}))(t); len(out.PolicyNames) != 1 {
		t.Errorf("ListRolePolicies = %v", out.PolicyNames)
	}
}

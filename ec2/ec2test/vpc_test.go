package ec2test_test

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestAddVPC(t *testing.T) {
	srv, c := start(t, nil)
	vpc, subnets := srv.AddVPC(region)
	if second, others := srv.AddVPC(region); second == vpc || len(subnets) != 6 || slices.Equal(subnets, others) {
		t.Fatalf("AddVPC = %s %v and %s %v, want different VPCs with six subnets each", vpc, subnets, second, others)
	}
	if got, _ := srv.AddVPC("nowhere-1"); got != "" {
		t.Errorf("AddVPC in an unknown region = %s, want none", got)
	}
	found := must(c.DescribeSubnets(t.Context(), &awsec2.DescribeSubnetsInput{
		Filters: []ec2types.Filter{filter("vpc-id", vpc), filter("map-public-ip-on-launch", "false"), filter("default-for-az", "false")},
	}))(t).Subnets
	if len(found) != 6 {
		t.Errorf("DescribeSubnets returned %d private subnets of %s, want 6", len(found), vpc)
	}
	group := func(name string, in *string) string {
		t.Helper()
		return *must(c.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{GroupName: aws.String(name), Description: aws.String("text"), VpcId: in}))(t).GroupId
	}
	here, there := group("bake", nil), group("bake", aws.String(vpc))

	launch := func(change func(*awsec2.RunInstancesInput)) (ec2types.Instance, error) {
		in := &awsec2.RunInstancesInput{ImageId: ubuntu(t, c).ImageId, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1), SubnetId: &subnets[1]}
		change(in)
		out, err := c.RunInstances(t.Context(), in)
		if err != nil {
			return ec2types.Instance{}, err
		}
		return describe(t, c, *out.Instances[0].InstanceId), nil
	}
	for name, test := range map[string]struct {
		change func(*awsec2.RunInstancesInput)
		want   string
	}{
		"a group of another VPC": {func(in *awsec2.RunInstancesInput) { in.SecurityGroupIds = []string{here} }, "InvalidParameter"},
		"a group by name":        {func(in *awsec2.RunInstancesInput) { in.SecurityGroups = []string{"bake"} }, "InvalidParameterCombination"},
		"another zone than the subnet's": {func(in *awsec2.RunInstancesInput) {
			in.Placement = &ec2types.Placement{AvailabilityZone: aws.String(region + "a")}
		}, "InvalidParameterCombination"},
	} {
		if _, err := launch(test.change); code(err) != test.want {
			t.Errorf("RunInstances with %s = %v, want %s", name, err, test.want)
		}
	}
	inst, err := launch(func(in *awsec2.RunInstancesInput) { in.SecurityGroupIds = []string{there} })
	if err != nil || *inst.VpcId != vpc || inst.PublicIpAddress != nil {
		t.Errorf("RunInstances in the other VPC: %v, VPC %s with address %s, want %s without", err, aws.ToString(inst.VpcId), aws.ToString(inst.PublicIpAddress), vpc)
	}
	inst, err = launch(func(in *awsec2.RunInstancesInput) {
		in.SubnetId = nil
		in.NetworkInterfaces = []ec2types.InstanceNetworkInterfaceSpecification{{
			DeviceIndex: aws.Int32(0), SubnetId: &subnets[0], AssociatePublicIpAddress: aws.Bool(true),
		}}
	})
	if err != nil || inst.PublicIpAddress == nil || *inst.SecurityGroups[0].GroupName != "default" || *inst.SecurityGroups[0].GroupId == here {
		t.Errorf("RunInstances with a public address: %v, %+v", err, inst)
	}
	_, err = c.ModifyInstanceAttribute(t.Context(), &awsec2.ModifyInstanceAttributeInput{InstanceId: inst.InstanceId, Groups: []string{here}})
	if code(err) != "InvalidParameter" {
		t.Errorf("ModifyInstanceAttribute with a group of another VPC = %v, want InvalidParameter", err)
	}
}

package ec2test_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

func tagged(resource ec2types.ResourceType, key, value string) []ec2types.TagSpecification {
	return []ec2types.TagSpecification{{ResourceType: resource, Tags: []ec2types.Tag{{Key: &key, Value: &value}}}}
}

func newVPC(t *testing.T, c *awsec2.Client, cidr string) string {
	t.Helper()
	return *must(c.CreateVpc(t.Context(), &awsec2.CreateVpcInput{CidrBlock: &cidr}))(t).Vpc.VpcId
}

func newSubnet(t *testing.T, c *awsec2.Client, vpc, cidr string) string {
	t.Helper()
	return *must(c.CreateSubnet(t.Context(), &awsec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: &cidr}))(t).Subnet.SubnetId
}

// A network built by calls works like the default one: an instance in it is
// reachable once its subnet has a route to the internet, and everything can be
// removed again.
func TestBuildNetwork(t *testing.T) {
	srv, c := start(t, nil)
	made := must(c.CreateVpc(t.Context(), &awsec2.CreateVpcInput{CidrBlock: aws.String("10.1.2.3/16"), TagSpecifications: tagged("vpc", "Name", "bake")}))(t).Vpc
	vpc := *made.VpcId
	if *made.CidrBlock != "10.1.0.0/16" || made.State != "pending" || tagValue(made.Tags, "Name") != "bake" || len(made.CidrBlockAssociationSet) != 1 {
		t.Errorf("CreateVpc = %+v, want 10.1.0.0/16, pending and tagged", made)
	}
	vpcs := must(c.DescribeVpcs(t.Context(), &awsec2.DescribeVpcsInput{Filters: []ec2types.Filter{filter("tag:Name", "bake"), filter("is-default", "false")}}))(t).Vpcs
	if len(vpcs) != 1 || *vpcs[0].VpcId != vpc {
		t.Errorf("DescribeVpcs by tag = %+v, want %s", vpcs, vpc)
	}
	for attribute, want := range map[ec2types.VpcAttributeName]bool{"enableDnsSupport": true, "enableDnsHostnames": false} {
		out := must(c.DescribeVpcAttribute(t.Context(), &awsec2.DescribeVpcAttributeInput{VpcId: &vpc, Attribute: attribute}))(t)
		for _, value := range []*ec2types.AttributeBooleanValue{out.EnableDnsSupport, out.EnableDnsHostnames} {
			if value != nil && *value.Value != want {
				t.Errorf("DescribeVpcAttribute of %s = %v, want %v", attribute, *value.Value, want)
			}
		}
	}
	inVPC := []ec2types.Filter{filter("vpc-id", vpc)}
	groups := must(c.DescribeSecurityGroups(t.Context(), &awsec2.DescribeSecurityGroupsInput{Filters: inVPC}))(t).SecurityGroups
	tables := must(c.DescribeRouteTables(t.Context(), &awsec2.DescribeRouteTablesInput{Filters: inVPC}))(t).RouteTables
	if len(groups) != 1 || *groups[0].GroupName != "default" || len(tables) != 1 || !*tables[0].Associations[0].Main || *tables[0].Routes[0].GatewayId != "local" {
		t.Fatalf("a new VPC has the groups %+v and route tables %+v, want the default and the main one", groups, tables)
	}
	subnet := newSubnet(t, c, vpc, "10.1.4.0/24")
	must(c.ModifySubnetAttribute(t.Context(), &awsec2.ModifySubnetAttributeInput{SubnetId: &subnet, MapPublicIpOnLaunch: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}}))(t)
	group := must(c.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{GroupName: aws.String("ssh"), Description: aws.String("ssh"), VpcId: &vpc}))(t).GroupId
	must(c.AuthorizeSecurityGroupIngress(t.Context(), &awsec2.AuthorizeSecurityGroupIngressInput{
		GroupId: group, IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), CidrIp: aws.String("0.0.0.0/0"),
	}))(t)
	inst := run(t, c, *ubuntu(t, c).ImageId, func(in *awsec2.RunInstancesInput) { in.SubnetId, in.SecurityGroupIds = &subnet, []string{*group} })
	inst = describe(t, c, *inst.InstanceId)
	if !strings.HasPrefix(*inst.PrivateIpAddress, "10.1.4.") || inst.PublicIpAddress == nil || aws.ToString(inst.PublicDnsName) != "" {
		t.Fatalf("instance has the addresses %v and %v and the name %v, want both addresses and no name", *inst.PrivateIpAddress, inst.PublicIpAddress, inst.PublicDnsName)
	}
	reach := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		conn, err := srv.Dial(ctx, "tcp", *inst.PublicIpAddress+":22")
		if err == nil {
			return conn.Close()
		}
		return err
	}
	if err := reach(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial without a route to the internet = %v, want a timeout", err)
	}

	gateway := must(c.CreateInternetGateway(t.Context(), &awsec2.CreateInternetGatewayInput{TagSpecifications: tagged("internet-gateway", "a", "b")}))(t).InternetGateway.InternetGatewayId
	must(c.AttachInternetGateway(t.Context(), &awsec2.AttachInternetGatewayInput{InternetGatewayId: gateway, VpcId: &vpc}))(t)
	table := must(c.CreateRouteTable(t.Context(), &awsec2.CreateRouteTableInput{VpcId: &vpc}))(t).RouteTable.RouteTableId
	must(c.CreateRoute(t.Context(), &awsec2.CreateRouteInput{RouteTableId: table, DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: gateway}))(t)
	association := must(c.AssociateRouteTable(t.Context(), &awsec2.AssociateRouteTableInput{RouteTableId: table, SubnetId: &subnet}))(t).AssociationId
	if err := reach(); err != nil {
		t.Errorf("Dial with a route to the internet = %v, want nil", err)
	}

	in := &awsec2.DetachInternetGatewayInput{InternetGatewayId: gateway, VpcId: &vpc}
	if _, err := c.DetachInternetGateway(t.Context(), in); code(err) != "DependencyViolation" {
		t.Errorf("DetachInternetGateway of a VPC with public addresses = %v, want DependencyViolation", err)
	}
	remove := []func() error{
		func() error {
			_, err := c.DeleteSubnet(t.Context(), &awsec2.DeleteSubnetInput{SubnetId: &subnet})
			return err
		},
		func() error {
			_, err := c.DeleteInternetGateway(t.Context(), &awsec2.DeleteInternetGatewayInput{InternetGatewayId: gateway})
			return err
		},
		func() error {
			_, err := c.DeleteRouteTable(t.Context(), &awsec2.DeleteRouteTableInput{RouteTableId: table})
			return err
		},
		func() error {
			_, err := c.DeleteSecurityGroup(t.Context(), &awsec2.DeleteSecurityGroupInput{GroupId: group})
			return err
		},
		func() error {
			_, err := c.DeleteVpc(t.Context(), &awsec2.DeleteVpcInput{VpcId: &vpc})
			return err
		},
	}
	for i, f := range remove {
		if err := f(); code(err) != "DependencyViolation" {
			t.Errorf("removal %d while it is in use = %v, want DependencyViolation", i, err)
		}
	}
	must(c.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{*inst.InstanceId}}))(t)
	must(c.DetachInternetGateway(t.Context(), in))(t)
	found := must(c.DescribeRouteTables(t.Context(), &awsec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{filter("route.state", "blackhole")}}))(t).RouteTables
	if len(found) != 1 || *found[0].RouteTableId != *table {
		t.Errorf("route tables with a blackhole = %+v, want %s", found, *table)
	}
	must(c.DisassociateRouteTable(t.Context(), &awsec2.DisassociateRouteTableInput{AssociationId: association}))(t)
	for i, f := range remove {
		if err := f(); err != nil {
			t.Errorf("removal %d = %v, want nil", i, err)
		}
	}
	if left := srv.Leftovers(); len(left) != 0 {
		t.Errorf("Leftovers = %q, want none", left)
	}
}

func TestNetworkErrors(t *testing.T) {
	_, c := start(t, nil)
	vpc, other := newVPC(t, c, "10.0.0.0/16"), newVPC(t, c, "10.0.0.0/16")
	subnet, elsewhere := newSubnet(t, c, vpc, "10.0.0.0/24"), newSubnet(t, c, other, "10.0.0.0/24")
	gateway := func() *string {
		return must(c.CreateInternetGateway(t.Context(), nil))(t).InternetGateway.InternetGatewayId
	}
	attached, free := gateway(), gateway()
	must(c.AttachInternetGateway(t.Context(), &awsec2.AttachInternetGatewayInput{InternetGatewayId: attached, VpcId: &vpc}))(t)
	table := must(c.CreateRouteTable(t.Context(), &awsec2.CreateRouteTableInput{VpcId: &vpc}))(t).RouteTable.RouteTableId
	must(c.CreateRoute(t.Context(), &awsec2.CreateRouteInput{RouteTableId: table, DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: attached}))(t)
	main := must(c.DescribeRouteTables(t.Context(), &awsec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{filter("vpc-id", vpc), filter("association.main", "true")}}))(t).RouteTables[0]

	createVPC := func(cidr string) func() error {
		return func() error {
			_, err := c.CreateVpc(t.Context(), &awsec2.CreateVpcInput{CidrBlock: &cidr})
			return err
		}
	}
	createSubnet := func(cidr string) func() error {
		return func() error {
			_, err := c.CreateSubnet(t.Context(), &awsec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: &cidr})
			return err
		}
	}
	createRoute := func(to string, gateway *string) func() error {
		return func() error {
			_, err := c.CreateRoute(t.Context(), &awsec2.CreateRouteInput{RouteTableId: table, DestinationCidrBlock: &to, GatewayId: gateway})
			return err
		}
	}
	for _, test := range []struct {
		what string
		call func() error
		want string
	}{
		{"CreateVpc without a block", func() error { _, err := c.CreateVpc(t.Context(), nil); return err }, "MissingParameter"},
		{"CreateVpc of a /15", createVPC("10.0.0.0/15"), "InvalidVpc.Range"},
		{"CreateVpc of a /29", createVPC("10.0.0.0/29"), "InvalidVpc.Range"},
		{"CreateVpc of loopback addresses", createVPC("127.0.0.0/16"), "InvalidVpc.Range"},
		{"CreateVpc of no block", createVPC("10.0.0.0"), "InvalidParameterValue"},
		{"CreateVpc, dry run", func() error {
			_, err := c.CreateVpc(t.Context(), &awsec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), DryRun: aws.Bool(true)})
			return err
		}, "DryRunOperation"},
		{"DescribeVpcs of an unknown id", func() error {
			_, err := c.DescribeVpcs(t.Context(), &awsec2.DescribeVpcsInput{VpcIds: []string{"vpc-0123456789abcdef0"}})
			return err
		}, "InvalidVpcID.NotFound"},
		{"DescribeVpcs of a malformed id", func() error {
			_, err := c.DescribeVpcs(t.Context(), &awsec2.DescribeVpcsInput{VpcIds: []string{"vpc-x"}})
			return err
		}, "InvalidVpcId.Malformed"},
		{"CreateSubnet outside of the VPC", createSubnet("10.1.0.0/24"), "InvalidSubnet.Range"},
		{"CreateSubnet of a /29", createSubnet("10.0.1.0/29"), "InvalidSubnet.Range"},
		{"CreateSubnet in another", createSubnet("10.0.0.128/25"), "InvalidSubnet.Conflict"},
		{"CreateSubnet in an unknown zone", func() error {
			_, err := c.CreateSubnet(t.Context(), &awsec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: aws.String("10.0.1.0/24"), AvailabilityZone: aws.String("mars-1a")})
			return err
		}, "InvalidParameterValue"},
		{"AttachInternetGateway twice", func() error {
			_, err := c.AttachInternetGateway(t.Context(), &awsec2.AttachInternetGatewayInput{InternetGatewayId: attached, VpcId: &other})
			return err
		}, "Resource.AlreadyAssociated"},
		{"AttachInternetGateway of a second one", func() error {
			_, err := c.AttachInternetGateway(t.Context(), &awsec2.AttachInternetGatewayInput{InternetGatewayId: free, VpcId: &vpc})
			return err
		}, "InvalidParameterValue"},
		{"DetachInternetGateway of a free one", func() error {
			_, err := c.DetachInternetGateway(t.Context(), &awsec2.DetachInternetGatewayInput{InternetGatewayId: free, VpcId: &vpc})
			return err
		}, "Gateway.NotAttached"},
		{"CreateRoute twice", createRoute("0.0.0.0/0", attached), "RouteAlreadyExists"},
		{"CreateRoute to the VPC's own block", createRoute("10.0.0.0/16", attached), "RouteAlreadyExists"},
		{"CreateRoute to a gateway elsewhere", createRoute("8.0.0.0/8", free), "InvalidParameterValue"},
		{"CreateRoute without a target", createRoute("8.0.0.0/8", nil), "MissingParameter"},
		{"ReplaceRoute of none", func() error {
			_, err := c.ReplaceRoute(t.Context(), &awsec2.ReplaceRouteInput{RouteTableId: table, DestinationCidrBlock: aws.String("8.0.0.0/8"), GatewayId: attached})
			return err
		}, "InvalidParameterValue"},
		{"DeleteRoute of none", func() error {
			_, err := c.DeleteRoute(t.Context(), &awsec2.DeleteRouteInput{RouteTableId: table, DestinationCidrBlock: aws.String("8.0.0.0/8")})
			return err
		}, "InvalidRoute.NotFound"},
		{"DeleteRoute of the local one", func() error {
			_, err := c.DeleteRoute(t.Context(), &awsec2.DeleteRouteInput{RouteTableId: table, DestinationCidrBlock: aws.String("10.0.0.0/16")})
			return err
		}, "InvalidParameterValue"},
		{"AssociateRouteTable with a subnet elsewhere", func() error {
			_, err := c.AssociateRouteTable(t.Context(), &awsec2.AssociateRouteTableInput{RouteTableId: table, SubnetId: &elsewhere})
			return err
		}, "InvalidParameterValue"},
		{"DisassociateRouteTable of the main one", func() error {
			_, err := c.DisassociateRouteTable(t.Context(), &awsec2.DisassociateRouteTableInput{AssociationId: main.Associations[0].RouteTableAssociationId})
			return err
		}, "InvalidParameterValue"},
		{"DeleteRouteTable of the main one", func() error {
			_, err := c.DeleteRouteTable(t.Context(), &awsec2.DeleteRouteTableInput{RouteTableId: main.RouteTableId})
			return err
		}, "DependencyViolation"},
		{"DeleteSubnet, dry run", func() error {
			_, err := c.DeleteSubnet(t.Context(), &awsec2.DeleteSubnetInput{SubnetId: &subnet, DryRun: aws.Bool(true)})
			return err
		}, "DryRunOperation"},
		{"ModifyVpcAttribute of two", func() error {
			on := &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}
			_, err := c.ModifyVpcAttribute(t.Context(), &awsec2.ModifyVpcAttributeInput{VpcId: &vpc, EnableDnsHostnames: on, EnableDnsSupport: on})
			return err
		}, "InvalidParameterCombination"},
		{"CreateDefaultVpc beside one", func() error { _, err := c.CreateDefaultVpc(t.Context(), nil); return err }, "DefaultVpcAlreadyExists"},
	} {
		if err := test.call(); code(err) != test.want {
			t.Errorf("%s = %v, want %s", test.what, err, test.want)
		}
	}
}

// The default VPC can be deleted with its parts, and created again.
func TestDefaultVPCAgain(t *testing.T) {
	srv, c := start(t, nil)
	byDefault := []ec2types.Filter{filter("is-default", "true")}
	vpc := must(c.DescribeVpcs(t.Context(), &awsec2.DescribeVpcsInput{Filters: byDefault}))(t).Vpcs[0].VpcId
	inVPC := []ec2types.Filter{filter("vpc-id", *vpc)}
	for _, s := range must(c.DescribeSubnets(t.Context(), &awsec2.DescribeSubnetsInput{Filters: inVPC}))(t).Subnets {
		must(c.DeleteSubnet(t.Context(), &awsec2.DeleteSubnetInput{SubnetId: s.SubnetId}))(t)
	}
	launch := func() error {
		_, err := c.RunInstances(t.Context(), &awsec2.RunInstancesInput{ImageId: ubuntu(t, c).ImageId, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
		return err
	}
	if err := launch(); code(err) != "MissingInput" {
		t.Errorf("RunInstances in a default VPC without subnets = %v, want MissingInput", err)
	}
	gateway := must(c.DescribeInternetGateways(t.Context(), &awsec2.DescribeInternetGatewaysInput{Filters: []ec2types.Filter{filter("attachment.vpc-id", *vpc)}}))(t).InternetGateways[0].InternetGatewayId
	must(c.DetachInternetGateway(t.Context(), &awsec2.DetachInternetGatewayInput{InternetGatewayId: gateway, VpcId: vpc}))(t)
	must(c.DeleteInternetGateway(t.Context(), &awsec2.DeleteInternetGatewayInput{InternetGatewayId: gateway}))(t)
	must(c.DeleteVpc(t.Context(), &awsec2.DeleteVpcInput{VpcId: vpc}))(t)
	if err := launch(); code(err) != "VPCIdNotSpecified" {
		t.Errorf("RunInstances without a default VPC = %v, want VPCIdNotSpecified", err)
	}
	again := must(c.CreateDefaultVpc(t.Context(), nil))(t).Vpc
	if !*again.IsDefault {
		t.Errorf("CreateDefaultVpc = %+v, want the default", again)
	}
	if err := launch(); err != nil {
		t.Errorf("RunInstances in a new default VPC = %v, want nil", err)
	}
	networks := srv.Resources(func(r ec2test.Resource) bool {
		return r.Type == "vpc" || r.Type == "subnet" || r.Type == "internet-gateway"
	})
	if len(networks) != 0 {
		t.Errorf("Resources with the default VPC = %v, want none", networks)
	}
}

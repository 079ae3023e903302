package ec2_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// Show in a pull request what a definition would do. Nothing is created.
// BakePlan.WriteText writes the whole plan.
func ExamplePlan() {
	server := ec2test.New(nil)
	defer server.Close()
	web := &bake.Image{
		Name: "web",
		Builder: ec2.Builder{
			Cloud:      ec2.NewCloud(server.Config("eu-west-1"), &ec2.CloudOptions{SourceAddress: server.SourceAddress}),
			Source:     ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"},
			AMIName:    "web 7",
			Distribute: ec2.Distribution{Copies: ec2.CopyTo("us-east-1")},
		},
	}
	plan, err := ec2.Plan(context.Background(), web)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range plan.Images[0].Creates {
		fmt.Printf("%s %s in %s, stays: %t\n", r.Kind, r.Name, r.Region, r.Stays)
	}
	// Output:
	// security group for SSH from the baking host in eu-west-1, stays: false
	// instance bakestone web in eu-west-1, stays: false
	// image web 7 in eu-west-1, stays: true
	// image web 7 in us-east-1, stays: true
}

// Test that a definition needs no more permissions than the role that bakes it
// has. Printed, the policy is JSON for IAM.
func ExamplePolicy() {
	server := ec2test.New(nil)
	defer server.Close()
	cloud := ec2.NewCloud(server.Config("eu-west-1"), nil)
	web := &bake.Image{
		Name:    "web",
		Builder: ec2.Builder{Cloud: cloud, Source: ec2.ImageID("ami-0123456789abcdef0"), Network: ec2.Network{SecurityGroups: []string{"builders"}}},
	}
	for _, action := range ec2.Policy(cloud, web).Actions() {
		if !strings.HasPrefix(action, "ec2:Describe") {
			fmt.Println(action)
		}
	}
	// Output:
	// ec2:CreateImage
	// ec2:CreateTags
	// ec2:DeleteSnapshot
	// ec2:DeleteTags
	// ec2:DeregisterImage
	// ec2:ModifyImageAttribute
	// ec2:RunInstances
	// ec2:StopInstances
	// ec2:TerminateInstances
	// sts:DecodeAuthorizationMessage
}

// Share an image with an organization and another account, in three regions with
// different encryption keys, and deprecate it after 90 days.
func ExampleDistribution() {
	server := ec2test.New(nil)
	defer server.Close()
	copies := ec2.CopyTo("us-east-1", "ap-south-1")
	for i := range copies {
		copies[i].KMSKey = server.AddKey(copies[i].Region, "alias/images")
	}
	base := &bake.Image{
		Name: "base",
		Builder: ec2.Builder{
			Cloud: ec2.NewCloud(server.Config("eu-west-1"), &ec2.CloudOptions{
				Dial: server.Dial, SourceAddress: server.SourceAddress, NoCallLimits: true,
			}),
			Source:       ec2.ParameterName("/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"),
			BlockDevices: []ec2.BlockDevice{{SizeGiB: 20, KMSKey: server.AddKey("eu-west-1", "alias/images")}},
			Distribute: ec2.Distribution{
				Copies: copies,
				LaunchPermissions: ec2.Permissions{
					Accounts:      []string{"210987654321"},
					Organizations: []string{"arn:aws:organizations::123456789012:organization/o-abcdefghij"},
				},
				DeprecateAfter: 90 * 24 * time.Hour,
			},
		},
		Publishers: []bake.Publisher{ec2.SSMParameter{Name: "/images/base"}},
	}
	results, err := bake.Bake(context.Background(), nil, base)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, region := range []string{"eu-west-1", "us-east-1", "ap-south-1"} {
		id, _ := server.Parameter(region, "/images/base")
		fmt.Println(region, id == results[0].Artifact.IDs()[region])
	}
	// Output:
	// eu-west-1 true
	// us-east-1 true
	// ap-south-1 true
}

// Bake on spot capacity. If there is none, the launch moves on to the next
// instance type or subnet, and then to on-demand capacity.
func ExampleSpot() {
	server := ec2test.New(nil)
	defer server.Close()
	server.Fail(ec2test.Fault{InstanceType: "c7i.large"}) // no capacity in any zone
	web := &bake.Image{
		Name: "web",
		Builder: ec2.Builder{
			Cloud: ec2.NewCloud(server.Config("eu-west-1"), &ec2.CloudOptions{
				Dial: server.Dial, SourceAddress: server.SourceAddress, NoCallLimits: true,
			}),
			Source:        ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"},
			InstanceTypes: []string{"c7i.large", "m7i.large"},
			Network:       ec2.Network{AvailabilityZone: "eu-west-1b"},
			Spot:          &ec2.Spot{},
		},
	}
	if _, err := bake.Bake(context.Background(), nil, web); err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range server.Calls() {
		if c.Action == "RunInstances" {
			fmt.Println(c.Params.Get("InstanceType"), c.Params.Get("InstanceMarketOptions.MarketType"), c.Code)
		}
	}
	// Output:
	// c7i.large spot InsufficientInstanceCapacity
	// m7i.large spot
}

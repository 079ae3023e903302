package ec2_test

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// Bake in one account and copy the AMI to another, with the permissions of a role
// there.
func ExampleCloud_Assume() {
	server := ec2test.New(nil)
	defer server.Close()
	const role = "arn:aws:iam::210987654321:role/images"
	server.AddRole(ec2test.Role{ARN: role})

	build := ec2.NewCloud(server.Config("eu-west-1"), &ec2.CloudOptions{
		Dial: server.Dial, SourceAddress: server.SourceAddress, NoCallLimits: true,
	})
	production := build.Assume(ec2.Role{ARN: role})
	web := &bake.Image{
		Name: "web",
		Builder: ec2.Builder{
			Cloud:      build,
			Source:     ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"},
			Distribute: ec2.Distribution{Copies: []ec2.Copy{{Region: "eu-west-1", Cloud: production}}},
		},
	}
	results, err := bake.Bake(context.Background(), nil, web)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, destination := range slices.Sorted(maps.Keys(results[0].Artifact.IDs())) {
		fmt.Println(destination)
	}
	// Output:
	// 210987654321/eu-west-1
	// eu-west-1
}

// A publisher of your own, which needs more of the AMI than its ids.
func ExampleAMIOf() {
	announce := bake.PublisherFunc{Name: "announce", Do: func(_ context.Context, a bake.Artifact) error {
		ami, err := ec2.AMIOf(a)
		if err != nil {
			return err
		}
		fmt.Println(ami.Region, ami.Login, len(ami.Snapshots))
		return nil
	}}

	server := ec2test.New(nil)
	defer server.Close()
	web := &bake.Image{
		Name: "web",
		Builder: ec2.Builder{
			Cloud: ec2.NewCloud(server.Config("eu-west-1"), &ec2.CloudOptions{
				Dial: server.Dial, SourceAddress: server.SourceAddress, NoCallLimits: true,
			}),
			Source: ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"},
		},
		Publishers: []bake.Publisher{announce},
	}
	if _, err := bake.Bake(context.Background(), nil, web); err != nil {
		fmt.Println(err)
	}
	// Output:
	// eu-west-1 ubuntu 1
}

package ec2_test

import (
	"context"
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// Blue and green: the idle group gets the new AMI, and once it has been healthy for ten
// minutes a publisher of your own moves the traffic to it. If that fails, so does the
// bake, and the blue group goes on as before.
func ExampleInstanceRefresh() {
	server := ec2test.New(nil)
	defer server.Close()
	weights := map[string]int{"blue": 100, "green": 0} // those of your DNS or load balancer

	img := &bake.Image{
		Name: "shop",
		Builder: ec2.Builder{
			Cloud:  ec2.NewCloud(server.Config("eu-west-1"), nil),
			Source: ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"},
		},
		Publishers: []bake.Publisher{
			ec2.InstanceRefresh{Waves: []ec2.Wave{{
				Groups: []string{"shop-green"},
				Checks: []ec2.GroupCheck{ec2.HTTPCheck{Path: "/health", For: 10 * time.Minute}},
			}}},
			bake.PublisherFunc{Name: "move traffic to green", Do: func(context.Context, bake.Artifact) error {
				weights["blue"], weights["green"] = 0, 100
				return nil
			}},
		},
	}
	for _, p := range img.Publishers {
		fmt.Println(p)
	}
	// Output:
	// instance refresh of shop-green
	// move traffic to green
}

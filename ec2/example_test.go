package ec2_test

import (
	"context"
	"fmt"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

// Test a definition on the embedded EC2, which runs its scripts, and read files of
// the AMI.
func Example() {
	server := ec2test.New(nil)
	defer server.Close()
	cloud := ec2.NewCloud(server.Config("eu-west-1"), &ec2.CloudOptions{
		Dial:          server.Dial,
		SourceAddress: server.SourceAddress,
	})
	base := &bake.Image{
		Name: "base",
		Builder: ec2.Builder{
			Cloud:  cloud,
			Source: ec2.ParameterName("/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"),
		},
		Provisioners: []bake.Provisioner{
			provision.Shell("mkdir -p /srv/app", "echo base >/srv/app/layers").AsRoot(),
		},
	}
	app := &bake.Image{
		Name:    "app",
		From:    base,
		Builder: ec2.Builder{Cloud: cloud},
		Provisioners: []bake.Provisioner{
			provision.Shell("echo app >>/srv/app/layers").AsRoot(),
		},
	}
	results, err := bake.Bake(context.Background(), nil, base, app)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range results {
		layers, err := server.ReadFile(r.Artifact.ID(), "/srv/app/layers")
		fmt.Printf("%s %s: %q %v\n", r.Image.Name, r.Status, layers, err)
	}
	// Output:
	// base baked: "base\n" <nil>
	// app baked: "base\napp\n" <nil>
}

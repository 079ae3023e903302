package ec2_test

import (
	"context"
	"fmt"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/provision/check"
)

//readme:begin packer

func webServer(cloud *ec2.Cloud) *bake.Image {
	return &bake.Image{
		Name: "web",
		Tags: map[string]string{"role": "web"},
		Builder: ec2.Builder{
			Cloud:         cloud,
			InstanceTypes: []string{"t3.small"},
			Source: ec2.Newest{
				Owners: []string{ec2.Canonical},
				Name:   "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*",
			},
			Distribute: ec2.Distribution{Copies: ec2.CopyTo("eu-central-1")},
		},
		Provisioners: []bake.Provisioner{
			provision.Shell("apt-get update", "apt-get install -y nginx").AsRoot(),
			provision.File{Dest: "/etc/nginx/conf.d/tokens.conf", Content: "server_tokens off;\n", Sudo: true},
		},
		Checks: []bake.Check{
			check.All(check.Command{Line: "nginx -t"}), // runs on a fresh instance of the AMI
		},
		Publishers: []bake.Publisher{ec2.PackerManifest{}},
	}
}

//readme:end packer

// The README compares this definition with a Packer template. Here, commands of the
// embedded machines stand in for apt-get and nginx.
func Example_packer() {
	succeed := func(context.Context, *ec2test.Process) int { return 0 }
	server := ec2test.New(&ec2test.Options{Commands: map[string]ec2test.Command{"apt-get": succeed, "nginx": succeed}})
	defer server.Close()
	cloud := ec2.NewCloud(server.Config("eu-west-1"), &ec2.CloudOptions{
		Dial:          server.Dial,
		SourceAddress: server.SourceAddress,
		NoCallLimits:  true,
	})
	image := webServer(cloud)
	image.Publishers = nil // the example leaves no file behind
	results, err := bake.Bake(context.Background(), nil, image)
	if err != nil {
		fmt.Println(err)
		return
	}
	conf, err := server.ReadFile(results[0].Artifact.ID(), "/etc/nginx/conf.d/tokens.conf")
	fmt.Printf("%s: %s%v\n", results[0].Status, conf, err)
	// Output:
	// baked: server_tokens off;
	// <nil>
}

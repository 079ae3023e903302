package ec2_test

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/audit"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/provision/check"
)

// A disk that was made elsewhere becomes an AMI, without an instance. It is audited, and
// checked on an instance of it, before it is copied.
func ExampleDisk() {
	img := &bake.Image{
		Name: "web",
		Builder: ec2.Builder{
			Cloud:      ec2.NewCloud(aws.Config{Region: "eu-west-1"}, nil),
			Source:     ec2.Disk{File: "web.qcow2", Login: "debian", BlockSums: "/var/cache/bakestone"},
			Distribute: ec2.Distribution{Copies: []ec2.Copy{{Region: "us-east-1"}}},
		},
		Checks: []bake.Check{
			audit.Disks{},
			check.All(check.Service{Name: "nginx", Enabled: true}),
		},
	}
	fmt.Println(bake.Validate(nil, img))
	// Output: <nil>
}

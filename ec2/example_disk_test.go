package ec2_test

import (
	"context"
	"fmt"
	"log"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bakestone-go/bakestone/audit"
	"github.com/bakestone-go/bakestone/bake"
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

// An AMI becomes a disk, which QEMU can start from: qemu.Builder{Source: qemu.DiskFile("web.qcow2")}.
func ExampleDownloadDisk() {
	cloud := ec2.NewCloud(aws.Config{Region: "eu-west-1"}, nil)
	disk, err := ec2.DownloadDisk(context.Background(), cloud, &ec2.DiskDownload{
		DiskSelection: ec2.DiskSelection{ID: "ami-0123456789abcdef0"}, Path: "web.qcow2", Format: "qcow2",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(disk.Path, disk.Size)
}

// An AMI of anyone is looked into without booting it.
func ExampleReadDisks() {
	cloud := ec2.NewCloud(aws.Config{Region: "eu-west-1"}, nil)
	ctx := context.Background()
	err := ec2.ReadDisks(ctx, cloud, &ec2.DiskSelection{ID: "ami-0123456789abcdef0"}, func(disks bake.SystemDisks) error {
		findings, err := audit.Report(ctx, disks, nil)
		for _, f := range findings {
			fmt.Println(f)
		}
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
}

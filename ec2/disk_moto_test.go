package ec2_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// TestDiskOnMoto uploads a disk to an independent EBS, and downloads it again.
func TestDiskOnMoto(t *testing.T) {
	cloud := ec2.NewCloud(aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(testenv.Moto(t)), Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}, &ec2.CloudOptions{PollInterval: 10 * time.Millisecond, SettleTime: 10 * time.Millisecond})
	disk := randomDisk(16 * mib)
	snapshot := ""
	observe := func(e bake.Event) {
		if e.Kind == bake.ResourceCreated && e.Resource.Kind == "snapshot" {
			snapshot = e.Resource.ID
		}
	}
	_, err := bake.Bake(t.Context(), &bake.Options{Observe: observe}, diskImage(cloud, ec2.Disk{File: writeDisk(t, disk)}))
	if err != nil {
		t.Fatalf("Bake: %v", err)
	}
	// The snapshot itself: moto's RegisterImage ignores the block devices of the request.
	sameContent(t, cloud, "", snapshot, disk)
}

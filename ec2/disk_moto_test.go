package ec2_test

import (
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
)

// TestDiskOnMoto uploads a disk to an independent EBS, and downloads it again.
func TestDiskOnMoto(t *testing.T) {
	cloud := motoCloud(t)
	disk, sums := randomDisk(16*mib), t.TempDir()
	results, err := bake.Bake(t.Context(), nil, diskImage(cloud, ec2.Disk{File: writeDisk(t, disk), BlockSums: sums}))
	if err != nil {
		t.Fatalf("Bake: %v", err)
	}
	image := describeImage(t, cloud, results[0].Artifact.ID())
	if image.RootDeviceName == nil || *image.RootDeviceName != "/dev/xvda" || len(image.BlockDeviceMappings) != 1 {
		t.Errorf("image = %v with %d devices", image.RootDeviceName, len(image.BlockDeviceMappings))
	}
	sameContent(t, cloud, "", results[0].Artifact.ID(), disk)
	destroy(t, results[0].Artifact)
}

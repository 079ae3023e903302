package ec2_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/testenv/disktest"
)

const mib = 1 << 20

// systemDisk returns a disk of a small Linux system that boots by BIOS, with more files.
func systemDisk(t testing.TB, size int64, more map[string]disktest.File) []byte {
	t.Helper()
	root := disktest.Ext4(t, 16*mib, disktest.System(more))
	return disktest.GPT(size, true, disktest.Partition{Type: disktest.BIOS, Content: make([]byte, mib)}, disktest.Partition{Type: disktest.Linux, Name: "root", Content: root})
}

// writeDisk writes a disk to a file.
func writeDisk(t testing.TB, disk []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "web.raw")
	if err := os.WriteFile(path, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// diskImage returns an image that is made of a disk.
func diskImage(cloud *ec2.Cloud, disk ec2.Disk, checks ...bake.Check) *bake.Image {
	return &bake.Image{Name: "web", Builder: ec2.Builder{Cloud: cloud, Source: disk}, Checks: checks}
}

// fileIs checks the content of a file of a machine.
func fileIs(name, want string) bake.Check {
	return bake.CheckFunc{Name: name, Do: func(ctx context.Context, m bake.Machine) error {
		got, err := bake.Output(ctx, m, bake.Command("cat", name))
		if err == nil && strings.TrimSpace(got) != want {
			err = fmt.Errorf("%s = %q, want %q", name, got, want)
		}
		return err
	}}
}

func TestDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		path := writeDisk(t, systemDisk(t, 32*mib, map[string]disktest.File{"/srv/www/index.html": {Content: "from the disk"}}))
		img := diskImage(cloud, ec2.Disk{File: path, Login: "debian"}, fileIs("/srv/www/index.html", "from the disk"))
		results, err := bake.Bake(t.Context(), nil, img)
		if err != nil {
			t.Fatalf("Bake: %v", err)
		}
		image := describeImage(t, cloud, results[0].Artifact.ID())
		m := image.BlockDeviceMappings[0]
		if image.Architecture != "x86_64" || image.BootMode != "legacy-bios" || !aws.ToBool(image.EnaSupport) || image.ImdsSupport != "v2.0" ||
			aws.ToString(image.RootDeviceName) != "/dev/xvda" || len(image.BlockDeviceMappings) != 1 || aws.ToInt32(m.Ebs.VolumeSize) != 1 || m.Ebs.VolumeType != "gp3" {
			t.Errorf("image = %s, %s, ENA %v, IMDS %q, root %s of %d devices: %+v", image.Architecture, image.BootMode, aws.ToBool(image.EnaSupport),
				image.ImdsSupport, aws.ToString(image.RootDeviceName), len(image.BlockDeviceMappings), m.Ebs)
		}
		wantLeftovers(t, server, results[0].Artifact)
	})
}

// describeImage returns an AMI.
func describeImage(t testing.TB, cloud *ec2.Cloud, id string) ec2types.Image {
	t.Helper()
	out, err := cloud.Client("").DescribeImages(t.Context(), &awsec2.DescribeImagesInput{ImageIds: []string{id}})
	if err != nil || len(out.Images) != 1 {
		t.Fatalf("DescribeImages(%s) = %v, %v", id, out, err)
	}
	return out.Images[0]
}

// wantLeftovers checks that nothing is left but AMIs and their snapshots.
func wantLeftovers(t testing.TB, server *ec2test.Server, artifacts ...bake.Artifact) {
	t.Helper()
	want := 0
	for _, a := range artifacts {
		ami, err := ec2.AMIOf(a)
		if err != nil {
			t.Fatal(err)
		}
		want += 1 + len(ami.Snapshots)
		for _, c := range ami.Copies {
			want += 1 + len(c.Snapshots)
		}
	}
	if left := server.Leftovers(); len(left) != want {
		t.Errorf("Leftovers = %q, want %d", left, want)
	}
}

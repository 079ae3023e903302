package imagetest_test

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test/imagetest"
	"github.com/bakestone-go/bakestone/provision"
)

// TestSurrogateBuild builds a system on the second, blank disk of a helper, and makes
// an AMI of it, from which the check boots.
func TestSurrogateBuild(t *testing.T) {
	env := imagetest.Start(t, nil)
	img := shell(env.Cloud, `set -e
parted -s /dev/nvme1n1 mklabel gpt mkpart root ext4 1MiB 100%
mkfs.ext4 -q -L root /dev/nvme1n1p1
mount /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_*p1 /mnt 2>/dev/null || mount LABEL=root /mnt
cp -a /bin /sbin /lib /etc /usr /home /root /var /mnt/
mkdir -p /mnt/proc /mnt/sys /mnt/dev /mnt/run /mnt/tmp; chmod 1777 /mnt/tmp
for d in proc sys dev; do mount --bind /$d /mnt/$d; done
chroot /mnt apt-get install -y nginx
chroot /mnt useradd -m app
echo surrogate >/mnt/etc/built-as
umount -R /mnt`)
	b := ec2.Builder{
		Cloud: env.Cloud, Source: ec2.Newest{Owners: []string{ec2.Debian}, Name: "debian-13-amd64-*"},
		BlockDevices: []ec2.BlockDevice{{Device: "/dev/sdf", SizeGiB: 5}},
		Capture:      ec2.Capture{FromSnapshots: true, Surrogate: &ec2.Surrogate{Device: "/dev/sdf", RootDevice: "/dev/xvda", User: "admin"}},
	}
	img.Builder = b
	img.Checks = []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, m bake.Machine) error {
		return m.Run(ctx, &bake.Cmd{Line: "grep surrogate /etc/built-as && id app && dpkg -s nginx"})
	}}}
	image := env.Bake(img)
	if got := image.ReadFile("/etc/built-as"); got != "surrogate\n" || image.AMI().SizeGiB != 5 || image.Packages()["nginx"] == "" {
		t.Errorf("/etc/built-as is %q, size %d GiB, packages %v", got, image.AMI().SizeGiB, image.Packages())
	}
	if source := env.Image(image.Artifact.IDs()["eu-west-1"]); source.Has("/mnt/etc") {
		t.Error("the AMI has the helper's mount point with files")
	}
}

// TestAttachedVolume: a volume attached at run time appears in the guest, and its
// snapshot has what was written.
func TestAttachedVolume(t *testing.T) {
	env := imagetest.Start(t, nil)
	client := env.Cloud.Client("")
	var snapshot string
	img := shell(env.Cloud, "true")
	img.Provisioners = []bake.Provisioner{bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
		instance := env.Server.CommandRuns("")[0].Instance
		volume, err := client.CreateVolume(ctx, &awsec2.CreateVolumeInput{AvailabilityZone: zoneOf(ctx, t, client, instance), Size: aws.Int32(2)})
		if err != nil {
			return err
		}
		if _, err := client.AttachVolume(ctx, &awsec2.AttachVolumeInput{InstanceId: aws.String(instance), VolumeId: volume.VolumeId, Device: aws.String("/dev/sdh")}); err != nil {
			return err
		}
		out, err := bake.Output(ctx, m, &bake.Cmd{Line: "set -e; lsblk -no SIZE /dev/sdh; mkfs.xfs -q /dev/nvme1n1; mount /dev/nvme1n1 /mnt; echo data >/mnt/file; umount /mnt", Sudo: true})
		if err != nil || strings.TrimSpace(out) != "2G" {
			t.Errorf("the guest printed %q, %v, want the size", out, err)
		}
		made, err := client.CreateSnapshot(ctx, &awsec2.CreateSnapshotInput{VolumeId: volume.VolumeId})
		if err != nil {
			return err
		}
		snapshot = aws.ToString(made.SnapshotId)
		if _, err := client.DetachVolume(ctx, &awsec2.DetachVolumeInput{VolumeId: volume.VolumeId}); err != nil {
			return err
		}
		return provision.Shell("! test -e /dev/nvme1n1").Provision(ctx, m)
	}}}
	env.Bake(img)
	if data, err := env.Server.ReadFile(snapshot, "/file"); err != nil || string(data) != "data\n" {
		t.Errorf("ReadFile(%s, /file) = %q, %v, want what the guest wrote", snapshot, data, err)
	}
}

func zoneOf(ctx context.Context, t *testing.T, client *awsec2.Client, instance string) *string {
	t.Helper()
	out, err := client.DescribeInstances(ctx, &awsec2.DescribeInstancesInput{InstanceIds: []string{instance}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Reservations[0].Instances[0].Placement.AvailabilityZone
}

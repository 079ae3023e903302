package ec2_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// surrogate returns an image whose root is a volume with the system of the image
// "grown". The helper that bakes it has billing codes.
func surrogate(t *testing.T, cloud *ec2.Cloud) (*bake.Image, ec2.Builder) {
	t.Helper()
	out, err := cloud.Client("").DescribeImages(t.Context(), &awsec2.DescribeImagesInput{
		Filters: []ec2types.Filter{{Name: aws.String("name"), Values: []string{"grown"}}},
	})
	if err != nil || len(out.Images) != 1 {
		t.Fatalf("DescribeImages() = %v, %v, want the image %q", out, err, "grown")
	}
	b := ec2.Builder{
		Cloud: cloud, Source: ec2.Newest{Owners: []string{ec2.Amazon}, Name: "helper"}, SSH: ec2.SSH{User: "ec2-user"},
		BlockDevices: []ec2.BlockDevice{
			{Device: "/dev/sda1", SizeGiB: 20}, // the helper's root
			{Device: "/dev/sdf", Snapshot: aws.ToString(out.Images[0].BlockDeviceMappings[0].Ebs.SnapshotId), SizeGiB: 9},
			{Device: "/dev/sdg", SizeGiB: 3, Type: "gp2"},
		},
		Capture: ec2.Capture{FromSnapshots: true, Surrogate: &ec2.Surrogate{Device: "/dev/sdf", RootDevice: "/dev/xvda", User: "admin"}},
	}
	img := simple(cloud)
	img.Builder = b
	return img, b
}

// surrogateServer starts an EC2 with the images that surrogate needs.
func surrogateServer(t *testing.T) *ec2test.Server {
	t.Helper()
	return newServer(t, &ec2test.Options{Images: []ec2test.Image{
		{Name: "helper", Owner: ec2.Amazon, Login: "ec2-user", Platform: "Red Hat Enterprise Linux"},
		{Name: "grown", Owner: ec2.Debian, Login: "admin", Files: map[string]string{"/etc/grown": "here\n"}},
	}})
}

// TestSurrogate bakes an AMI and checks that its instance boots from the other
// volume, without files of the helper.
func TestSurrogate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := surrogateServer(t)
		cloud := newCloud(server)
		img, b := surrogate(t, cloud)
		img.Checks = []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, m bake.Machine) error {
			return m.Run(ctx, &bake.Cmd{Line: `test "$(id -un)" = admin && grep here /etc/grown && ! test -e /etc/made`})
		}}}
		if _, err := ec2.Plan(t.Context(), img); err != nil {
			t.Fatal(err)
		}
		results, err := bake.Bake(t.Context(), nil, img)
		if err != nil {
			t.Fatal(err)
		}
		image := describe(t, cloud, "", results[0].Artifact.ID())
		if diff := cmp.Diff(map[string]string{"/dev/xvda": "9 gp3 3000/125", "/dev/sdg": "3 gp2"}, devicesOf(t, cloud, results[0].Artifact.ID())); diff != "" {
			t.Errorf("devices (-want +got):\n%s", diff)
		}
		if aws.ToString(image.RootDeviceName) != "/dev/xvda" || image.Architecture != "x86_64" || image.BootMode != "" || aws.ToString(image.PlatformDetails) != "Linux/UNIX" {
			t.Errorf("AMI = %+v, want root /dev/xvda, x86_64, Linux/UNIX and no boot mode", image)
		}
		if n := server.CallCount("CreateSnapshots"); n != 1 {
			t.Errorf("calls of CreateSnapshots = %d, want 1", n)
		}
		for _, step := range results[0].Steps {
			if step.Name == "clean guest" {
				t.Errorf("step %q ran on the helper", step.Name)
			}
		}
		destroy(t, results[0].Artifact)
		wantNoLeftovers(t, server)

		b.Capture.Surrogate = &ec2.Surrogate{Device: "/dev/sdf", Architecture: "arm64"}
		img.Builder, img.Checks = b, nil
		if results, err = bake.Bake(t.Context(), nil, img); err != nil {
			t.Fatal(err)
		}
		if image := describe(t, cloud, "", results[0].Artifact.ID()); image.Architecture != "arm64" || aws.ToString(image.RootDeviceName) != "/dev/sda1" {
			t.Errorf("architecture and root of the AMI = %s, %s, want arm64, /dev/sda1", image.Architecture, aws.ToString(image.RootDeviceName))
		}
	})
}

func TestValidateSurrogate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := surrogateServer(t)
		cloud := newCloud(server)
		for want, change := range map[string]func(*ec2.Builder, *ec2.Surrogate){
			"Capture.Surrogate: needs FromSnapshots":                                           func(b *ec2.Builder, _ *ec2.Surrogate) { b.Capture.FromSnapshots = false },
			"Capture.Surrogate.Device: is required":                                            func(_ *ec2.Builder, s *ec2.Surrogate) { s.Device = "" },
			"Capture.Surrogate.Device: /dev/sdx not found in Builder.BlockDevices":             func(_ *ec2.Builder, s *ec2.Surrogate) { s.Device = "/dev/sdx" },
			`Capture.Surrogate.Architecture: unknown value "vax"`:                              func(_ *ec2.Builder, s *ec2.Surrogate) { s.Architecture = "vax" },
			"Capture.Surrogate: cannot be set together with Builder.GuestCleanup":              func(b *ec2.Builder, _ *ec2.Surrogate) { b.GuestCleanup.Keep = []ec2.CleanupItem{ec2.Logs} },
			"Capture.Surrogate.RootDevice: /dev/sdg is another device of Builder.BlockDevices": func(_ *ec2.Builder, s *ec2.Surrogate) { s.RootDevice = "/dev/sdg" },
			"Capture.Devices[/dev/sdf]: is the AMI's root device: leave Device empty": func(b *ec2.Builder, _ *ec2.Surrogate) {
				b.Capture.Devices = []ec2.AMIDevice{{BlockDevice: ec2.BlockDevice{Device: "/dev/sdf"}}}
			},
			"check source image: Builder.Capture.Surrogate.Device: /dev/sda1 is the root device of ami-": func(b *ec2.Builder, s *ec2.Surrogate) {
				b.BlockDevices[0].Device, s.Device = "/dev/sda1", "/dev/sda1"
			},
		} {
			img, b := surrogate(t, cloud)
			change(&b, b.Capture.Surrogate)
			img.Builder = b
			_, err := bake.Bake(t.Context(), nil, img)
			wantError(t, "Bake", err, want)
		}
		wantNoLaunch(t, server)
	})
}

// TestCheckMachineVolumes checks that the check machine's volumes come from the
// AMI, not from the snapshots that the bake started with.
func TestCheckMachineVolumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := surrogateServer(t)
		cloud := newCloud(server)
		img, b := surrogate(t, cloud)
		b.Capture = ec2.Capture{FromSnapshots: true}
		b.Source = ubuntu()
		b.SSH.User, b.BlockDevices[2].KeepOnTermination = "", true
		img.Builder = b
		var machine ec2types.Instance
		first := b.BlockDevices[1].Snapshot
		img.Checks = []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, _ bake.Machine) error {
			if err := describeMachine(cloud, &machine).Do(ctx); err != nil {
				return err
			}
			volumes, err := cloud.Client("").DescribeVolumes(ctx, &awsec2.DescribeVolumesInput{
				Filters: []ec2types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{*machine.InstanceId}}},
			})
			if err != nil {
				return err
			}
			if len(volumes.Volumes) != 3 {
				t.Errorf("volumes = %d, want 3", len(volumes.Volumes))
			}
			for _, v := range volumes.Volumes {
				if aws.ToString(v.SnapshotId) == first || aws.ToString(v.SnapshotId) == "" {
					t.Errorf("snapshot of %s = %q, want one of the AMI", aws.ToString(v.Attachments[0].Device), aws.ToString(v.SnapshotId))
				}
				if !aws.ToBool(v.Attachments[0].DeleteOnTermination) {
					t.Errorf("DeleteOnTermination of %s = false, want true", aws.ToString(v.Attachments[0].Device))
				}
			}
			return nil
		}}}
		if _, err := bake.Bake(t.Context(), nil, img); err != nil {
			t.Fatal(err)
		}
	})
}

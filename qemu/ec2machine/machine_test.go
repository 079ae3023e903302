//go:build linux

package ec2machine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/qemu/ec2machine"
)

const region = "us-east-1"

// start returns an EC2 with virtual machines of the tests' guest. The guest ignores the
// power button.
func start(t *testing.T, dir string) (*ec2test.Server, *ec2.Cloud) {
	t.Helper()
	disk := testenv.Need(t, "qemu")
	srv := ec2test.New(&ec2test.Options{
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Images: []ec2test.Image{{Name: "small debian", SizeGiB: 1, Login: "root"}, {Name: "debian", SizeGiB: 2, Login: "debian"}},
		Machines: ec2machine.New(&ec2machine.Options{
			Disks: map[string]string{"small debian": disk, "debian": filepath.Join(filepath.Dir(disk), "debian.qcow2")},
			Dir:   dir, Memory: 512 << 20, Accelerators: []string{"tcg"}, PowerDown: time.Second,
		}),
	})
	t.Cleanup(srv.Close)
	return srv, ec2.NewCloud(srv.Config(region), &ec2.CloudOptions{Dial: srv.Dial, SourceAddress: srv.SourceAddress, NoCallLimits: true})
}

// An image is baked in a virtual machine, checked in another one, and read as blocks.
func TestBakeOnVirtualMachine(t *testing.T) {
	dir := t.TempDir()
	srv, cloud := start(t, dir)
	const text = "baked on a real kernel\n"
	kernel := func(want string) func(context.Context, bake.Machine) error {
		return func(ctx context.Context, m bake.Machine) error {
			out, err := bake.Output(ctx, m, bake.Sh(want))
			if err == nil && !strings.HasPrefix(out, "Linux\n") {
				err = errors.New("output: " + out)
			}
			return err
		}
	}
	img := &bake.Image{
		Name:    "real",
		Builder: ec2.Builder{Cloud: cloud, Source: ec2.Newest{Owners: []string{"self"}, Name: "small debian"}, SSH: ec2.SSH{User: "root"}},
		Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
			if err := kernel("uname -s; cat /proc/sys/kernel/osrelease")(ctx, m); err != nil {
				return err
			}
			return m.Put(ctx, &bake.Upload{Content: strings.NewReader(text), Dest: "/etc/baked"})
		}}},
		Checks: []bake.Check{bake.CheckFunc{Name: "baked", Do: kernel("uname -s; grep -q real /etc/baked && cat /proc/uptime")}},
	}
	results, err := bake.Bake(t.Context(), nil, img)
	if err != nil {
		t.Fatal(err)
	}
	ami, err := srv.AMI(results[0].Artifact.IDs()[region])
	if err != nil {
		t.Fatal(err)
	}
	if left := srv.LeftoversExcept(ami.ID); len(left) > 0 {
		t.Errorf("Leftovers = %q, want none", left)
	}
	direct := ebs.NewFromConfig(srv.Config(region))
	listed, err := direct.ListSnapshotBlocks(t.Context(), &ebs.ListSnapshotBlocksInput{SnapshotId: &ami.Snapshots[0], MaxResults: aws.Int32(10000)})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, b := range listed.Blocks {
		out, err := direct.GetSnapshotBlock(t.Context(), &ebs.GetSnapshotBlockInput{SnapshotId: &ami.Snapshots[0], BlockIndex: b.BlockIndex, BlockToken: b.BlockToken})
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(out.BlockData)
		if err != nil {
			t.Fatal(err)
		}
		found = found || bytes.Contains(data, []byte(text))
	}
	if !found || len(listed.Blocks) < 100 {
		t.Errorf("ListSnapshotBlocks = %d blocks, and one contains the file: %t", len(listed.Blocks), found)
	}
	srv.Close()
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("left after Close: %v, %v", left, err)
	}
}

// An image without a disk says why its instances do not boot.
func TestImageWithoutDisk(t *testing.T) {
	srv := ec2test.New(&ec2test.Options{Images: []ec2test.Image{{Name: "none"}}, Machines: ec2machine.New(&ec2machine.Options{Dir: t.TempDir()})})
	t.Cleanup(srv.Close)
	c := awsec2.NewFromConfig(srv.Config(region))
	images, err := c.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.RunInstances(t.Context(), &awsec2.RunInstancesInput{ImageId: images.Images[0].ImageId, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
	if err != nil && !strings.Contains(err.Error(), "no disk for image") {
		t.Fatal(err)
	}
	if err == nil {
		id := *out.Instances[0].InstanceId
		for srv.Console(id) == "" {
			time.Sleep(time.Millisecond)
		}
		if got := srv.Console(id); !strings.Contains(got, `no disk for image "none": add it to Options.Disks`) {
			t.Errorf("Console = %q, want the remedy", got)
		}
	}
}

// Disks that depend on other files are refused, since these could be any file.
func TestDependentDisk(t *testing.T) {
	base := testenv.Need(t, "qemu")
	dir := t.TempDir()
	layer := filepath.Join(dir, "layer.qcow2")
	if out, err := exec.CommandContext(t.Context(), "qemu-img", "create", "-f", "qcow2", "-b", base, "-F", "qcow2", layer).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v: %s", err, out)
	}
	m := ec2machine.New(&ec2machine.Options{Disks: map[string]string{"*": layer}, Dir: dir})
	if _, err := m.Disk(t.Context(), ec2test.Image{Name: "any"}); err == nil || !strings.Contains(err.Error(), "convert it to a standalone file") {
		t.Errorf("Disk of a layer = %v, want an error with the remedy", err)
	}
}

// Disks keep their contents when they are loaded, cloned, grown and read.
func TestDiskContents(t *testing.T) {
	testenv.Need(t, "qemu")
	m := ec2machine.New(&ec2machine.Options{Dir: t.TempDir()})
	block := bytes.Repeat([]byte{7}, 512<<10)
	var offsets []int64
	read := func(offset int64, data []byte) error {
		offsets = append(offsets, offset)
		if !bytes.Equal(data, block) {
			t.Errorf("block at %d has other data", offset)
		}
		return nil
	}
	contents := func(write func(int64, []byte) error) error {
		return errors.Join(write(0, block), write(5<<20, block))
	}
	d, err := m.Load(t.Context(), 1, contents)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Clone(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Grow(t.Context(), 2), d.Close(), c.Blocks(t.Context(), read)); err != nil {
		t.Fatal(err)
	}
	if want := []int64{0, 5 << 20}; !slices.Equal(offsets, want) {
		t.Errorf("Blocks at %v, want %v", offsets, want)
	}
	if _, err := c.ReadFile("/etc/passwd"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("ReadFile = %v, want ErrUnsupported", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

package ec2_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/audit"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/internal/testenv/disktest"
)

// TestDiskLife follows a disk: uploaded, registered, audited, checked on an instance, copied,
// shared, published, and downloaded again from each place.
func TestDiskLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		const whole = 1 << 30 // so that the volume is as large as the disk
		file, err := os.Create(filepath.Join(t.TempDir(), "web.raw"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = file.Close() })
		small := systemDisk(t, 32*mib, map[string]disktest.File{"/srv/www/index.html": {Content: "served"}})
		if _, err := file.Write(small[:31*mib]); err != nil {
			t.Fatal(err)
		}
		if err := file.Truncate(whole); err != nil {
			t.Fatal(err)
		}
		manifest := filepath.Join(t.TempDir(), "manifest.json")
		img := diskImage(cloud, ec2.Disk{File: file.Name(), Login: "debian", SizeGiB: 1}, audit.Disks{}, fileIs("/srv/www/index.html", "served"))
		img.Builder = ec2.Builder{
			Cloud: cloud, AMIName: "web", Source: ec2.Disk{File: file.Name(), Login: "debian"},
			Capture:    ec2.Capture{BootMode: "legacy-bios", Devices: []ec2.AMIDevice{{BlockDevice: ec2.BlockDevice{Device: "/dev/sdf", SizeGiB: 5}}, {BlockDevice: ec2.BlockDevice{Type: "io2", IOPS: 100, SizeGiB: 4}}}},
			Distribute: ec2.Distribution{Copies: []ec2.Copy{{Region: "us-west-2"}}, LaunchPermissions: ec2.Permissions{Accounts: []string{"111111111111"}}},
		}
		img.Publishers = []bake.Publisher{ec2.PackerManifest{Path: manifest}}
		results, err := bake.Bake(t.Context(), nil, img)
		if err != nil {
			t.Fatalf("Bake: %v", err)
		}
		ami, err := ec2.AMIOf(results[0].Artifact)
		if err != nil {
			t.Fatal(err)
		}
		image := describeImage(t, cloud, ami.ImageID)
		if aws.ToString(image.Name) != "web" || len(image.BlockDeviceMappings) != 2 || aws.ToInt32(image.BlockDeviceMappings[0].Ebs.VolumeSize) != 4 {
			t.Errorf("image = %q with %+v", aws.ToString(image.Name), image.BlockDeviceMappings)
		}
		for region, id := range ami.IDs() {
			sameContent(t, cloud, region, id, small[:31*mib])
		}
		var published struct {
			Builds []struct {
				ArtifactID string `json:"artifact_id"`
			}
		}
		data, err := os.ReadFile(manifest)
		if err := json.Unmarshal(data, &published); err != nil || len(published.Builds) != 1 || !strings.Contains(published.Builds[0].ArtifactID, ami.ImageID) {
			t.Errorf("manifest = %s, %v, want %s", data, err, ami.ImageID)
		}
		if err := ami.Destroy(t.Context()); err != nil {
			t.Errorf("Destroy: %v", err)
		}
		if left := server.Leftovers(); err != nil || len(left) > 0 {
			t.Errorf("Leftovers = %q, want none", left)
		}
	})
}

// TestDiskAudited removes the AMI of a disk that carries what it must not, without booting
// it.
func TestDiskAudited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		path := writeDisk(t, systemDisk(t, 32*mib, map[string]disktest.File{"/root/.ssh/authorized_keys": {Content: "ssh-ed25519 AAAA me\n"}}))
		_, err := bake.Bake(t.Context(), nil, diskImage(cloud, ec2.Disk{File: path}, audit.Disks{}))
		if err == nil || !strings.Contains(err.Error(), "/root/.ssh/authorized_keys") {
			t.Errorf("Bake = %v, want the keys that were found", err)
		}
		if left := server.Leftovers(); len(left) > 0 {
			t.Errorf("Leftovers = %q, want none", left)
		}
		for _, call := range server.Calls() {
			if call.Action == "RunInstances" {
				t.Error("an instance was launched for an audit")
			}
		}
	})
}

// diskArtifacts is an image of a platform whose artifacts have disks.
type diskArtifacts struct{ bake.SystemDisks }

func (b diskArtifacts) Validate(*bake.Image) error { return nil }

func (b diskArtifacts) Begin(*bake.Image, *bake.Run) (bake.Session, error) {
	return diskArtifactsSession{b}, nil
}

type diskArtifactsSession struct{ diskArtifacts }

func (diskArtifactsSession) IsMachineless() bool                           { return true }
func (diskArtifactsSession) Launch() []bake.Step                           { return nil }
func (diskArtifactsSession) Capture() []bake.Step                          { return nil }
func (diskArtifactsSession) EndCheck() []bake.Step                         { return nil }
func (diskArtifactsSession) Promote() []bake.Step                          { return nil }
func (diskArtifactsSession) Connect(context.Context) (bake.Machine, error) { return nil, os.ErrInvalid }
func (s diskArtifactsSession) Artifact() bake.Artifact                     { return s.diskArtifacts }
func (diskArtifacts) ID() string                                           { return "disks" }
func (diskArtifacts) IDs() map[string]string                               { return nil }
func (diskArtifacts) String() string                                       { return "disks" }
func (diskArtifacts) MarshalJSON() ([]byte, error)                         { return []byte("{}"), nil }
func (diskArtifacts) Destroy(context.Context) error                        { return nil }
func (b diskArtifacts) ReadDisks(_ context.Context, read func(bake.SystemDisks) error) error {
	return read(b.SystemDisks)
}

type memoryDisk struct{ *bytes.Reader }

func (d memoryDisk) NextData(off int64) (start, end int64, err error) { return off, d.Size(), nil }

// TestDiskOfImageFrom uploads the disks of another platform's artifact.
func TestDiskOfImageFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		data := bytes.Repeat([]byte("data"), mib/4)
		esp := disktest.FAT(t, 4*mib, map[string][]byte{"EFI/BOOT/BOOTAA64.EFI": disktest.EFIProgram(disktest.ARM64)})
		boot := disktest.GPT(16*mib, false, disktest.Partition{Type: disktest.ESP, Content: esp})
		from := &bake.Image{Name: "base", Builder: diskArtifacts{bake.SystemDisks{
			Architecture: "arm64", Login: "admin",
			Disks: []bake.Disk{{DiskContents: memoryDisk{bytes.NewReader(boot)}}, {Name: "data", DiskContents: memoryDisk{bytes.NewReader(data)}}},
		}}}
		img := diskImage(cloud, ec2.Disk{Data: []ec2.DataDisk{{Device: "/dev/sdg"}}})
		img.From = from
		results, err := bake.Bake(t.Context(), nil, from, img)
		if err != nil {
			t.Fatalf("Bake: %v", err)
		}
		image := describeImage(t, cloud, results[1].Artifact.ID())
		if image.Architecture != "arm64" || image.BootMode != "uefi" || len(image.BlockDeviceMappings) != 2 {
			t.Fatalf("image = %s, %s, %d devices, want arm64 by UEFI with two", image.Architecture, image.BootMode, len(image.BlockDeviceMappings))
		}
		path := filepath.Join(t.TempDir(), "data")
		_, err = ec2.DownloadDisk(t.Context(), cloud, &ec2.DiskDownload{DiskSelection: ec2.DiskSelection{ID: *image.ImageId, Device: "/dev/sdg"}, Path: path})
		if err != nil {
			t.Fatalf("DownloadDisk of /dev/sdg: %v", err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		got := make([]byte, mib)
		if _, err := file.ReadAt(got, 0); err != nil || !bytes.Equal(got, data) {
			t.Errorf("the disk from /dev/sdg has other contents, %v", err)
		}
		wantLeftovers(t, server, results[1].Artifact)
	})
}

// TestDiskKey encrypts with a key, and continues from a parent with it.
func TestDiskKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		key := server.AddKey(testRegion, "disks")
		path, sums := writeDisk(t, randomDisk(16*mib)), t.TempDir()
		for range 2 {
			results, err := bake.Bake(t.Context(), nil, diskImage(cloud, ec2.Disk{File: path, KMSKey: key, BlockSums: sums}))
			if err != nil {
				t.Fatalf("Bake: %v", err)
			}
			image := describeImage(t, cloud, results[0].Artifact.ID())
			if !aws.ToBool(image.BlockDeviceMappings[0].Ebs.Encrypted) {
				t.Error("the AMI is not encrypted")
			}
		}
	})
}

func TestDiskPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		img := diskImage(cloud, ec2.Disk{File: writeDisk(t, randomDisk(16*mib))})
		plan, err := ec2.Plan(t.Context(), img)
		if err != nil {
			t.Fatalf("Plan: %v", err)
		}
		var text strings.Builder
		if err := plan.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"source   disk web.raw", "creates  snapshot of the disk web.raw", "creates  image web", "calls    PutSnapshotBlock", "calls    RegisterImage"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("plan lacks %q:\n%s", want, &text)
			}
		}
		if slices.ContainsFunc(plan.Images[0].Calls, func(c ec2.PlannedCall) bool { return c.Action == "RunInstances" }) {
			t.Errorf("plan has an instance:\n%s", &text)
		}
	})
}

package ec2test_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	ebstypes "github.com/aws/aws-sdk-go-v2/service/ebs/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

const blockSize = 512 << 10

func ebsClient(cfg aws.Config) *ebs.Client {
	return ebs.NewFromConfig(cfg, func(o *ebs.Options) { o.Retryer = aws.NopRetryer{} })
}

// randomBlock returns a block of reproducible random data.
func randomBlock(seed byte) []byte {
	data := make([]byte, blockSize)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// linear returns the checksum of blocks, in the order of their indexes.
func linear(blocks map[int32][]byte) string {
	var all []byte
	indexes := make([]int32, 0, len(blocks))
	for index := range blocks {
		indexes = append(indexes, index)
	}
	slices.Sort(indexes)
	for _, index := range indexes {
		sum := sha256.Sum256(blocks[index])
		all = append(all, sum[:]...)
	}
	return checksum(all)
}

func putInput(id string, index int32, data []byte) *ebs.PutSnapshotBlockInput {
	return &ebs.PutSnapshotBlockInput{
		SnapshotId: &id, BlockIndex: &index, BlockData: bytes.NewReader(data), DataLength: aws.Int32(blockSize),
		Checksum: aws.String(checksum(data)), ChecksumAlgorithm: ebstypes.ChecksumAlgorithmChecksumAlgorithmSha256,
	}
}

// upload writes a snapshot with blocks, possibly of a parent, and completes it.
func upload(t *testing.T, direct *ebs.Client, sizeGiB int64, parent string, blocks map[int32][]byte) string {
	t.Helper()
	in := &ebs.StartSnapshotInput{VolumeSize: &sizeGiB}
	if parent != "" {
		in.ParentSnapshotId = &parent
	}
	id := *must(direct.StartSnapshot(t.Context(), in))(t).SnapshotId
	for index, data := range blocks {
		must(direct.PutSnapshotBlock(t.Context(), putInput(id, index, data)))(t)
	}
	must(direct.CompleteSnapshot(t.Context(), &ebs.CompleteSnapshotInput{
		SnapshotId: &id, ChangedBlocksCount: aws.Int32(int32(len(blocks))), Checksum: aws.String(linear(blocks)), //nolint:gosec // few blocks
		ChecksumAlgorithm: ebstypes.ChecksumAlgorithmChecksumAlgorithmSha256, ChecksumAggregationMethod: ebstypes.ChecksumAggregationMethodChecksumAggregationLinear,
	}))(t)
	return id
}

// download reads all blocks of a snapshot.
func download(t *testing.T, direct *ebs.Client, id string) map[int32][]byte {
	t.Helper()
	out := map[int32][]byte{}
	in := &ebs.ListSnapshotBlocksInput{SnapshotId: &id}
	for {
		page := must(direct.ListSnapshotBlocks(t.Context(), in))(t)
		for _, b := range page.Blocks {
			got := must(direct.GetSnapshotBlock(t.Context(), &ebs.GetSnapshotBlockInput{SnapshotId: &id, BlockIndex: b.BlockIndex, BlockToken: b.BlockToken}))(t)
			data, err := io.ReadAll(got.BlockData)
			if err != nil || len(data) != blockSize || *got.DataLength != blockSize || *got.Checksum != checksum(data) {
				t.Fatalf("GetSnapshotBlock(%s, %d): %d bytes, checksum %s, %v", id, *b.BlockIndex, len(data), *got.Checksum, err)
			}
			out[*b.BlockIndex] = data
		}
		if page.NextToken == nil {
			return out
		}
		in.NextToken = page.NextToken
	}
}

func sameBlocks(t *testing.T, what string, got, want map[int32][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d blocks, want %d", what, len(got), len(want))
	}
	for index, data := range want {
		if !bytes.Equal(got[index], data) {
			t.Errorf("%s: block %d has other data", what, index)
		}
	}
}

func TestSnapshotBlocks(t *testing.T) {
	srv, c := start(t, nil)
	direct := ebsClient(srv.Config(region))
	blocks := map[int32][]byte{0: randomBlock(1), 5: make([]byte, blockSize), 2047: randomBlock(2), 9: randomBlock(1)}
	id := upload(t, direct, 1, "", blocks)
	sameBlocks(t, "download", download(t, direct, id), blocks)

	snap := must(c.DescribeSnapshots(t.Context(), &awsec2.DescribeSnapshotsInput{SnapshotIds: []string{id}}))(t).Snapshots[0]
	if snap.State != "completed" || *snap.VolumeSize != 1 || *snap.FullSnapshotSizeInBytes != 4*blockSize || *snap.Progress != "100%" {
		t.Errorf("DescribeSnapshots = %s, %d GiB, %d bytes, %s", snap.State, *snap.VolumeSize, *snap.FullSnapshotSizeInBytes, *snap.Progress)
	}

	// The parent's blocks show through, and are unchanged.
	changed := map[int32][]byte{5: randomBlock(3), 700: randomBlock(4)}
	child := upload(t, direct, 2, id, changed)
	want := map[int32][]byte{0: blocks[0], 5: changed[5], 9: blocks[9], 700: changed[700], 2047: blocks[2047]}
	sameBlocks(t, "download of the child", download(t, direct, child), want)
	sameBlocks(t, "download of the parent", download(t, direct, id), blocks)

	diff := must(direct.ListChangedBlocks(t.Context(), &ebs.ListChangedBlocksInput{FirstSnapshotId: &id, SecondSnapshotId: &child}))(t)
	if len(diff.ChangedBlocks) != 2 || *diff.VolumeSize != 2 || *diff.BlockSize != blockSize {
		t.Fatalf("ListChangedBlocks = %d blocks, %d GiB", len(diff.ChangedBlocks), *diff.VolumeSize)
	}
	if b := diff.ChangedBlocks[0]; *b.BlockIndex != 5 || b.FirstBlockToken == nil || b.SecondBlockToken == nil {
		t.Errorf("first changed block = %d, want 5 with both tokens", *b.BlockIndex)
	}
	if b := diff.ChangedBlocks[1]; *b.BlockIndex != 700 || b.FirstBlockToken != nil || b.SecondBlockToken == nil {
		t.Errorf("second changed block = %d, want 700 with the second token", *b.BlockIndex)
	}
	other := upload(t, direct, 1, "", nil)
	if _, err := direct.ListChangedBlocks(t.Context(), &ebs.ListChangedBlocksInput{FirstSnapshotId: &id, SecondSnapshotId: &other}); reason(err) != "ValidationException UNRELATED_SNAPSHOTS" {
		t.Errorf("ListChangedBlocks of unrelated snapshots: %v", err)
	}

	// A copy in another region, and a snapshot of a volume, have the same blocks.
	west := srv.Config("us-west-2")
	copied := must(client(west).CopySnapshot(t.Context(), &awsec2.CopySnapshotInput{SourceRegion: aws.String(region), SourceSnapshotId: &child}))(t)
	sameBlocks(t, "download of the copy", download(t, ebsClient(west), *copied.SnapshotId), want)
	vol := must(c.CreateVolume(t.Context(), &awsec2.CreateVolumeInput{AvailabilityZone: aws.String(region + "a"), SnapshotId: &child}))(t)
	again := must(c.CreateSnapshot(t.Context(), &awsec2.CreateSnapshotInput{VolumeId: vol.VolumeId}))(t)
	sameBlocks(t, "download of a snapshot of a volume", download(t, direct, *again.SnapshotId), want)
	if out, err := direct.ListChangedBlocks(t.Context(), &ebs.ListChangedBlocksInput{FirstSnapshotId: &child, SecondSnapshotId: again.SnapshotId}); err != nil || len(out.ChangedBlocks) > 0 {
		t.Errorf("ListChangedBlocks of an unchanged volume = %v, %v, want none", out, err)
	}
	blank := must(c.CreateVolume(t.Context(), &awsec2.CreateVolumeInput{AvailabilityZone: aws.String(region + "a"), Size: aws.Int32(1)}))(t)
	empty := must(c.CreateSnapshot(t.Context(), &awsec2.CreateSnapshotInput{VolumeId: blank.VolumeId}))(t)
	sameBlocks(t, "download of a blank volume", download(t, direct, *empty.SnapshotId), nil)
}

func TestStartSnapshotProperties(t *testing.T) {
	srv, c := start(t, nil)
	direct := ebsClient(srv.Config(region))
	out := must(direct.StartSnapshot(t.Context(), &ebs.StartSnapshotInput{
		VolumeSize: aws.Int64(3), Description: aws.String("a disk"), Tags: []ebstypes.Tag{{Key: aws.String("Name"), Value: aws.String("disk")}},
	}))(t)
	if out.Status != "pending" || *out.BlockSize != blockSize || *out.VolumeSize != 3 || *out.OwnerId != account || *out.Description != "a disk" || len(out.Tags) != 1 || out.StartTime.IsZero() {
		t.Errorf("StartSnapshot = %+v", out)
	}
	in := putInput(*out.SnapshotId, 0, randomBlock(1))
	in.Progress = aws.Int32(40)
	must(direct.PutSnapshotBlock(t.Context(), in))(t)
	snap := must(c.DescribeSnapshots(t.Context(), &awsec2.DescribeSnapshotsInput{SnapshotIds: []string{*out.SnapshotId}}))(t).Snapshots[0]
	if snap.State != "pending" || *snap.Progress != "40%" || *snap.Description != "a disk" || len(snap.Tags) != 1 || *snap.VolumeId != "vol-ffffffff" {
		t.Errorf("DescribeSnapshots of an unfinished snapshot = %s %s %q %v %s", snap.State, *snap.Progress, *snap.Description, snap.Tags, *snap.VolumeId)
	}
	if left := srv.Leftovers(); len(left) != 1 {
		t.Errorf("Leftovers = %q, want the unfinished snapshot", left)
	}
	if _, err := c.CreateVolume(t.Context(), &awsec2.CreateVolumeInput{AvailabilityZone: aws.String(region + "a"), SnapshotId: out.SnapshotId}); code(err) != "IncorrectState" {
		t.Errorf("CreateVolume of an unfinished snapshot: %v, want IncorrectState", err)
	}
	if _, err := srv.ReadFile(*out.SnapshotId, "/etc/passwd"); err == nil {
		t.Error("ReadFile of an unfinished snapshot succeeded")
	}
	must(c.DeleteSnapshot(t.Context(), &awsec2.DeleteSnapshotInput{SnapshotId: out.SnapshotId}))(t)
	if _, err := direct.PutSnapshotBlock(t.Context(), putInput(*out.SnapshotId, 1, randomBlock(1))); reason(err) != "ResourceNotFoundException SNAPSHOT_NOT_FOUND" {
		t.Errorf("PutSnapshotBlock after DeleteSnapshot: %v", err)
	}
}

func TestStartSnapshotToken(t *testing.T) {
	srv, _ := start(t, nil)
	direct := ebsClient(srv.Config(region))
	in := &ebs.StartSnapshotInput{VolumeSize: aws.Int64(3), ClientToken: aws.String("one")}
	first := must(direct.StartSnapshot(t.Context(), in))(t)
	if again := must(direct.StartSnapshot(t.Context(), in))(t); *again.SnapshotId != *first.SnapshotId {
		t.Errorf("repeated StartSnapshot = %s, want %s", *again.SnapshotId, *first.SnapshotId)
	}
	in.VolumeSize = aws.Int64(4)
	if _, err := direct.StartSnapshot(t.Context(), in); code(err) != "ConflictException" {
		t.Errorf("StartSnapshot with other parameters: %v, want ConflictException", err)
	}
	if n := len(srv.Leftovers()); n != 1 {
		t.Errorf("%d snapshots, want 1", n)
	}
}

func TestUnfinishedSnapshotTimesOut(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	srv, c := start(t, &ec2test.Options{Clock: clock, Latency: ec2test.Latency{Snapshot: time.Minute}})
	direct := ebsClient(srv.Config(region))
	begin := func() string {
		return *must(direct.StartSnapshot(t.Context(), &ebs.StartSnapshotInput{VolumeSize: aws.Int64(1), Timeout: aws.Int32(10)}))(t).SnapshotId
	}
	state := func(id string) ec2types.SnapshotState {
		return must(c.DescribeSnapshots(t.Context(), &awsec2.DescribeSnapshotsInput{SnapshotIds: []string{id}}))(t).Snapshots[0].State
	}
	late, kept := begin(), begin()
	clock.Advance(9 * time.Minute)
	must(direct.PutSnapshotBlock(t.Context(), putInput(kept, 0, randomBlock(1))))(t)
	clock.Advance(time.Minute)
	if late, kept := state(late), state(kept); late != "error" || kept != "pending" {
		t.Errorf("after ten minutes the snapshots are %s and %s, want error and pending", late, kept)
	}
	if _, err := direct.PutSnapshotBlock(t.Context(), putInput(late, 0, randomBlock(1))); reason(err) != "ValidationException INVALID_SNAPSHOT_ID" {
		t.Errorf("PutSnapshotBlock after the timeout: %v", err)
	}
	done := must(direct.CompleteSnapshot(t.Context(), &ebs.CompleteSnapshotInput{SnapshotId: &kept, ChangedBlocksCount: aws.Int32(1)}))(t)
	if done.Status != "pending" || state(kept) != "pending" {
		t.Errorf("CompleteSnapshot = %s, state %s, want pending", done.Status, state(kept))
	}
	if _, err := direct.ListSnapshotBlocks(t.Context(), &ebs.ListSnapshotBlocksInput{SnapshotId: &kept}); reason(err) != "ValidationException INVALID_SNAPSHOT_ID" {
		t.Errorf("ListSnapshotBlocks of a pending snapshot: %v", err)
	}
	clock.Advance(time.Minute)
	if state(kept) != "completed" {
		t.Errorf("state = %s a minute after CompleteSnapshot, want completed", state(kept))
	}

	// Tokens expire.
	page := must(direct.ListSnapshotBlocks(t.Context(), &ebs.ListSnapshotBlocksInput{SnapshotId: &kept}))(t)
	get := &ebs.GetSnapshotBlockInput{SnapshotId: &kept, BlockIndex: page.Blocks[0].BlockIndex, BlockToken: page.Blocks[0].BlockToken}
	clock.Advance(page.ExpiryTime.Sub(clock.Now()) - time.Second)
	must(direct.GetSnapshotBlock(t.Context(), get))(t)
	clock.Advance(time.Second)
	if _, err := direct.GetSnapshotBlock(t.Context(), get); reason(err) != "ValidationException INVALID_BLOCK_TOKEN" {
		t.Errorf("GetSnapshotBlock with an expired token: %v", err)
	}
}

func TestSnapshotBlockPages(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	srv, _ := start(t, &ec2test.Options{Clock: clock})
	direct := ebsClient(srv.Config(region))
	blocks := map[int32][]byte{}
	zeros := make([]byte, blockSize)
	for i := range int32(250) {
		blocks[i*3] = zeros
	}
	id := upload(t, direct, 1, "", blocks)
	list := func(in ebs.ListSnapshotBlocksInput) *ebs.ListSnapshotBlocksOutput {
		in.SnapshotId = &id
		return must(direct.ListSnapshotBlocks(t.Context(), &in))(t)
	}
	one := list(ebs.ListSnapshotBlocksInput{MaxResults: aws.Int32(100), StartingBlockIndex: aws.Int32(4)})
	if len(one.Blocks) != 100 || *one.Blocks[0].BlockIndex != 6 || one.NextToken == nil {
		t.Fatalf("first page has %d blocks from %d on, token %t", len(one.Blocks), *one.Blocks[0].BlockIndex, one.NextToken != nil)
	}
	two := list(ebs.ListSnapshotBlocksInput{MaxResults: aws.Int32(10000), NextToken: one.NextToken})
	if len(two.Blocks) != 148 || *two.Blocks[0].BlockIndex != 306 || two.NextToken != nil {
		t.Errorf("second page has %d blocks from %d on", len(two.Blocks), *two.Blocks[0].BlockIndex)
	}
	clock.Advance(time.Hour)
	if _, err := direct.ListSnapshotBlocks(t.Context(), &ebs.ListSnapshotBlocksInput{SnapshotId: &id, NextToken: one.NextToken}); reason(err) != "ValidationException INVALID_PAGE_TOKEN" {
		t.Errorf("page token after an hour: %v", err)
	}
}

// A disk that was uploaded boots as an image, and can be downloaded as the instance
// changed it.
func TestUploadedDiskBoots(t *testing.T) {
	srv, c := start(t, &ec2test.Options{Machines: newFakeMachines()})
	direct := ebsClient(srv.Config(region))
	openGroup(t, c)
	disk := make([]byte, blockSize)
	copy(disk, "one ")
	id := upload(t, direct, 1, "", map[int32][]byte{0: disk})
	made := must(c.RegisterImage(t.Context(), &awsec2.RegisterImageInput{
		Name: aws.String("uploaded"), Architecture: "x86_64", VirtualizationType: aws.String("hvm"), RootDeviceName: aws.String("/dev/xvda"), EnaSupport: aws.Bool(true),
		BlockDeviceMappings: []ec2types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &ec2types.EbsBlockDevice{SnapshotId: &id, VolumeSize: aws.Int32(4)}}},
	}))(t)
	inst := run(t, c, *made.ImageId, nil)
	write(t, srv, *inst.PrivateIpAddress, "two")
	if got := must(srv.ReadFile(*inst.InstanceId, "/written"))(t); string(got) != "one two" {
		t.Errorf("ReadFile of the instance = %q, want what was uploaded and written", got)
	}
	captured := must(c.CreateImage(t.Context(), &awsec2.CreateImageInput{InstanceId: inst.InstanceId, Name: aws.String("captured")}))(t)
	img := must(c.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{ImageIds: []string{*captured.ImageId}}))(t).Images[0]
	snap := *img.BlockDeviceMappings[0].Ebs.SnapshotId
	copy(disk, "one two")
	sameBlocks(t, "download of the captured image", download(t, direct, snap), map[int32][]byte{0: disk})
	diff := must(direct.ListChangedBlocks(t.Context(), &ebs.ListChangedBlocksInput{FirstSnapshotId: &id, SecondSnapshotId: &snap}))(t)
	if len(diff.ChangedBlocks) != 1 || *diff.VolumeSize != 4 {
		t.Errorf("ListChangedBlocks = %d blocks, %d GiB, want 1 and 4", len(diff.ChangedBlocks), *diff.VolumeSize)
	}
}

// The machines in memory have no disks, and say so.
func TestSandboxHasNoBlocks(t *testing.T) {
	srv, c := start(t, nil)
	direct := ebsClient(srv.Config(region))
	inst := run(t, c, *ubuntu(t, c).ImageId, nil)
	vol := *describe(t, c, *inst.InstanceId).BlockDeviceMappings[0].Ebs.VolumeId
	snap := must(c.CreateSnapshot(t.Context(), &awsec2.CreateSnapshotInput{VolumeId: &vol}))(t)
	_, err := direct.ListSnapshotBlocks(t.Context(), &ebs.ListSnapshotBlocksInput{SnapshotId: snap.SnapshotId})
	if reason(err) != "ValidationException INVALID_SNAPSHOT_ID" || !strings.Contains(err.Error(), "have files but no disk") {
		t.Errorf("ListSnapshotBlocks of a sandbox's snapshot: %v", err)
	}
	begin := &ebs.StartSnapshotInput{VolumeSize: aws.Int64(8), ParentSnapshotId: snap.SnapshotId}
	if _, err := direct.StartSnapshot(t.Context(), begin); reason(err) != "ValidationException INVALID_SNAPSHOT_ID" {
		t.Errorf("StartSnapshot with a sandbox's snapshot as parent: %v", err)
	}
	id := upload(t, direct, 8, "", map[int32][]byte{0: randomBlock(1)})
	made := must(c.RegisterImage(t.Context(), &awsec2.RegisterImageInput{
		Name: aws.String("uploaded"), Architecture: "x86_64", VirtualizationType: aws.String("hvm"), RootDeviceName: aws.String("/dev/xvda"), EnaSupport: aws.Bool(true),
		BlockDeviceMappings: []ec2types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &ec2types.EbsBlockDevice{SnapshotId: &id}}},
	}))(t)
	dead := run(t, c, *made.ImageId, nil)
	for srv.Console(*dead.InstanceId) == "" {
		time.Sleep(time.Millisecond)
	}
	if got := srv.Console(*dead.InstanceId); !strings.Contains(got, "cannot boot from blocks") {
		t.Errorf("Console = %q, want why the instance does not boot", got)
	}
	if _, err := srv.ReadFile(id, "/etc/passwd"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("ReadFile = %v, want ErrUnsupported", err)
	}
}

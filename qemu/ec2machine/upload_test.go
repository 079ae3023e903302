//go:build linux

package ec2machine_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// TestUploadedDisk uploads a disk by EBS direct and boots an instance of it.
func TestUploadedDisk(t *testing.T) {
	if !long() {
		t.Skip("takes long: set BAKESTONE_LONG=1")
	}
	l := newLab(t)
	raw := filepath.Join(t.TempDir(), "raw")
	if out, err := exec.CommandContext(t.Context(), "qemu-img", "convert", "-O", "raw", testenv.Need(t, "qemu"), raw).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v: %s", err, out)
	}
	image := l.register("uploaded", l.upload(raw))
	m := l.login(l.launch(image, nil), nil)
	if got := l.sh(m, "uname -s; lsblk 2>/dev/null; cat /sys/block/vda/size"); !strings.HasPrefix(got, "Linux") || !strings.HasSuffix(got, "2097152") {
		t.Errorf("output of the uploaded guest: %q, want Linux on a disk of 1 GiB", got)
	}
}

// upload writes a disk to a snapshot, without blocks of zeros.
func (l *lab) upload(raw string) (snapshot string) {
	l.Helper()
	direct := ebs.NewFromConfig(l.srv.Config(region))
	snapshot = *must(direct.StartSnapshot(l.Context(), &ebs.StartSnapshotInput{VolumeSize: aws.Int64(1)}))(l.T).SnapshotId
	f := must(os.Open(raw))(l.T)
	defer f.Close()
	block, changed := make([]byte, 512<<10), int32(0)
	for index := int32(0); ; index++ {
		n, err := io.ReadFull(f, block)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			l.Fatal(err)
		}
		clear(block[n:])
		if len(bytes.Trim(block, "\x00")) == 0 {
			continue
		}
		sum := sha256.Sum256(block)
		must(direct.PutSnapshotBlock(l.Context(), &ebs.PutSnapshotBlockInput{
			SnapshotId: &snapshot, BlockIndex: &index, BlockData: bytes.NewReader(block), DataLength: aws.Int32(int32(len(block))),
			Checksum: aws.String(base64.StdEncoding.EncodeToString(sum[:])), ChecksumAlgorithm: "SHA256",
		}))(l.T)
		changed++
	}
	must(direct.CompleteSnapshot(l.Context(), &ebs.CompleteSnapshotInput{SnapshotId: &snapshot, ChangedBlocksCount: &changed}))(l.T)
	waiter := awsec2.NewSnapshotCompletedWaiter(l.ec2, func(o *awsec2.SnapshotCompletedWaiterOptions) { o.MinDelay = 10 * time.Millisecond })
	if err := waiter.Wait(l.Context(), &awsec2.DescribeSnapshotsInput{SnapshotIds: []string{snapshot}}, time.Minute); err != nil {
		l.Fatal(err)
	}
	return snapshot
}

// register makes an image of a snapshot.
func (l *lab) register(name, snapshot string) string {
	l.Helper()
	return *must(l.ec2.RegisterImage(l.Context(), &awsec2.RegisterImageInput{
		Name: &name, Architecture: "x86_64", VirtualizationType: aws.String("hvm"), RootDeviceName: aws.String("/dev/xvda"), EnaSupport: aws.Bool(true),
		BlockDeviceMappings: []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{SnapshotId: &snapshot}}},
	}))(l.T).ImageId
}

// TestKeyPair logs in by a key pair, whose public half cloud-init finds in the seed.
func TestKeyPair(t *testing.T) {
	if !long() {
		t.Skip("takes long: set BAKESTONE_LONG=1")
	}
	l := newLab(t)
	pair := must(l.ec2.CreateKeyPair(t.Context(), &awsec2.CreateKeyPairInput{KeyName: aws.String("team"), KeyType: "ed25519"}))(t)
	id := l.launch(l.image("debian"), func(in *awsec2.RunInstancesInput) {
		in.KeyName = pair.KeyName
		script := "#!/bin/sh\nhostname >/srv/name\n"
		in.UserData = aws.String(base64.StdEncoding.EncodeToString([]byte(script)))
	})
	m := l.login(id, func(c *sshmachine.Config) {
		c.User, c.HostKey = "debian", sshmachine.InsecureAnyHostKey()
		c.Auth = []sshmachine.Auth{sshmachine.PrivateKey([]byte(*pair.KeyMaterial), bake.Secret{})}
	})
	want := strings.Split(*l.awaitState(id, types.InstanceStateNameRunning).PrivateDnsName, ".")[0]
	if got := l.sh(m, "cloud-init status --wait >/dev/null; cat /srv/name; sudo -n id -u"); got != want+"\n0" {
		t.Errorf("host name and user by sudo = %q, want %q and 0; the user data has not run", got, want)
	}
}

//go:build unix

package ec2_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/internal/testenv/disktest"
)

// boto3Upload is the loop that people write: 64 threads that put the blocks of a file.
const boto3Upload = `
import base64, hashlib, sys, time, resource
from concurrent.futures import ThreadPoolExecutor
import boto3, botocore.config
path, endpoint, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
c = boto3.client("ebs", endpoint_url=endpoint, region_name="eu-west-1", aws_access_key_id=sys.argv[4], aws_secret_access_key="secret",
    config=botocore.config.Config(max_pool_connections=64))
BLOCK = 512 << 10
start = time.time()
snap = c.start_snapshot(VolumeSize=size)["SnapshotId"]
zero = bytes(BLOCK)
sums = {}
def put(i):
    with open(path, "rb") as f:
        f.seek(i * BLOCK)
        data = f.read(BLOCK)
    if data == zero:
        return
    sha = hashlib.sha256(data).digest()
    c.put_snapshot_block(SnapshotId=snap, BlockIndex=i, BlockData=data, DataLength=BLOCK, Checksum=base64.b64encode(sha).decode(), ChecksumAlgorithm="SHA256")
    sums[i] = sha
with ThreadPoolExecutor(64) as pool:
    list(pool.map(put, range(size * 2048)))
all = hashlib.sha256(b"".join(sums[i] for i in sorted(sums))).digest()
c.complete_snapshot(SnapshotId=snap, ChangedBlocksCount=len(sums), Checksum=base64.b64encode(all).decode(), ChecksumAlgorithm="SHA256", ChecksumAggregationMethod="LINEAR")
u = resource.getrusage(resource.RUSAGE_SELF)
peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print("%.2f s, %.2f s of CPU, %d MiB, %d blocks" % (time.time() - start, u.ru_utime + u.ru_stime, int(peak[0]) >> 10, len(sums)))
`

const (
	speedEndpoint = "BAKESTONE_TEST_SPEED_ENDPOINT"
	speedDisk     = "BAKESTONE_TEST_SPEED_DISK"
	speedSums     = "BAKESTONE_TEST_SPEED_SUMS"
	speedKey      = "BAKESTONE_TEST_SPEED_KEY"
)

// TestDiskSpeed prints a table of uploads to ec2test: ours and a loop of boto3, each in a
// process of its own. It is part of the long form.
func TestDiskSpeed(t *testing.T) {
	if endpoint := os.Getenv(speedEndpoint); endpoint != "" {
		speedChild(t, endpoint)
		return
	}
	if os.Getenv("BAKESTONE_LONG") == "" {
		t.Skip("a table of figures: set BAKESTONE_LONG")
	}
	python := testenv.Need(t, "moto") // whose interpreter has boto3
	var server *ec2test.Server
	fresh := func() { server = newServer(t, nil) } // which has none of the blocks
	login, err := newServer(t, nil).Config(testRegion).Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, sums := t.TempDir(), t.TempDir()
	script := filepath.Join(dir, "upload.py")
	if err := os.WriteFile(script, []byte(boto3Upload), 0o600); err != nil {
		t.Fatal(err)
	}
	one, eight := filepath.Join(dir, "one.raw"), filepath.Join(dir, "eight.raw")
	writeRandomDisk(t, one, 1<<30, 1<<30)
	writeRandomDisk(t, eight, 8<<30, 1<<30)
	ours := func(path string) string {
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestDiskSpeed$", "-test.v")
		cmd.Env = append(os.Environ(), speedEndpoint+"="+server.URL(), speedDisk+"="+path, speedSums+"="+sums, speedKey+"="+login.AccessKeyID)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("upload: %v\n%s", err, out)
		}
		_, figures, _ := strings.Cut(string(out), "figures: ")
		line, _, _ := strings.Cut(figures, "\n")
		return line
	}
	boto3 := func(path string, size int) string {
		out, err := exec.CommandContext(t.Context(), python, script, path, server.URL(), fmt.Sprint(size), login.AccessKeyID).CombinedOutput()
		if err != nil {
			t.Fatalf("boto3: %v\n%s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	t.Logf("SHA-256 alone, 1 GiB: %s", shaAlone(t, one))
	fresh()
	t.Logf("1 GiB of random data, boto3: %s", boto3(one, 1))
	fresh()
	t.Logf("1 GiB of random data, ours:  %s", ours(one))
	fresh()
	t.Logf("8 GiB with 1 GiB, boto3: %s", boto3(eight, 8))
	fresh()
	t.Logf("8 GiB with 1 GiB, ours:  %s", ours(eight))
	changeBlocks(t, eight, 1<<30, 100)
	t.Logf("1 %% changed, ours:  %s", ours(eight))
	fresh()
	t.Logf("1 %% changed, boto3: %s", boto3(eight, 8))
}

// writeRandomDisk writes a disk whose first bytes are random, but for its partition table.
func writeRandomDisk(t *testing.T, path string, size, random int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{1}), random); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	head := disktest.MBR(2*mib, true, make([]byte, mib))[:512]
	if _, err := f.WriteAt(head, 0); err != nil {
		t.Fatal(err)
	}
}

// changeBlocks changes one of so many blocks.
func changeBlocks(t *testing.T, path string, size int64, of int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for off := int64(blockSize); off < size; off += int64(of) * blockSize {
		if _, err := f.WriteAt([]byte("changed"), off); err != nil {
			t.Fatal(err)
		}
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // never fails
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// shaAlone hashes a file, block by block.
func shaAlone(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before, start, data := cpu(), time.Now(), make([]byte, blockSize)
	for {
		if _, err := io.ReadFull(f, data); err != nil {
			break
		}
		sha256.Sum256(data)
	}
	return fmt.Sprintf("%.2f s, %.2f s of CPU", time.Since(start).Seconds(), (cpu() - before).Seconds())
}

// peakMemory returns the most memory that the process had. That of Getrusage is the
// parent's, if it had more.
func peakMemory() string {
	status, _ := os.ReadFile("/proc/self/status") // elsewhere there is none
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}

// speedChild uploads a disk and prints figures.
func speedChild(t *testing.T, endpoint string) {
	t.Helper()
	debug.SetMemoryLimit(100 << 20) // as a container of that size
	cfg := aws.Config{
		Region: testRegion, BaseEndpoint: aws.String(endpoint), Credentials: credentials.NewStaticCredentialsProvider(os.Getenv(speedKey), "secret", ""),
	}
	cloud := ec2.NewCloud(cfg, &ec2.CloudOptions{PollInterval: 50 * time.Millisecond, SettleTime: time.Second, NoCallLimits: true})
	said := ""
	observe := func(e bake.Event) {
		if e.Kind == bake.Message && strings.Contains(e.Text, "blocks sent") {
			_, said, _ = strings.Cut(e.Text, ": ")
		}
	}
	img := diskImage(cloud, ec2.Disk{File: os.Getenv(speedDisk), BlockSums: os.Getenv(speedSums)})
	before, start := cpu(), time.Now()
	_, err := bake.Bake(context.Background(), &bake.Options{Observe: observe}, img)
	if err != nil {
		t.Fatalf("Bake: %v", err)
	}
	took, used := time.Since(start), cpu()-before
	fmt.Printf("figures: %.2f s, %.2f s of CPU, %s, %s\n", took.Seconds(), used.Seconds(), peakMemory(), said)
	runtime.KeepAlive(cloud)
}

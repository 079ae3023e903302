//go:build linux

package ec2_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// boto3Upload is the loop that people write: 64 threads that put the blocks of a file.
const boto3Upload = `
import base64, hashlib, sys
from concurrent.futures import ThreadPoolExecutor
import boto3, botocore.config
path, endpoint, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
c = boto3.client("ebs", endpoint_url=endpoint, region_name="eu-west-1", config=botocore.config.Config(max_pool_connections=64))
BLOCK = 512 << 10
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
print("%d blocks sent" % len(sums))
`

// putTimes are when blocks arrived at a server that discards them.
type putTimes struct {
	next http.Handler

	mu    sync.Mutex
	times []time.Time
}

func (p *putTimes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut {
		if strings.Contains(r.URL.Path, "/completion/") { // of a snapshot without blocks
			r.Header.Set("x-amz-ChangedBlocksCount", "0")
			for _, name := range []string{"", "-Algorithm", "-Aggregation-Method"} {
				r.Header.Del("x-amz-Checksum" + name)
			}
		}
		p.next.ServeHTTP(w, r)
		return
	}
	now := time.Now()
	p.mu.Lock()
	p.times = append(p.times, now)
	p.mu.Unlock()
	_, _ = io.Copy(io.Discard, r.Body) // a client that fails says so
	w.Header().Set("x-amz-Checksum", r.Header.Get("x-amz-Checksum"))
	w.Header().Set("x-amz-Checksum-Algorithm", "SHA256")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, "{}") // as above
}

// TestDiskRate prints how many blocks a second are sent to a server that only counts them.
func TestDiskRate(t *testing.T) {
	if os.Getenv("BAKESTONE_LONG") == "" {
		t.Skip("a figure: set BAKESTONE_LONG")
	}
	const sizeGiB = 2
	server := newServer(t, nil)
	login, err := server.Config(testRegion).Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	puts := &putTimes{next: httputil.NewSingleHostReverseProxy(to)}
	front := httptest.NewServer(puts)
	defer front.Close()
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk.raw")
	writeRandomDisk(t, disk, sizeGiB<<30, sizeGiB<<30)
	command := speedProgram(t, dir, login.AccessKeyID)("disk")
	for _, more := range [][]string{nil, {"-limits"}} { // by default limits hold
		puts.times = nil
		used := measure(t, login.AccessKeyID, append(command(front.URL, disk, sizeGiB), append(more, "-sums", "")...))
		most, first := 0, 0
		for last, at := range puts.times {
			for at.Sub(puts.times[first]) >= time.Second {
				first++
			}
			most = max(most, last-first+1)
		}
		took := puts.times[len(puts.times)-1].Sub(puts.times[0])
		t.Logf("%v: %.0f blocks a second, at most %d in any second, documented are %.0f; %.2f s of CPU in %.2f s", more,
			float64(len(puts.times))/took.Seconds(), most, awsapi.DocumentedEBS("PutSnapshotBlock").Requests.PerSecond, used.Processor.Seconds(), used.Clock.Seconds())
	}
}

package ec2_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/testenv/disktest"
)

const blockSize = 512 << 10

// randomDisk returns a disk that boots by BIOS, full of random data but for some holes.
func randomDisk(size int) []byte {
	content := make([]byte, size-4*mib)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	clear(content[5*mib : 9*mib])
	return disktest.GPT(int64(size), true, disktest.Partition{Type: disktest.BIOS, Content: make([]byte, mib)}, disktest.Partition{Type: disktest.Linux, Content: content})
}

// uploads counts the requests of EBS direct, and can kill or change them.
type uploads struct {
	next   aws.HTTPClient
	before func(*http.Request) error // may be nil

	puts  atomic.Int64
	mu    sync.Mutex
	times map[string]int // puts of each block of each snapshot
}

func (u *uploads) Do(req *http.Request) (*http.Response, error) {
	if u.before != nil {
		if err := u.before(req); err != nil {
			return nil, err
		}
	}
	resp, err := u.next.Do(req)
	if isPut(req) && err == nil && resp.StatusCode == http.StatusCreated {
		u.puts.Add(1)
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.times == nil {
			u.times = map[string]int{}
		}
		u.times[req.URL.Path]++
	}
	return resp, err
}

func isPut(req *http.Request) bool { return req.Method == http.MethodPut }

// watchedCloud returns a cloud whose requests are counted.
func watchedCloud(server *ec2test.Server, before func(*http.Request) error) (*ec2.Cloud, *uploads) {
	cfg := server.Config(testRegion)
	u := &uploads{next: cfg.HTTPClient, before: before}
	cfg.HTTPClient = u
	return ec2.NewCloud(cfg, cloudOptions(server)), u
}

// headSize is how much is compared of a disk of 1 GiB, whose rest is a hole but for the copy
// of the GPT.
const headSize = 64 * mib

// download downloads the disk of an AMI and returns the file.
func download(t testing.TB, cloud *ec2.Cloud, region, id string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "downloaded")
	_, err := ec2.DownloadDisk(t.Context(), cloud, &ec2.DiskDownload{DiskSelection: ec2.DiskSelection{Region: region, ID: id}, Path: path})
	if err != nil {
		t.Fatalf("DownloadDisk(%s): %v", id, err)
	}
	return path
}

// sameContent compares the disk of an AMI with the one that was uploaded, whose GPT has its
// copy at the end of the volume now.
func sameContent(t testing.TB, cloud *ec2.Cloud, region, id string, want []byte) {
	t.Helper()
	file, err := os.Open(download(t, cloud, region, id))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	head, end := make([]byte, headSize), make([]byte, 512)
	_, headErr := file.ReadAt(head, 0)
	_, endErr := file.ReadAt(end, 1<<30-512)
	info, err := file.Stat()
	if err := errors.Join(err, headErr, endErr); err != nil || info.Size() != 1<<30 {
		t.Fatalf("downloaded %d bytes, %v, want 1 GiB", info.Size(), err)
	}
	if from, to := 34*512, len(want)-34*512; !bytes.Equal(head[from:to], want[from:to]) {
		t.Errorf("the disk of %s has other contents", id)
	}
	if string(end[:8]) != "EFI PART" {
		t.Errorf("the volume of %s ends with %q, want the copy of the GPT", id, end[:8])
	}
}

// blocksOf returns how many blocks of a disk on a volume of 1 GiB are not zeros.
func blocksOf(disk []byte) int {
	n := 1 // the copy of the GPT
	for block := range slices.Chunk(disk, blockSize) {
		if bytes.ContainsFunc(block, func(r rune) bool { return r != 0 }) {
			n++
		}
	}
	return n
}

func TestDiskIncremental(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud, sent := watchedCloud(server, nil)
		disk := randomDisk(32 * mib)
		sums := t.TempDir()
		var artifacts []bake.Artifact
		upload := func(source ec2.Disk) string {
			t.Helper()
			sent.puts.Store(0)
			results, err := bake.Bake(t.Context(), nil, diskImage(cloud, source))
			if err != nil {
				t.Fatalf("Bake: %v", err)
			}
			artifacts = append(artifacts, results[0].Artifact)
			return results[0].Artifact.ID()
		}
		// The last block of the disk has only the old copy of the GPT, which is moved.
		path := writeDisk(t, disk)
		upload(ec2.Disk{File: path, BlockSums: sums})
		all := int(sent.puts.Load())
		if want := blocksOf(disk); all != want && all != want-1 {
			t.Errorf("first upload sent %d blocks, want those with data, %d", all, want)
		}
		sameContent(t, cloud, "", artifacts[0].ID(), disk)

		upload(ec2.Disk{File: path, BlockSums: sums})
		if n := sent.puts.Load(); n != 0 {
			t.Errorf("upload of the same disk sent %d blocks, want none", n)
		}
		sameContent(t, cloud, "", artifacts[1].ID(), disk)

		// One block changes, one becomes zeros, and one of zeros gets data.
		disk[12*mib]++
		clear(disk[20*mib : 20*mib+blockSize])
		disk[8*mib] = 1
		id := upload(ec2.Disk{File: writeDisk(t, disk), BlockSums: sums})
		if n := sent.puts.Load(); n != 3 {
			t.Errorf("upload with three changed blocks sent %d", n)
		}
		sameContent(t, cloud, "", id, disk)

		// The difference of two, and the earlier disk with it.
		first := download(t, cloud, "", artifacts[1].ID())
		for _, format := range []string{"raw", "qcow2"} {
			to := filepath.Join(t.TempDir(), "patched")
			got, err := ec2.DownloadDisk(t.Context(), cloud, &ec2.DiskDownload{
				DiskSelection: ec2.DiskSelection{ID: id}, Since: artifacts[1].ID(), Base: first, Path: to, Format: format,
			})
			if err != nil || got.Blocks != 3 || got.Size != 1<<30 {
				t.Fatalf("DownloadDisk of the difference as %s = %+v, %v, want 3 blocks of 1 GiB", format, got, err)
			}
			sent.puts.Store(0)
			again := diskImage(cloud, ec2.Disk{File: to, BlockSums: sums})
			results, err := bake.Bake(t.Context(), nil, again)
			if err != nil {
				t.Fatalf("Bake of the downloaded %s: %v", format, err)
			}
			artifacts = append(artifacts, results[0].Artifact)
			if n := sent.puts.Load(); n != 0 {
				t.Errorf("upload of the downloaded %s sent %d blocks, want none", format, n)
			}
		}

		// Without the sums, the parent is read.
		upload(ec2.Disk{File: path, BlockSums: t.TempDir(), ReadParent: true})
		if n := sent.puts.Load(); n != 3 {
			t.Errorf("upload after reading the parent sent %d blocks, want 3", n)
		}
		wantLeftovers(t, server, artifacts...)
	})
}

func TestDiskFaults(t *testing.T) {
	t.Parallel()
	disk := randomDisk(16 * mib)
	path := writeDisk(t, disk)
	for name, fault := range map[string]ec2test.Fault{
		"lost response":          {Action: "PutSnapshotBlock", Nth: 5, Times: 3, When: ec2test.After},
		"lost request":           {Action: "PutSnapshotBlock", Nth: 2, Times: 3},
		"throttling":             {Action: "PutSnapshotBlock", Nth: 3, Times: 20, Code: "RequestThrottledException"},
		"server error":           {Action: "PutSnapshotBlock", Nth: 3, Times: 5, Code: "InternalServerException"},
		"damaged block":          {Action: "PutSnapshotBlock", Nth: 7, Times: 2, Code: "ValidationException"},
		"expired credentials":    {Action: "PutSnapshotBlock", Nth: 9, Times: 4, Code: "ExpiredTokenException"},
		"lost start":             {Action: "StartSnapshot", When: ec2test.After},
		"expired before start":   {Action: "StartSnapshot", Times: 2, Code: "ExpiredTokenException"},
		"lost completion":        {Action: "CompleteSnapshot", When: ec2test.After, Times: 2},
		"throttled completion":   {Action: "CompleteSnapshot", Times: 2, Code: "RequestThrottledException"},
		"lost registration":      {Action: "RegisterImage", When: ec2test.After},
		"expired for the search": {Action: "DescribeSnapshots", Code: "RequestLimitExceeded", Times: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				server.Fail(fault)
				cloud := newCloud(server)
				results, err := bake.Bake(t.Context(), nil, diskImage(cloud, ec2.Disk{File: path}))
				if err != nil {
					t.Fatalf("Bake: %v", err)
				}
				sameContent(t, cloud, "", results[0].Artifact.ID(), disk)
				wantLeftovers(t, server, results[0].Artifact)
			})
		})
	}
}

// TestDiskRefused checks that nothing is sent of disks that cannot become AMIs.
func TestDiskRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud, sent := watchedCloud(server, nil)
		root := disktest.Partition{Type: disktest.Linux, Content: make([]byte, mib)}
		loader := func(name string, machine uint16) []byte {
			esp := disktest.FAT(t, 4*mib, map[string][]byte{"EFI/BOOT/" + name: disktest.EFIProgram(machine)})
			return disktest.GPT(16*mib, false, disktest.Partition{Type: disktest.ESP, Content: esp}, root)
		}
		good := writeDisk(t, randomDisk(16*mib))
		for _, test := range []struct {
			name string
			disk ec2.Disk
			want string
		}{
			{"no partition table", ec2.Disk{File: writeDisk(t, make([]byte, mib))}, "no partition table"},
			{"no boot loader", ec2.Disk{File: writeDisk(t, disktest.GPT(8*mib, false, root))}, "neither a boot loader"},
			{"other architecture", ec2.Disk{File: writeDisk(t, loader("BOOTAA64.EFI", disktest.ARM64)), Architecture: "x86_64"}, "boot loader is for [arm64], want x86_64"},
			{"wrong program", ec2.Disk{File: writeDisk(t, loader("BOOTX64.EFI", disktest.ARM64))}, "is a program for arm64, want x86_64"},
			{"no loader for arm64", ec2.Disk{File: good, Architecture: "arm64"}, "BOOTAA64.EFI"},
			{"too small", ec2.Disk{File: good, SizeGiB: -1}, "SizeGiB"},
			{"missing", ec2.Disk{File: filepath.Join(t.TempDir(), "nothing")}, "no such file"},
			{"directory", ec2.Disk{File: t.TempDir()}, "directory"},
			{"damaged qcow2", ec2.Disk{File: good, Format: "qcow2"}, "not a qcow2"},
			{"short stream", ec2.Disk{Size: 100 * mib, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(nil)), nil }}, "stream"},
			{"nothing", ec2.Disk{}, "Disk.File"},
		} {
			_, err := bake.Bake(t.Context(), nil, diskImage(cloud, test.disk))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: Bake = %v, want an error with %q", test.name, err, test.want)
			}
		}
		img := diskImage(cloud, ec2.Disk{File: good})
		img.Provisioners = []bake.Provisioner{bake.ProvisionFunc{Name: "x", Do: func(context.Context, bake.Machine) error { return nil }}}
		if _, err := bake.Bake(t.Context(), nil, img); err == nil || !strings.Contains(err.Error(), "which has no machine") {
			t.Errorf("Bake with a provisioner = %v, want an error that says what to do", err)
		}
		if n := sent.puts.Load(); n > 0 || len(server.Leftovers()) > 0 {
			t.Errorf("%d blocks were sent, and %q are left", n, server.Leftovers())
		}
	})
}

// TestDiskChanges changes a disk in the middle of its upload.
func TestDiskChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		path := writeDisk(t, randomDisk(24*mib))
		var once sync.Once
		cloud, _ := watchedCloud(server, func(req *http.Request) error {
			if isPut(req) {
				once.Do(func() {
					if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
						t.Error(err)
					}
				})
			}
			return nil
		})
		_, err := bake.Bake(t.Context(), nil, diskImage(cloud, ec2.Disk{File: path}))
		if err == nil || !strings.Contains(err.Error(), "changed while it was read") {
			t.Errorf("Bake = %v, want that the disk changed", err)
		}
		if left := server.Leftovers(); len(left) > 0 {
			t.Errorf("Leftovers = %q, want none", left)
		}
	})
}

// TestDiskKilled ends a process at a request of its upload; another one continues it, or
// what it left is removed. BAKESTONE_LONG does so at a hundred points.
func TestDiskKilled(t *testing.T) {
	disk := randomDisk(24 * mib)
	path := writeDisk(t, disk)
	points, size := 8, blocksOf(disk)
	if os.Getenv("BAKESTONE_LONG") != "" {
		points = 100
	}
	for n := range points {
		point := int64(1 + n*(size+12)/points)
		t.Run(fmt.Sprint(point), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server, advance := reapServer(t)
				k := killUpload(t, server, ec2.Disk{File: path}, point)
				if k.record == nil {
					return // it has fewer requests
				}
				cloud := newCloud(server)
				img := diskImage(cloud, ec2.Disk{File: path})
				switch n % 4 {
				case 2:
					if err := bake.Undo(t.Context(), nil, img, k.record); err != nil {
						t.Fatalf("Undo: %v", err)
					}
					wantLeftovers(t, server)
				case 3: // the record is lost
					advance(24 * time.Hour)
					reaper := &ec2.Reaper{Clouds: []*ec2.Cloud{cloud}}
					result, err := reaper.Reap(t.Context())
					if err != nil || len(result.Removed) == 0 {
						t.Fatalf("Reap = %v, %v, want the snapshot removed", result, err)
					}
					wantLeftovers(t, server)
				default:
					results, err := bake.Bake(t.Context(), &bake.Options{Resume: []*bake.Record{k.record}}, img)
					if err != nil {
						t.Fatalf("Bake of the record: %v", err)
					}
					sameContent(t, cloud, "", results[0].Artifact.ID(), disk)
					wantLeftovers(t, server, results[0].Artifact)
				}
			})
		})
	}
}

// TestDiskNotSentAgain kills an upload of 1,200 blocks after 1,000: only those may be sent
// again that were on their way since the last save.
func TestDiskNotSentAgain(t *testing.T) {
	if os.Getenv("BAKESTONE_LONG") == "" {
		t.Skip("sends 600 MiB twice; set BAKESTONE_LONG=1")
	}
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		disk := ec2.Disk{File: writeDisk(t, randomDisk(600*mib))}
		k := killUpload(t, server, disk, 1000)
		cloud, second := watchedCloud(server, nil)
		if _, err := bake.Bake(t.Context(), &bake.Options{Resume: []*bake.Record{k.record}}, diskImage(cloud, disk)); err != nil {
			t.Fatalf("Bake of the record: %v", err)
		}
		twice := 0
		for block := range second.times {
			if k.sent[block] > 0 {
				twice++
			}
		}
		if most := 2*64 + 512; len(k.sent) < 900 || twice > most {
			t.Errorf("of %d blocks %d were sent twice, want at most %d", len(k.sent), twice, most)
		}
	})
}

// A killedUpload is what an upload leaves whose process was killed.
type killedUpload struct {
	record *bake.Record // nil if it ended before
	sent   map[string]int
}

// killUpload kills the process that uploads a disk after a number of its requests.
func killUpload(t *testing.T, server *ec2test.Server, disk ec2.Disk, point int64) killedUpload {
	t.Helper()
	store := &storeOfKilled{Store: bake.MemoryStore()}
	var requests atomic.Int64
	errKilled := errors.New("the process was killed")
	dying, first := watchedCloud(server, func(req *http.Request) error {
		if req.Method == http.MethodPost && !strings.HasPrefix(req.URL.Path, "/snapshots") && requests.Load() == 0 {
			return nil // before the upload
		}
		if requests.Add(1) > point {
			store.dead.Store(true)
			return errKilled
		}
		return nil
	})
	if _, err := bake.Bake(t.Context(), &bake.Options{Store: store}, diskImage(dying, disk)); err == nil {
		return killedUpload{}
	}
	builds, err := store.List(t.Context())
	if err != nil || len(builds) != 1 {
		t.Fatalf("List = %q, %v, want one record", builds, err)
	}
	record, err := store.Load(t.Context(), builds[0])
	if err != nil {
		t.Fatal(err)
	}
	return killedUpload{record, first.times}
}

// A storeOfKilled fails once its process is killed.
type storeOfKilled struct {
	bake.Store
	dead atomic.Bool
}

func (s *storeOfKilled) Save(ctx context.Context, r *bake.Record) error {
	if s.dead.Load() {
		return &bake.PermanentError{Err: errors.New("the process was killed")}
	}
	return s.Store.Save(ctx, r)
}

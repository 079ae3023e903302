//go:build linux

package ec2_test

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/internal/testenv/disktest"
	"github.com/bakestone-go/bakestone/internal/testenv/usage"
)

// A speedPeer is a program that uploads a disk.
type speedPeer struct {
	name string

	// command returns the program and its arguments.
	command func(endpoint, disk string, sizeGiB int) []string
}

// speedProgram builds the program of testdata/speed, and returns the command for what it
// does.
func speedProgram(t *testing.T, dir, key string) func(what string) func(endpoint, disk string, sizeGiB int) []string {
	t.Helper()
	program := filepath.Join(dir, "speed")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./testdata/speed").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return func(what string) func(string, string, int) []string {
		return func(endpoint, disk string, _ int) []string {
			return []string{program, "-what", what, "-endpoint", endpoint, "-disk", disk, "-key", key, "-sums", filepath.Join(dir, "sums")}
		}
	}
}

// speedPeers returns ours and those it is compared with. The first two do only a part of
// what an upload is.
func speedPeers(t *testing.T, dir, key string) []speedPeer {
	t.Helper()
	program := speedProgram(t, dir, key)
	peers := []speedPeer{{"SHA-256 alone", program("sha")}, {"net/http alone", program("plain")}, {"ours", program("disk")}}
	t.Run("boto3", func(t *testing.T) {
		python, script := testenv.Need(t, "moto"), filepath.Join(dir, "upload.py") // whose interpreter has boto3
		if err := os.WriteFile(script, []byte(boto3Upload), 0o600); err != nil {
			t.Fatal(err)
		}
		peers = append(peers, speedPeer{"boto3", func(endpoint, disk string, sizeGiB int) []string {
			return []string{python, script, disk, endpoint, strconv.Itoa(sizeGiB)}
		}})
	})
	t.Run("coldsnap", func(t *testing.T) {
		coldsnap := testenv.Need(t, "coldsnap")
		peers = append(peers, speedPeer{"coldsnap", func(endpoint, disk string, sizeGiB int) []string {
			return []string{coldsnap, "--endpoint", endpoint, "--region", testRegion, "upload", "--no-progress", "--omit-zero-blocks", "--volume-size", strconv.Itoa(sizeGiB), disk}
		}})
	})
	return peers
}

// measure runs a command.
func measure(t *testing.T, key string, command []string) usage.Usage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+key, "AWS_SECRET_ACCESS_KEY=secret")
	used, err := usage.Of(cmd, "")
	if err != nil {
		t.Fatal(err)
	}
	return used
}

// median returns the median of what one thing took.
func median(all []usage.Usage) string {
	middle := func(of func(usage.Usage) int64) int64 {
		values := make([]int64, len(all))
		for i, u := range all {
			values[i] = of(u)
		}
		return usage.Median(values)
	}
	clock := time.Duration(middle(func(u usage.Usage) int64 { return int64(u.Clock) }))
	processor := time.Duration(middle(func(u usage.Usage) int64 { return int64(u.Processor) }))
	memory := middle(func(u usage.Usage) int64 { return u.Memory })
	said, _, _ := strings.Cut(all[0].Output, "\n")
	return fmt.Sprintf("%6.2f s  %5.2f s of CPU  %4d MiB  %s", clock.Seconds(), processor.Seconds(), memory>>20, said)
}

// TestDiskSpeed prints a table of uploads to ec2test, the median of several turns. Each
// upload is a process of its own, the server another one. It is part of the long form.
func TestDiskSpeed(t *testing.T) {
	if os.Getenv("BAKESTONE_LONG") == "" {
		t.Skip("a table of figures: set BAKESTONE_LONG")
	}
	turns, err := strconv.Atoi(cmp.Or(os.Getenv("BAKESTONE_TURNS"), "3"))
	if err != nil {
		t.Fatal(err)
	}
	login, err := newServer(t, nil).Config(testRegion).Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir, key := t.TempDir(), login.AccessKeyID
	peers := speedPeers(t, dir, key)
	one, eight := filepath.Join(dir, "one.raw"), filepath.Join(dir, "eight.raw")
	writeRandomDisk(t, one, 1<<30, 1<<30)
	writeRandomDisk(t, eight, 8<<30, 1<<30)
	took := map[string][]usage.Usage{}
	row := func(disk, peer string) string { return fmt.Sprintf("%-26s %-16s", disk, peer) }
	var rows []string
	run := func(server *ec2test.Server, name string, p speedPeer, disk string, sizeGiB int) {
		name = row(name, p.name)
		if took[name] == nil {
			rows = append(rows, name)
		}
		took[name] = append(took[name], measure(t, key, p.command(server.URL(), disk, sizeGiB)))
	}
	for turn := range turns {
		var previous *ec2test.Server // which has our first version
		for _, p := range peers {
			func() {
				server := ec2test.New(nil) // which has none of the blocks
				defer server.Close()
				run(server, "1 GiB of random data", p, one, 1)
			}()
		}
		for _, p := range peers[2:] {
			server := ec2test.New(nil)
			run(server, "8 GiB with 1 GiB of data", p, eight, 8)
			if p.name == "ours" {
				previous = server
			} else {
				server.Close()
			}
		}
		changeBlocks(t, eight, 1<<30, 100, fmt.Sprint("changed ", turn))
		for _, p := range peers[2:] {
			server := previous
			if p.name != "ours" {
				server = ec2test.New(nil)
			}
			run(server, "the same with 1 % changed", p, eight, 8)
			server.Close()
		}
		if err := os.RemoveAll(filepath.Join(dir, "sums")); err != nil {
			t.Fatal(err)
		}
	}
	load, _ := os.ReadFile("/proc/loadavg") // of all that runs
	t.Logf("medians of %d turns, load %s", turns, load)
	for _, name := range rows {
		t.Logf("%s %s", name, median(took[name]))
	}
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
func changeBlocks(t *testing.T, path string, size int64, of int, to string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for off := int64(blockSize); off < size; off += int64(of) * blockSize {
		if _, err := f.WriteAt([]byte(to), off); err != nil {
			t.Fatal(err)
		}
	}
}

package amicleanup_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// serveImages is the variable that makes this process serve an embedded EC2 with
// so many images, so that its cost does not count for the benchmark.
const serveImages = "AMICLEANUP_SERVE_IMAGES"

func TestMain(m *testing.M) {
	if url := os.Getenv(planImages); url != "" {
		os.Exit(planBesidePeers(url))
	}
	n, err := strconv.Atoi(os.Getenv(serveImages))
	if err != nil {
		os.Exit(m.Run())
	}
	srv := ec2test.New(&ec2test.Options{Regions: []string{where}, Throttle: true})
	publishMany(srv, n)
	fmt.Println(srv.URL())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is done
	srv.Close()
}

// publishMany makes n images in groups of a hundred, one an hour.
func publishMany(srv *ec2test.Server, n int) []string {
	ids := make([]string, n)
	for i := range n {
		ids[i] = srv.Publish(ec2test.Image{
			Name: fmt.Sprintf("app%d %d", i/100, after(i).Unix()), Private: true, Created: after(i),
			Tags: map[string]string{"env": "prod", "family": fmt.Sprint("app", i/100), "commit": fmt.Sprintf("%040x", i)},
		})[where]
	}
	return ids
}

// BenchmarkPlan plans over all images of one account and region. The EC2 is in
// another process. Cpu-ms is the CPU time of the planning process, including the
// decoding of responses, and peak-MiB its largest memory.
func BenchmarkPlan(b *testing.B) {
	for _, images := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("images=%d", images), func(b *testing.B) {
			if images > 100_000 && !long() {
				b.Skipf("set %s=1: it takes minutes", longBenchmarks)
			}
			url := serveElsewhere(b, images)
			target := amicleanup.Connect(aws.Config{
				Region: where, BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("AKIATEST"+home, "secret", ""),
			}, &amicleanup.ConnectOptions{Account: home})
			c := &amicleanup.Cleaner{
				SettleTime: atOnce,
				Targets:    []amicleanup.Target{target},
				Policy: amicleanup.Policy{
					Select: amicleanup.Select{Name: "{group} {unix}"},
					Keep:   []amicleanup.Rule{amicleanup.Newest(99), amicleanup.InUse(inuse.Standard()...)},
				},
			}
			runtime.GC()
			before := cpuTime()
			peak := watchMemory(b)
			for b.Loop() {
				plan, err := c.Plan(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				if n := plan.Removals(); n != images/100 {
					b.Fatalf("%d removals, want %d", n, images/100)
				}
			}
			b.ReportMetric(float64((cpuTime()-before).Milliseconds())/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(peak())/(1<<20), "peak-MiB")
		})
	}
}

// longBenchmarks is the variable that runs the benchmarks that take minutes.
const longBenchmarks = "AMICLEANUP_LONG"

func long() bool { return os.Getenv(longBenchmarks) != "" }

// serveElsewhere returns the address of an EC2 in another process.
func serveElsewhere(b *testing.B, images int) string {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", serveImages, images))
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // it may have been ended by the benchmark's context
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// watchMemory samples the memory of this process until the returned func is
// called, which returns the largest sample.
func watchMemory(tb testing.TB) (peak func() uint64) {
	tb.Helper()
	const period = 5 * time.Millisecond
	done := make(chan struct{})
	var most uint64
	var wg sync.WaitGroup
	wg.Go(func() {
		sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			metrics.Read(sample)
			most = max(most, sample[0].Value.Uint64()-sample[1].Value.Uint64())
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	return func() uint64 {
		close(done)
		wg.Wait()
		return most
	}
}

//go:build linux

package ec2_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

const (
	// loadServer is an environment variable that turns TestLoadServer into the
	// server of the load benchmarks. Its value is the state that never ends.
	loadServer = "BAKESTONE_LOAD_SERVER"

	// loadProfiles is an environment variable that names a folder for profiles.
	loadProfiles = "BAKESTONE_LOAD_PROFILES"
)

// TestLoadServer is not a test: the load benchmarks run it in a process of its
// own, as an EC2 server reached over TCP.
func TestLoadServer(t *testing.T) {
	endless := os.Getenv(loadServer)
	if endless == "" {
		t.Skip("serves the load benchmarks")
	}
	port, err := freePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := &ec2test.Options{Listen: true, Port: port}
	switch endless {
	case "boot":
		o.Latency.Boot = 24 * time.Hour
	case "image":
		o.Latency.Image = 24 * time.Hour
	}
	server := ec2test.New(o)
	defer server.Close()
	fmt.Println("serving", server.URL(), port)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the benchmark closes it
}

// freePort returns a TCP port that nothing listens on.
func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	addr, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		return 0, err
	}
	return int(addr.Port()), l.Close()
}

// startLoadServer starts TestLoadServer and returns a Cloud for it and a func that
// ends it and returns the CPU time it took.
func startLoadServer(b *testing.B, endless string) (*ec2.Cloud, func() time.Duration) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestLoadServer$", "-test.v")
	cmd.Env = append(os.Environ(), loadServer+"="+endless)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	stop := func() time.Duration {
		defer cancel()
		_ = stdin.Close()
		_, _ = io.Copy(io.Discard, stdout)
		_ = cmd.Wait() // a server with endless states is not worth its result
		return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var url string
		var port int
		if n, _ := fmt.Sscanf(lines.Text(), "serving %s %d", &url, &port); n == 2 {
			return loadCloud(url, port), stop
		}
	}
	stop()
	b.Fatal("the server of the load benchmark did not start")
	return nil, nil
}

// loadCloud returns a Cloud for a server in another process, whose instances listen
// on a port other than 22.
func loadCloud(url string, port int) *ec2.Cloud {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	return ec2.NewCloud(aws.Config{
		Region:       testRegion,
		BaseEndpoint: aws.String(url),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIATEST123456789012", "secret", ""),
	}, &ec2.CloudOptions{
		Dial:          ec2test.DialPort(port),
		SourceAddress: func(context.Context) (netip.Addr, error) { return loopback, nil },
		PollInterval:  250 * time.Millisecond,
		SettleTime:    250 * time.Millisecond,
		MaxRetryDelay: time.Millisecond,
		NoCallLimits:  true,
	})
}

// BenchmarkLoad bakes many images at once. In "client" the server is another
// process, so that memory and CPU are those of Bakestone alone; in "both" it is in
// this one. Peak RSS is that of the process so far: run one case at a time.
func BenchmarkLoad(b *testing.B) {
	for _, images := range []int{1, 10, 100, 1000, 5000} {
		b.Run(fmt.Sprintf("client/%d", images), func(b *testing.B) {
			for b.Loop() {
				cloud, stop := startLoadServer(b, "none")
				bakeLoad(b, cloud, images)
				b.ReportMetric(stop().Seconds(), "server-cpu-s")
			}
		})
		b.Run(fmt.Sprintf("both/%d", images), func(b *testing.B) {
			for b.Loop() {
				server := ec2test.New(nil)
				bakeLoad(b, newCloud(server), images)
				server.Close()
			}
		})
	}
}

func bakeLoad(b *testing.B, cloud *ec2.Cloud, images int) {
	b.Helper()
	runtime.GC()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // resets the peak of RSS
	before := cpuTime(b)
	stopWatch := watchMemory()
	stopProfiles := watchProfiles(b)
	if _, err := bake.Bake(b.Context(), &bake.Options{Parallel: images}, fleet(cloud, images)...); err != nil {
		b.Fatal(err)
	}
	stopProfiles()
	peak := stopWatch()
	b.ReportMetric(float64(peak.heap)/(1<<20), "MiB-heap")
	b.ReportMetric(float64(peak.stacks)/(1<<20), "MiB-stacks")
	b.ReportMetric(float64(peak.goroutines)/float64(images), "goroutines/image")
	b.ReportMetric(float64(peakRSS(b))/(1<<20), "MiB-RSS")
	b.ReportMetric((cpuTime(b) - before).Seconds(), "cpu-s")
}

// A memoryPeak has the largest values seen, which may be of different moments.
type memoryPeak struct {
	heap, stacks uint64 // bytes in use
	goroutines   int
}

// watchMemory samples the memory until the returned func is called, which returns
// the peaks.
func watchMemory() (stop func() memoryPeak) {
	end, done := make(chan struct{}), make(chan memoryPeak)
	go func() {
		var peak memoryPeak
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.heap, peak.stacks = max(peak.heap, m.HeapInuse), max(peak.stacks, m.StackInuse)
			peak.goroutines = max(peak.goroutines, runtime.NumGoroutine())
			select {
			case <-ticker.C:
			case <-end:
				done <- peak
				return
			}
		}
	}()
	return func() memoryPeak {
		close(end)
		return <-done
	}
}

// BenchmarkWaiting measures what an image costs this process while it waits: for
// its instance to boot, for a command, or for its AMI.
func BenchmarkWaiting(b *testing.B) {
	const images = 200
	for _, state := range []string{"boot", "command", "image"} {
		b.Run(state, func(b *testing.B) {
			for b.Loop() {
				cloud, stop := startLoadServer(b, state)
				waitLoad(b, cloud, images, state)
				stop()
			}
		})
	}
}

func waitLoad(b *testing.B, cloud *ec2.Cloud, images int, state string) {
	b.Helper()
	goroutines, before := runtime.NumGoroutine(), heapInUse()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	list := fleet(cloud, images)
	waiting := make(chan struct{}, images)
	for _, img := range list {
		img.Provisioners = append(img.Provisioners, bake.ProvisionFunc{Name: "wait", Do: func(ctx context.Context, m bake.Machine) error {
			waiting <- struct{}{}
			if state != "command" {
				return nil
			}
			return m.Run(ctx, &bake.Cmd{Line: "sleep 100000"})
		}})
	}
	var ended bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = bake.Bake(ctx, &bake.Options{Parallel: images}, list...) // canceled
		ended = true
	}()
	if state != "boot" {
		for range images {
			<-waiting
		}
	}
	// The last images are about to wait, and polls need goroutines for a moment.
	least := runtime.NumGoroutine()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for range 600 {
		<-ticker.C
		least = min(least, runtime.NumGoroutine())
	}
	writeProfile(b, "goroutine", state)
	b.ReportMetric(float64(least-goroutines-1)/float64(images), "goroutines/image")
	b.ReportMetric(float64(heapInUse()-before)/float64(images)/(1<<10), "KiB/image")
	writeProfile(b, "heap", state)
	cancel()
	<-done
	if !ended {
		b.Error("Bake did not return")
	}
}

// heapInUse returns the memory in use after a collection, with stacks.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse) //nolint:gosec // less than 2^63
}

// watchProfiles writes heap profiles at intervals, if a folder is set for them.
func watchProfiles(b *testing.B) (stop func()) {
	b.Helper()
	if os.Getenv(loadProfiles) == "" {
		return func() {}
	}
	ticker, end, done := time.NewTicker(2*time.Second), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-ticker.C:
				writeProfile(b, "heap", fmt.Sprintf("load%02d", i))
				writeProfile(b, "goroutine", fmt.Sprintf("load%02d", i))
			case <-end:
				return
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(end)
		<-done
	}
}

func writeProfile(b *testing.B, name, of string) {
	b.Helper()
	folder := os.Getenv(loadProfiles)
	if folder == "" {
		return
	}
	f, err := os.Create(filepath.Join(folder, name+"-"+of))
	if err != nil {
		b.Error(err)
		return
	}
	if err := pprof.Lookup(name).WriteTo(f, 0); err != nil {
		b.Error(err)
	}
	if err := f.Close(); err != nil {
		b.Error(err)
	}
}

// cpuTime returns the CPU time of the process.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// peakRSS returns the peak of the process's resident memory.
func peakRSS(b *testing.B) int64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib << 10
		}
	}
	b.Fatal("no VmHWM in /proc/self/status")
	return 0
}

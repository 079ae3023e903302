package ec2_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// BenchmarkBake measures our own overhead: a bake where the cloud takes no time.
func BenchmarkBake(b *testing.B) {
	server := newServer(b, nil)
	cloud := newCloud(server)
	calls := 0
	for b.Loop() {
		before := server.CallCount("")
		results, err := bake.Bake(b.Context(), nil, simple(cloud))
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		calls += server.CallCount("") - before
		if err := results[0].Artifact.Destroy(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(calls)/float64(b.N), "calls/bake")
}

// BenchmarkFleet bakes 500 images at once.
func BenchmarkFleet(b *testing.B) {
	const images = 500
	for b.Loop() {
		server := ec2test.New(nil)
		cloud := newCloud(server)
		most := watchHeap()
		if _, err := bake.Bake(b.Context(), &bake.Options{Parallel: images}, fleet(cloud, images)...); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(most())/(1<<20), "MiB-heap")
		b.ReportMetric(float64(server.CallCount(""))/images, "calls/bake")
		server.Close()
	}
}

// watchHeap samples the heap until the returned func is called, which returns
// the peak.
func watchHeap() (most func() uint64) {
	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		var peak uint64
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse)
			select {
			case <-ticker.C:
			case <-stop:
				done <- peak
				return
			}
		}
	}()
	return func() uint64 {
		close(stop)
		return <-done
	}
}

// BenchmarkRealisticBake bakes with AWS's latencies on a clock that runs a
// hundred times faster. The metric s/bake is in the cloud's time.
func BenchmarkRealisticBake(b *testing.B) {
	const speed = 100
	clock := clock.Scaled(speed)
	server := newServer(b, &ec2test.Options{Clock: clock, Latency: ec2test.Realistic()})
	cloud := ec2.NewCloud(server.Config(testRegion), &ec2.CloudOptions{
		Dial: server.Dial, SourceAddress: server.SourceAddress, Clock: clock,
	})
	for b.Loop() {
		if _, err := bake.Bake(b.Context(), &bake.Options{Clock: clock}, simple(cloud)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()*speed/float64(b.N), "s/bake")
}

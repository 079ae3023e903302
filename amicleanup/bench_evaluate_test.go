package amicleanup_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// manyImages returns n images in groups of a hundred, one an hour.
func manyImages(n int) []amicleanup.Image {
	images := make([]amicleanup.Image, n)
	for i := range images {
		images[i] = amicleanup.Image{
			ID: fmt.Sprintf("ami-%017x", i), Name: fmt.Sprintf("app%d %d", i/100, after(i).Unix()), Owner: home,
			State: "available", Architecture: "x86_64", Created: after(i),
			Tags:      map[string]string{"env": "prod", "team": "web", "commit": fmt.Sprintf("%040x", i)},
			Snapshots: []string{fmt.Sprintf("snap-%017x", i)}, GiB: 8,
		}
	}
	return images
}

// BenchmarkEvaluate decides about images that have been read. Cpu-ms is the CPU
// time, and peak-MiB the largest memory of the process, the images included.
func BenchmarkEvaluate(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("images=%d", n), func(b *testing.B) {
			images := manyImages(n)
			refs := make([]inuse.Reference, n/50)
			for i := range refs {
				refs[i] = inuse.Reference{ImageID: images[i*50].ID, By: fmt.Sprintf("instance i-%017x", i), Source: "instances"}
			}
			policy := amicleanup.Policy{
				Select: amicleanup.Select{Name: "{group} {unix}"},
				Keep: []amicleanup.Rule{
					amicleanup.InUse(inuse.Instances()), amicleanup.Public(), amicleanup.ParentOfKept(), amicleanup.Marked(), amicleanup.Locked(),
					amicleanup.YoungerThan(7 * amicleanup.Day), amicleanup.LaunchedWithin(30 * amicleanup.Day), amicleanup.NewestUsable(5),
				},
			}
			coverage := []inuse.Coverage{{Source: "instances", References: len(refs)}}
			runtime.GC()
			before := cpuTime()
			peak := watchMemory(b)
			b.ReportAllocs()
			for b.Loop() {
				plan := policy.EvaluateUse(after(2*n+100_000), where, refs, coverage, images...)
				if got, want := plan.Removals(), n/100*93; got != want {
					b.Fatalf("%d removals, want %d", got, want)
				}
			}
			b.ReportMetric(float64((cpuTime()-before).Milliseconds())/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(peak())/(1<<20), "peak-MiB")
		})
	}
}

package terminal

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// BenchmarkThousandImages reports the share of a core that it takes to show 1,000
// running images for a second: ten events of each, and as many drawings as a second has
// at most.
func BenchmarkThousandImages(b *testing.B) {
	b.Setenv("CI", "")
	b.Setenv("TERM", "xterm")
	const images, rate = 1000, 10
	view := New(io.Discard, &Options{Images: images, Size: func() (int, int) { return 150, 50 }})
	view.stop() // the benchmark draws
	view.ended.Wait()
	now := time.Now()
	for b.Loop() {
		for range rate {
			for n := range images {
				e := bake.Event{Time: now, Kind: bake.Progressed, Image: fmt.Sprintf("node-%03d.prod.example.org", n), Step: "wait for image", Done: 50, Total: 100}
				if n%2 == 0 {
					e.Kind, e.Text = bake.OutputLine, "Get:17 http://archive.ubuntu.com/ubuntu noble/main amd64 nginx [1,000 kB]"
				}
				view.Observe(e)
			}
			view.mu.Lock()
			view.draw()
			view.mu.Unlock()
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(time.Second)*100, "%core") //nolint:mnd // percent
	if err := view.Close(nil); err != nil {
		b.Fatal(err)
	}
}

package main

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// BenchmarkColdTest compiles and links the test of a definition with an empty build cache,
// and then once more: as it is, and with the EC2 SDK's types compiled without optimization,
// which is most of the work.
func BenchmarkColdTest(b *testing.B) {
	const definition = "github.com/bakestone-go/bakestone/examples/quickstart"
	for name, flags := range map[string][]string{
		"default":         nil,
		"unoptimized-SDK": {"-gcflags=github.com/aws/aws-sdk-go-v2/service/...=-N -l"},
	} {
		b.Run(name, func(b *testing.B) {
			var cold, processor, again time.Duration
			for range b.N {
				cache := b.TempDir()
				compile := func() (clock, processor time.Duration) {
					cmd := exec.CommandContext(b.Context(), "go", append(append([]string{"test", "-run", "^$"}, flags...), definition)...)
					cmd.Env = append(os.Environ(), "GOCACHE="+cache)
					began := time.Now()
					if out, err := cmd.CombinedOutput(); err != nil {
						b.Fatalf("%q: %v\n%s", cmd.Args, err, out)
					}
					return time.Since(began), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
				}
				clock, used := compile()
				cold, processor = cold+clock, processor+used
				clock, _ = compile()
				again += clock
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(cold.Seconds()/float64(b.N), "cold-s")
			b.ReportMetric(processor.Seconds()/float64(b.N), "cold-cpu-s")
			b.ReportMetric(again.Seconds()/float64(b.N), "again-s")
		})
	}
}

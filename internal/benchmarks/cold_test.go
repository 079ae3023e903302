package main

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/internal/testenv/usage"
)

// BenchmarkColdTest compiles and links the test of a definition with an empty build cache,
// and then once more: as it is, and with the EC2 SDK's types compiled without optimization,
// which is most of the work.
func BenchmarkColdTest(b *testing.B) {
	const definition = "github.com/bakestone-go/bakestone/examples/quickstart"
	tests := map[string][]string{
		"default":         nil,
		"unoptimized-SDK": {"-gcflags=github.com/aws/aws-sdk-go-v2/service/...=-N -l"},
	}
	took := usage.Series{}
	for range b.N {
		for name, flags := range tests {
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
			clock, processor := compile()
			took.Add(name+"-cold-s", clock.Seconds())
			took.Add(name+"-cold-cpu-s", processor.Seconds())
			clock, _ = compile()
			took.Add(name+"-again-s", clock.Seconds())
			if err := os.RemoveAll(cache); err != nil {
				b.Fatal(err)
			}
		}
	}
	took.Report(b)
}

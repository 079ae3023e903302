//go:build unix

package amicleanup_test

import (
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// cpuTime returns the CPU time of this process.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// reportUsage reports the CPU time and the largest memory of a process.
func reportUsage(b *testing.B, ended *os.ProcessState) {
	b.Helper()
	b.ReportMetric(float64((ended.UserTime() + ended.SystemTime()).Milliseconds()), "cpu-ms")
	if used, is := ended.SysUsage().(*syscall.Rusage); is && runtime.GOOS == "linux" {
		b.ReportMetric(float64(used.Maxrss)/1024, "peak-MiB") // of KiB
	}
}

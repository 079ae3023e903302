package sandbox

import (
	"context"
	"errors"
	"io"
	"math"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// Limits bounds what a machine may use of the computer that simulates it. A
// process that exceeds a limit gets the error or signal of a real machine, and the
// console names the limit. A zero field means the default; a negative one disables
// the limit.
type Limits struct {
	// Memory is how many bytes the variables and buffers of all shells and
	// commands may hold. The default is 64 MiB. Beyond it, allocations fail with
	// "Cannot allocate memory".
	Memory int64

	// Processes is how many processes may run at once. The default is 1,000.
	// Beyond it, forks fail with "Resource temporarily unavailable", and those of
	// the session that reached the limit fail from then on.
	Processes int

	// Disk is the size of the file system in bytes; a file, link or directory
	// takes a few hundred bytes besides its content. The default is 256 MiB.
	// Beyond it, writes fail with "No space left on device".
	Disk int64

	// FileSize is the size of the largest file in bytes. By default only Disk
	// limits it. Beyond it, writes fail with "File too large".
	FileSize int64

	// Output is how many bytes a session may write to its caller or client. The
	// default is 64 MiB. Beyond it, the writer is killed by SIGXFSZ.
	Output int64

	// Steps is how many commands, iterations and writes a session may execute.
	// The default is 5 million, which takes some seconds. Beyond it, its
	// processes are killed by SIGXCPU.
	Steps int64

	// Time is how long a session may take by the machine's clock. The default is
	// 48 hours. Beyond it, it is killed. Background jobs may run longer.
	Time time.Duration

	// Depth is how deeply function calls, sourced files and eval may nest. The
	// default is 1,000. The nesting of a script's syntax is limited to about
	// as much.
	Depth int
}

// Files returns the limits of a machine's file system.
func (l Limits) Files() memfs.Limits {
	l = l.filled()
	return memfs.Limits{Size: l.Disk, FileSize: l.FileSize}
}

func (l Limits) filled() Limits {
	set(&l.Memory, 64<<20)
	set(&l.Processes, 1000)
	set(&l.Disk, 256<<20)
	set(&l.FileSize, -1)
	set(&l.Output, 64<<20)
	set(&l.Steps, 5_000_000)
	set(&l.Time, 48*time.Hour)
	set(&l.Depth, 1000)
	return l
}

// set replaces a zero limit by its default and a negative limit by the largest
// value.
func set[T int | int64 | time.Duration](limit *T, value T) {
	if *limit == 0 {
		*limit = value
	}
	if *limit < 0 {
		*limit = math.MaxInt32
		if int64(*limit)<<20 > 0 && *limit<<20 > *limit { // it has 64 bits
			*limit <<= 20
		}
	}
}

// meter counts the memory that a machine's processes hold.
type meter struct {
	limit int64
	used  atomic.Int64
}

// take adds n bytes and reports whether they are within the limit.
func (m *meter) take(n int64) bool {
	if m.used.Add(n) > m.limit {
		m.used.Add(-n)
		return false
	}
	return true
}

func (m *meter) give(n int64) { m.used.Add(-n) }

// usage counts the work of all processes that one login or call starts.
type usage struct {
	h         *Host
	steps     atomic.Int64
	written   atomic.Int64
	exhausted atomic.Bool // it reached the limit of processes
	reported  atomic.Bool
}

// step counts n steps and reports whether the session may go on.
func (s *usage) step(n int) bool {
	if s.steps.Add(int64(n)) <= s.h.o.Limits.Steps {
		return true
	}
	s.report("the limit of steps")
	return false
}

// report writes to the console, once, which limit the session exceeded.
func (s *usage) report(limit string) {
	if !s.reported.Swap(true) {
		s.h.log("test machine: a session exceeded %s (Limits)", limit)
	}
}

var errOutputLimit = errors.New("File size limit exceeded") // as a shell prints it

// capped is an output of a session to its caller.
type capped struct {
	w io.Writer
	s *usage
}

func (c capped) Write(b []byte) (int, error) {
	if c.s.written.Add(int64(len(b))) > c.s.h.o.Limits.Output {
		c.s.report("the limit of output")
		return 0, errOutputLimit
	}
	n, err := c.w.Write(b)
	if err != nil { // the reader is gone
		err = syscall.EPIPE
	}
	return n, err
}

// output returns w with the session's limit. If w is nil, output is discarded.
func (s *usage) output(w io.Writer) io.Writer {
	if w == nil {
		w = io.Discard
	}
	return capped{w, s}
}

// limitTime kills the session when its time is over. The returned func stops
// that.
func (s *usage) limitTime(ctx context.Context, kill context.CancelCauseFunc) func() {
	watched, stop := context.WithCancel(ctx)
	s.h.outlive(ctx, func() {
		if s.h.o.Clock.Sleep(watched, s.h.o.Limits.Time) == nil {
			s.report("the limit of time")
			kill(signal("KILL"))
		}
	})
	return stop
}

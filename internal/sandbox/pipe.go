package sandbox

import (
	"context"
	"io"
	"os"
	"runtime"
	"time"
)

// The interpreter joins commands by pipes of the operating system. A goroutine
// blocked in reading one cannot be seen to be idle by testing/synctest, so
// that time inside a bubble would stand still while one side of a pipe sleeps;
// nor does it notice the end of a context. So we ask, and wait in between.
const (
	pipeYields   = 32
	pipeFirst    = 20 * time.Microsecond
	pipeLongest  = 2 * time.Millisecond
	pipeDoubling = 2
)

// pipeReader reads from the reading end of a pipe until ctx ends.
type pipeReader struct {
	file  *os.File
	ended <-chan struct{}
}

func newPipeReader(ctx context.Context, file *os.File) io.Reader {
	return &pipeReader{file, ctx.Done()}
}

func (r *pipeReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	wait := pipeFirst
	for try := 0; ; try++ {
		n, ready, err := readNow(r.file, p)
		if ready {
			return n, err
		}
		if try < pipeYields {
			runtime.Gosched()
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-r.ended:
			timer.Stop()
			return 0, io.EOF
		}
		wait = min(wait*pipeDoubling, pipeLongest)
	}
}

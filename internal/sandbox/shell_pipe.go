package sandbox

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"time"
)

// The interpreter connects commands with operating system pipes. A goroutine
// blocked on one is not durably blocked for testing/synctest, so the bubble's
// clock would stop, and it does not notice the end of a context. Therefore pipes
// are polled.
const (
	pipeYields   = 32
	pipeFirst    = 20 * time.Microsecond
	pipeLongest  = 2 * time.Millisecond
	pipeDoubling = 2
)

var errKilled = errors.New("process killed")

// poll calls try until it is ready or ended is closed.
func poll(ended <-chan struct{}, try func() (n int, ready bool, err error)) (int, error) {
	wait := pipeFirst
	for i := 0; ; i++ {
		n, ready, err := try()
		if ready {
			return n, err
		}
		if i < pipeYields {
			runtime.Gosched()
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ended:
			timer.Stop()
			return 0, errKilled
		}
		wait = min(wait*pipeDoubling, pipeLongest)
	}
}

// pipeReader reads from a pipe. It returns io.EOF when the context ends.
type pipeReader struct {
	file  *os.File
	ended <-chan struct{}
}

func (r *pipeReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := poll(r.ended, func() (int, bool, error) { return tryRead(r.file, p) })
	if errors.Is(err, errKilled) {
		err = io.EOF
	}
	return n, err
}

// pipeWriter writes to a pipe. It fails when the context ends.
type pipeWriter struct {
	file  *os.File
	ended <-chan struct{}
}

// pipeOutput returns a pipeWriter for w if it is a pipe, and otherwise w.
func pipeOutput(ctx context.Context, w io.Writer) io.Writer {
	if file, ok := w.(*os.File); ok {
		return &pipeWriter{file, ctx.Done()}
	}
	return w
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := poll(w.ended, func() (int, bool, error) { return tryWrite(w.file, p[done:]) })
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

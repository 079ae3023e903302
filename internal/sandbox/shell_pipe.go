package sandbox

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"time"
)

// The interpreter joins commands by pipes of the operating system. A goroutine
// blocked in one cannot be seen to be idle by testing/synctest, so that time
// inside a bubble would stand still while one side of a pipe sleeps; nor does
// it notice the end of a context. So we ask, and wait in between.
const (
	pipeYields   = 32
	pipeFirst    = 20 * time.Microsecond
	pipeLongest  = 2 * time.Millisecond
	pipeDoubling = 2
)

var errKilled = errors.New("the process was killed")

// poll calls now until it is ready, or ended is closed.
func poll(ended <-chan struct{}, now func() (n int, ready bool, err error)) (int, error) {
	wait := pipeFirst
	for try := 0; ; try++ {
		n, ready, err := now()
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
		case <-ended:
			timer.Stop()
			return 0, errKilled
		}
		wait = min(wait*pipeDoubling, pipeLongest)
	}
}

// pipeReader reads from a pipe until ctx ends, which is like its end.
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
	n, err := poll(r.ended, func() (int, bool, error) { return tryRead(r.file, p) })
	if errors.Is(err, errKilled) {
		err = io.EOF
	}
	return n, err
}

// pipeWriter writes to a pipe until ctx ends.
type pipeWriter struct {
	file  *os.File
	ended <-chan struct{}
}

// pipeOutput is w, or a pipe behind a pipeWriter.
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

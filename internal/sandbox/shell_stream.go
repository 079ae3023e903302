package sandbox

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"sync"
	"syscall"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// A stream is an open file that the descriptors of several processes share. It
// is closed when the last of them is.
type stream struct {
	in    io.Reader // nil if it cannot be read
	out   io.Writer // nil if it cannot be written
	file  *memfs.File
	path  string // where it was opened; empty if unknown
	tty   bool
	close func() // nil if there is nothing to close

	mu   sync.Mutex // guards the fields below
	refs int
	lock func() // releases what flock locked; nil if it holds no lock
}

func (s *stream) retain() *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refs++
	return s
}

func (s *stream) release() {
	s.mu.Lock()
	s.refs--
	last, lock := s.refs == 0, s.lock
	s.mu.Unlock()
	if !last {
		return
	}
	if lock != nil {
		lock()
	}
	if s.close != nil {
		s.close()
	}
}

// OpenNode opens the stream through a path such as /dev/fd/63.
func (s *stream) OpenNode(flag int) (io.ReadWriteCloser, error) {
	if flag&(os.O_WRONLY|os.O_RDWR) != 0 && s.out == nil || flag&os.O_WRONLY == 0 && s.in == nil {
		return nil, syscall.EACCES
	}
	return openedStream{s.retain()}, nil
}

type openedStream struct{ s *stream }

func (o openedStream) Read(b []byte) (int, error)  { return o.s.in.Read(b) }
func (o openedStream) Write(b []byte) (int, error) { return o.s.out.Write(b) }
func (o openedStream) Close() error                { o.s.release(); return nil }

// fdTable holds the open file descriptors of a process.
type fdTable map[int]*stream

func (t fdTable) clone() fdTable {
	c := maps.Clone(t)
	for _, s := range c {
		s.retain()
	}
	return c
}

func (t fdTable) closeAll() {
	for fd, s := range t {
		s.release()
		delete(t, fd)
	}
}

// set makes fd refer to s, whose reference it takes, or closes it if s is nil.
func (t fdTable) set(fd int, s *stream) {
	if old := t[fd]; old != nil {
		old.release()
	}
	if s == nil {
		delete(t, fd)
	} else {
		t[fd] = s
	}
}

// free returns the lowest unused descriptor from at on.
func (t fdTable) free(at int) int {
	for t[at] != nil {
		at++
	}
	return at
}

func (t fdTable) reader(fd int) io.Reader {
	if s := t[fd]; s != nil && s.in != nil {
		return s.in
	}
	return badStream{}
}

// ready reports whether a read would not wait.
func (s *stream) ready() bool {
	if e, ok := s.in.(pipeEnd); ok {
		e.p.mu.Lock()
		defer e.p.mu.Unlock()
		return len(e.p.buf) > 0 || e.p.writers == 0
	}
	_, text := s.in.(*lockedReader)
	return s.file != nil || text
}

func (t fdTable) writer(fd int) io.Writer {
	if s := t[fd]; s != nil && s.out != nil {
		return s.out
	}
	return badStream{}
}

// badStream is a closed descriptor.
type badStream struct{}

func (badStream) Read([]byte) (int, error)  { return 0, syscall.EBADF }
func (badStream) Write([]byte) (int, error) { return 0, syscall.EBADF }

// interruptible is implemented by streams that can return a copy of themselves
// whose reads and writes return when ended is closed.
type interruptible interface {
	until(ended <-chan struct{}) io.ReadWriter
}

var (
	_ interruptible = pipeEnd{}
	_ interruptible = (*input)(nil)
)

// readerUntil returns r so that its reads return when ended is closed, if
// possible.
func readerUntil(r io.Reader, ended <-chan struct{}) io.Reader {
	if i, ok := r.(interruptible); ok {
		return i.until(ended)
	}
	return r
}

// output is the standard output or error of a process. Writes count as work of the
// session, and a write to a pipe without a reader kills the process.
type output struct {
	w     io.Writer // what until returned
	plain io.Writer
	s     *usage
	kill  context.CancelCauseFunc
}

// wrapped is implemented by writers that belong to one process.
type wrapped interface{ unwrap() io.Writer }

var _ wrapped = (*output)(nil)

func (o *output) unwrap() io.Writer { return o.plain }

// unwrap returns the writer without what belongs to one process.
func unwrap(w io.Writer) io.Writer {
	if o, ok := w.(wrapped); ok {
		return o.unwrap()
	}
	return w
}

// newOutput returns w for a process that kill ends and whose context is ctx.
func newOutput(ctx context.Context, w io.Writer, s *usage, kill context.CancelCauseFunc) *output {
	w = unwrap(w)
	o := &output{w: w, plain: w, s: s, kill: kill}
	if i, ok := w.(interruptible); ok {
		o.w = i.until(ctx.Done())
	}
	return o
}

func (o *output) Write(b []byte) (int, error) {
	if !o.s.step(1 + len(b)/pipeSize) {
		o.kill(signal("XCPU"))
		return 0, syscall.EINTR
	}
	n, err := o.w.Write(b)
	switch {
	case errors.Is(err, syscall.EPIPE):
		o.kill(signal("PIPE"))
	case errors.Is(err, errOutputLimit):
		o.kill(signal("XFSZ"))
	}
	return n, err
}

package sandbox

import (
	"io"
	"sync"
	"syscall"
)

// pipeSize is how much a pipe holds before a writer waits.
const pipeSize = 64 << 10

// A pipe connects processes. Waiting is visible to testing/synctest.
type pipe struct {
	mu      sync.Mutex // guards the fields below
	buf     []byte
	changed chan struct{} // closed at the next change; nil without a waiter
	readers int
	writers int
}

// newPipe returns the two ends of a pipe, each with one reference.
func newPipe() (r, w *stream) {
	p := &pipe{readers: 1, writers: 1}
	return &stream{in: pipeEnd{p, nil}, close: p.closeReader, refs: 1}, &stream{out: pipeEnd{p, nil}, close: p.closeWriter, refs: 1}
}

func (p *pipe) closeReader() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readers--
	p.wake()
}

func (p *pipe) closeWriter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writers--
	p.wake()
}

// wake wakes everybody who waits. The caller holds mu.
func (p *pipe) wake() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// wait waits for a change and returns false if ended is closed first. The caller
// holds mu.
func (p *pipe) wait(ended <-chan struct{}) bool {
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	changed := p.changed
	p.mu.Unlock()
	defer p.mu.Lock()
	select {
	case <-changed:
		return true
	case <-ended:
		return false
	}
}

// pipeEnd reads from or writes to a pipe until ended is closed.
type pipeEnd struct {
	p     *pipe
	ended <-chan struct{}
}

func (e pipeEnd) Read(b []byte) (int, error) {
	p := e.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(b) == 0 {
		return 0, nil
	}
	for len(p.buf) == 0 {
		if p.writers == 0 || !p.wait(e.ended) {
			return 0, io.EOF
		}
	}
	n := copy(b, p.buf)
	p.buf = p.buf[n:]
	if len(p.buf) == 0 {
		p.buf = nil
	}
	p.wake()
	return n, nil
}

func (e pipeEnd) Write(b []byte) (int, error) {
	p := e.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for done := 0; ; {
		if p.readers == 0 {
			return done, syscall.EPIPE
		}
		if n := min(len(b)-done, pipeSize-len(p.buf)); n > 0 {
			p.buf = append(p.buf, b[done:done+n]...)
			done += n
			p.wake()
		}
		if done == len(b) {
			return done, nil
		}
		if !p.wait(e.ended) {
			return done, syscall.EINTR
		}
	}
}

func (e pipeEnd) until(ended <-chan struct{}) io.ReadWriter { return pipeEnd{e.p, ended} }

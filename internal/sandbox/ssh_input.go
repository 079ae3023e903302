package sandbox

import (
	"context"
	"io"
	"syscall"
)

// input wraps a reader whose Read cannot be interrupted, so that Read returns
// when the context ends. It does not read ahead.
type input struct {
	ended   <-chan struct{}
	want    chan struct{} // requests the next chunk
	got     chan chunk    // the chunks read
	busy    chan struct{} // a mutex, held by Read
	done    chan struct{} // closed when the goroutine ends
	rest    []byte
	err     error
	pending bool // a chunk was requested and not yet received
}

type chunk struct {
	data []byte
	err  error
}

func newInput(ctx context.Context, r io.Reader) *input {
	in := &input{
		ended: ctx.Done(), want: make(chan struct{}), got: make(chan chunk, 1),
		busy: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go func() { // ended by wait
		defer close(in.done)
		var buf []byte
		for range in.want {
			if buf == nil {
				buf = make([]byte, maxChunk)
			}
			n, err := r.Read(buf)
			in.got <- chunk{buf[:n], err}
		}
	}()
	return in
}

const maxChunk = 32 << 10

// Read returns io.EOF when the context ends.
func (in *input) Read(p []byte) (int, error) { return in.read(p, nil) }

func (in *input) until(ended <-chan struct{}) io.ReadWriter { return inputUntil{in, ended} }

// inputUntil reads from an input until ended is closed.
type inputUntil struct {
	in    *input
	ended <-chan struct{}
}

var _ interruptible = inputUntil{}

func (u inputUntil) Read(p []byte) (int, error)                { return u.in.read(p, u.ended) }
func (u inputUntil) Write([]byte) (int, error)                 { return 0, syscall.EBADF }
func (u inputUntil) until(ended <-chan struct{}) io.ReadWriter { return inputUntil{u.in, ended} }

func (in *input) Write([]byte) (int, error) { return 0, syscall.EBADF }

// read returns io.EOF when the context ends or ended is closed, which may be nil.
func (in *input) read(p []byte, ended <-chan struct{}) (int, error) {
	select {
	case in.busy <- struct{}{}:
	case <-in.ended:
		return 0, io.EOF
	case <-ended:
		return 0, io.EOF
	}
	defer func() { <-in.busy }()
	if len(p) == 0 {
		return 0, nil
	}
	if len(in.rest) == 0 && in.err == nil {
		if !in.pending {
			select {
			case in.want <- struct{}{}:
				in.pending = true
			case <-in.ended:
				return 0, io.EOF
			case <-ended:
				return 0, io.EOF
			}
		}
		select {
		case c := <-in.got:
			in.pending, in.rest, in.err = false, c.data, c.err
		case <-in.ended:
			return 0, io.EOF
		case <-ended:
			return 0, io.EOF
		}
	}
	n := copy(p, in.rest)
	in.rest = in.rest[n:]
	if n == 0 {
		return 0, in.err
	}
	return n, nil
}

// wait ends the goroutine. The underlying reader must have been closed.
func (in *input) wait() {
	in.busy <- struct{}{} // no Read may follow
	close(in.want)
	<-in.done
}

package sandbox

import (
	"context"
	"io"
)

// input is a reader whose Read returns when ctx ends, over one that cannot be
// interrupted. Nothing is read before it is asked for.
type input struct {
	ended   <-chan struct{}
	want    chan struct{} // the reader has used up what came
	got     chan chunk    // what came
	busy    chan struct{} // held by the one Read at a time
	done    chan struct{} // the goroutine is gone
	rest    []byte
	err     error
	pending bool // an answer to an earlier want is still to come
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
	go func() { // ends with close of want, and r's end: see wait
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
func (in *input) Read(p []byte) (int, error) {
	select {
	case in.busy <- struct{}{}:
	case <-in.ended:
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
			}
		}
		select {
		case c := <-in.got:
			in.pending, in.rest, in.err = false, c.data, c.err
		case <-in.ended:
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

// wait ends the goroutine. The reader below must have been closed.
func (in *input) wait() {
	in.busy <- struct{}{} // nobody reads any more
	close(in.want)
	<-in.done
}

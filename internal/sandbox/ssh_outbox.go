package sandbox

import (
	"net"
	"sync"
)

// outbox adds a write buffer to a connection, as a socket has. Over an unbuffered
// net.Pipe SSH would deadlock, since both sides write first.
type outbox struct {
	net.Conn
	done chan struct{} // closed when the sender ends

	mu     sync.Mutex // guards the fields below
	change *sync.Cond
	buf    []byte
	closed bool
	err    error
}

const outboxSize = 128 << 10

func newOutbox(c net.Conn) *outbox {
	o := &outbox{Conn: c, done: make(chan struct{})}
	o.change = sync.NewCond(&o.mu)
	go o.send() // ends with Close
	return o
}

func (o *outbox) send() {
	defer close(o.done)
	var sending []byte
	for {
		o.mu.Lock()
		for len(o.buf) == 0 && !o.closed {
			o.change.Wait()
		}
		sending, o.buf = o.buf, sending[:0]
		o.change.Broadcast()
		o.mu.Unlock()
		if len(sending) == 0 {
			return
		}
		if _, err := o.Conn.Write(sending); err != nil {
			o.mu.Lock()
			o.err, o.closed = err, true
			o.change.Broadcast()
			o.mu.Unlock()
			return
		}
	}
}

func (o *outbox) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) >= outboxSize && !o.closed {
		o.change.Wait()
	}
	switch {
	case o.err != nil:
		return 0, o.err
	case o.closed:
		return 0, net.ErrClosed
	}
	o.buf = append(o.buf, p...)
	o.change.Broadcast()
	return len(p), nil
}

// Close closes the connection and waits for the sender. Unsent data is lost.
func (o *outbox) Close() error {
	o.mu.Lock()
	o.closed = true
	o.change.Broadcast()
	o.mu.Unlock()
	err := o.Conn.Close()
	<-o.done
	return err
}

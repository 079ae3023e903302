package ec2test

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipeBuffer is how many bytes one direction of a memory connection holds
// before its writer waits. SSH needs some: both ends speak first.
const pipeBuffer = 256 << 10

// newPipe returns the two ends of a connection in memory. Unlike net.Pipe it
// is buffered and has addresses. It blocks on condition variables only, so
// that testing/synctest sees through it.
func newPipe(client, server net.Addr) (clientEnd, serverEnd *pipeConn) {
	up, down := newHalf(), newHalf()
	return &pipeConn{in: down, out: up, local: client, remote: server},
		&pipeConn{in: up, out: down, local: server, remote: client}
}

type pipeConn struct {
	in, out       *half
	local, remote net.Addr
}

func (c *pipeConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *pipeConn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *pipeConn) LocalAddr() net.Addr         { return c.local }
func (c *pipeConn) RemoteAddr() net.Addr        { return c.remote }

// Close ends both directions: the peer reads what was written and then the
// end; this end's own calls fail with net.ErrClosed.
func (c *pipeConn) Close() error {
	c.out.closeWriter()
	c.in.closeReader()
	return nil
}

// CloseWrite ends the outgoing direction only.
func (c *pipeConn) CloseWrite() error {
	c.out.closeWriter()
	return nil
}

func (c *pipeConn) SetDeadline(t time.Time) error {
	c.in.readBy.set(c.in, t)
	c.out.writeBy.set(c.out, t)
	return nil
}

func (c *pipeConn) SetReadDeadline(t time.Time) error {
	c.in.readBy.set(c.in, t)
	return nil
}

func (c *pipeConn) SetWriteDeadline(t time.Time) error {
	c.out.writeBy.set(c.out, t)
	return nil
}

// half is one direction of a pipe.
type half struct {
	mu           sync.Mutex
	change       *sync.Cond
	data         []byte
	writerClosed bool
	readerClosed bool
	readBy       deadline
	writeBy      deadline
}

func newHalf() *half {
	h := &half{}
	h.change = sync.NewCond(&h.mu)
	return h
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.readerClosed:
			return 0, net.ErrClosed
		case h.readBy.passed:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(h.data) > 0:
			n := copy(p, h.data)
			h.data = h.data[n:]
			if len(h.data) == 0 {
				h.data = nil
			}
			h.change.Broadcast()
			return n, nil
		case h.writerClosed:
			return 0, io.EOF
		}
		h.change.Wait()
	}
}

func (h *half) write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	written := 0
	for {
		switch {
		case h.writerClosed:
			return written, net.ErrClosed
		case h.readerClosed:
			return written, io.ErrClosedPipe
		case h.writeBy.passed:
			return written, os.ErrDeadlineExceeded
		case len(p) == 0:
			return written, nil
		}
		if room := pipeBuffer - len(h.data); room > 0 {
			n := min(room, len(p))
			h.data = append(h.data, p[:n]...)
			p = p[n:]
			written += n
			h.change.Broadcast()
			continue
		}
		h.change.Wait()
	}
}

func (h *half) closeWriter() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writerClosed = true
	h.writeBy.stop()
	h.change.Broadcast()
}

func (h *half) closeReader() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readerClosed = true
	h.readBy.stop()
	h.change.Broadcast()
}

// deadline is the time limit of one side of a half, guarded by its mutex.
type deadline struct {
	passed bool
	round  int // which setting the running timer belongs to
	timer  *time.Timer
}

func (d *deadline) set(h *half, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.stop()
	d.round++
	d.passed = false
	if !t.IsZero() {
		if wait := time.Until(t); wait <= 0 {
			d.passed = true
		} else {
			round := d.round
			d.timer = time.AfterFunc(wait, func() {
				h.mu.Lock()
				defer h.mu.Unlock()
				if d.round == round {
					d.passed = true
					h.change.Broadcast()
				}
			})
		}
	}
	h.change.Broadcast()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// memListener is a net.Listener whose connections come from dial.
type memListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	addr   net.Addr
}

func newMemListener(addr net.Addr) *memListener {
	return &memListener{conns: make(chan net.Conn), closed: make(chan struct{}), addr: addr}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memListener) Addr() net.Addr { return l.addr }

// dial gives the listener a new connection and returns the other end of it.
func (l *memListener) dial(done <-chan struct{}, from net.Addr) (net.Conn, error) {
	client, server := newPipe(from, l.addr)
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-done:
		return nil, os.ErrDeadlineExceeded
	}
}

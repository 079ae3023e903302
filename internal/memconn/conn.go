package memconn

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// bufferSize limits the bytes that one direction of a connection holds before
// its writer blocks.
const bufferSize = 256 << 10

// Pipe returns the two ends of a new connection between two addresses.
func Pipe(client, server net.Addr) (clientEnd, serverEnd *Conn) {
	up, down := newHalf(), newHalf()
	return &Conn{in: down, out: up, local: client, remote: server},
		&Conn{in: up, out: down, local: server, remote: client}
}

// A Conn is one end of a connection. Its methods may be called from any
// goroutine.
type Conn struct {
	in, out       *half
	local, remote net.Addr
}

// Read reads what the peer wrote, waiting for at least one byte. It returns
// [io.EOF] once the peer has closed and everything it wrote has been read.
func (c *Conn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write writes to the peer, waiting while the buffer is full. It fails with
// [io.ErrClosedPipe] when the peer has closed.
func (c *Conn) Write(p []byte) (int, error) { return c.out.write(p) }

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the peer.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Close closes both directions. The peer can still read what was written;
// calls on this end fail with [net.ErrClosed].
func (c *Conn) Close() error {
	c.out.closeWriter()
	c.in.closeReader()
	return nil
}

// CloseWrite closes the outgoing direction only.
func (c *Conn) CloseWrite() error {
	c.out.closeWriter()
	return nil
}

// SetDeadline sets the deadline of reads and writes, pending ones included.
// After it they fail with [os.ErrDeadlineExceeded]. Zero means no deadline.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.readBy.set(c.in, t)
	c.out.writeBy.set(c.out, t)
	return nil
}

// SetReadDeadline sets the deadline of reads. See [Conn.SetDeadline].
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.readBy.set(c.in, t)
	return nil
}

// SetWriteDeadline sets the deadline of writes. See [Conn.SetDeadline].
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.writeBy.set(c.out, t)
	return nil
}

// half is one direction of a connection.
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
		if room := bufferSize - len(h.data); room > 0 {
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

// deadline is the deadline of one side of a half, guarded by the half's mutex.
type deadline struct {
	passed bool
	round  int // counts calls of set, so that an outdated timer has no effect
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

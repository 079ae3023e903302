package memconn

import (
	"context"
	"net"
	"sync"
)

// An Addr is the address of an end of a connection in memory.
type Addr string

// Network returns "memory".
func (Addr) Network() string { return "memory" }

// String returns the address.
func (a Addr) String() string { return string(a) }

// A Listener accepts the connections made by its Dial method. It implements
// [net.Listener].
type Listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	addr   net.Addr
}

// NewListener returns a listener with an address.
func NewListener(addr net.Addr) *Listener {
	return &Listener{conns: make(chan net.Conn), closed: make(chan struct{}), addr: addr}
}

// Accept waits for the next connection. It fails with [net.ErrClosed] once the
// listener is closed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close makes pending and future calls of Accept and Dial fail. It does not
// close accepted connections.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns the listener's address.
func (l *Listener) Addr() net.Addr { return l.addr }

// Dial connects to the listener from an address. It waits until the connection
// is accepted, the listener is closed, or ctx is done.
func (l *Listener) Dial(ctx context.Context, from net.Addr) (net.Conn, error) {
	client, server := Pipe(from, l.addr)
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

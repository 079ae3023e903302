package sshmachine

import (
	"net"
	"sync/atomic"
)

// A promptConn acknowledges at once what arrives, until the first session has begun. A
// kernel waits for something to send along, on Linux up to 40 ms, and until then sshd, which
// turns Nagle's algorithm off only for sessions, does not answer the request for the first.
type promptConn struct {
	net.Conn

	begun atomic.Bool
}

// Read reads from the underlying connection.
func (c *promptConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.acknowledge()
	return n, err
}

// Write writes to the underlying connection.
func (c *promptConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.acknowledge() // the kernel begins to wait again
	return n, err
}

func (c *promptConn) acknowledge() {
	if !c.begun.Load() {
		acknowledge(c.Conn)
	}
}

package qemu

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// The first and the longest time to wait for the greeting of the guest's SSH server.
const (
	firstGreeting   = time.Second
	longestGreeting = 8 * time.Second
)

// dialGuest connects to the guest's SSH server and waits for its greeting. QEMU accepts
// connections before the guest does, and those stay silent for good: another one is
// needed once the guest listens. The wait grows, since a slow guest that is asked too
// often never gets to answer.
func dialGuest(ctx context.Context, network, addr string) (net.Conn, error) {
	for wait := firstGreeting; ; wait = min(2*wait, longestGreeting) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		g := &greetedConn{Conn: conn}
		err = g.await(ctx, wait)
		if err == nil {
			return g, nil
		}
		_ = conn.Close() // err is why
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
	}
}

// A greetedConn is a connection whose first byte has been read ahead.
type greetedConn struct {
	net.Conn
	first   [1]byte
	pending bool
}

// await reads the first byte.
func (g *greetedConn) await(ctx context.Context, wait time.Duration) error {
	if err := g.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = g.SetReadDeadline(time.Unix(1, 0)) })
	_, err := g.Conn.Read(g.first[:])
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	g.pending = true
	return g.SetReadDeadline(time.Time{})
}

// Read returns the first byte before the others.
func (g *greetedConn) Read(p []byte) (int, error) {
	if g.pending && len(p) > 0 {
		g.pending = false
		return copy(p, g.first[:]), nil
	}
	return g.Conn.Read(p)
}

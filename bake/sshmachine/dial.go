package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
	"golang.org/x/net/proxy"
)

// An AuthError is a server that refused every way to log in, for longer than
// Config.AuthGrace.
type AuthError struct {
	Addr string // the server's address
	User string // the login
	Err  error  // what was tried
}

// Error names the server, the login and what was tried.
func (e *AuthError) Error() string {
	return fmt.Sprintf("%s refused the login %s: %v", e.Addr, e.User, e.Err)
}

// Unwrap is the server's refusal.
func (e *AuthError) Unwrap() error { return e.Err }

// A route is an open way to a machine: the client at its end, and everything
// that must be closed with it, the network connection first.
type route struct {
	client  *ssh.Client
	hostKey ssh.PublicKey // that the client's server has shown
	network *countingConn // the network connection
	closers []io.Closer
}

// close ends the network connection first, so that nothing blocks in a write.
func (p *route) close() {
	for _, c := range p.closers {
		_ = c.Close()
	}
}

// dial makes one attempt: through proxy and hops to a logged-in client.
func dial(ctx context.Context, cfg *Config) (*route, error) {
	return dialHops(ctx, cfg, append(slices.Clone(cfg.Via), cfg.target()))
}

// dialHops logs in at every hop through the one before.
func dialHops(ctx context.Context, cfg *Config, hops []Hop) (*route, error) {
	network, err := dialFirst(ctx, cfg, hops[0].Addr)
	if err != nil {
		return nil, err
	}
	p := &route{closers: []io.Closer{network}, network: &countingConn{Conn: network}}
	var conn net.Conn = p.network
	// Closing the network connection is the only way to stop what package ssh
	// has begun.
	stop := context.AfterFunc(ctx, func() { _ = network.Close() })
	for i, hop := range hops {
		if i > 0 {
			if conn, err = p.client.DialContext(ctx, "tcp", hop.Addr); err != nil {
				err = fmt.Errorf("from %s to %s: %w", hops[i-1].Addr, hop.Addr, err)
				break
			}
			p.closers = append(p.closers, conn)
		}
		if p.client, p.hostKey, err = handshake(ctx, conn, hop); err != nil {
			break
		}
		p.closers = append(p.closers, p.client)
	}
	if !stop() {
		err = errors.Join(context.Cause(ctx), err)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// dialFirst makes the network connection, through the proxy if there is one.
func dialFirst(ctx context.Context, cfg *Config, addr string) (net.Conn, error) {
	if cfg.Proxy == nil {
		return cfg.Dial(ctx, "tcp", addr)
	}
	var auth *proxy.Auth
	if cfg.Proxy.User != "" {
		auth = &proxy.Auth{User: cfg.Proxy.User, Password: cfg.Proxy.Password.Reveal()}
	}
	socks, err := proxy.SOCKS5("tcp", cfg.Proxy.Addr, auth, forward(cfg.Dial))
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	through, ok := socks.(proxy.ContextDialer)
	if !ok {
		return nil, errors.New("proxy: it cannot be dialled with a context")
	}
	conn, err := through.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	return conn, nil
}

// forward is a dial func as the dialer below a proxy.
type forward func(ctx context.Context, network, addr string) (net.Conn, error)

// Dial is never called: DialContext is there.
func (f forward) Dial(string, string) (net.Conn, error) {
	return nil, errors.New("a context is required")
}

// DialContext calls f.
func (f forward) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return f(ctx, network, addr)
}

// handshake proves to each side who the other is.
func handshake(ctx context.Context, conn net.Conn, hop Hop) (*ssh.Client, ssh.PublicKey, error) {
	var refused *HostKeyError
	var shown ssh.PublicKey
	var asked atomic.Bool // the server got as far as the login
	var l login
	defer l.close()
	config := &ssh.ClientConfig{
		User: hop.User,
		Auth: l.methods(ctx, hop.Auth),
		AuthCallback: func(*ssh.ClientAuthContext) (ssh.AuthMethod, error) {
			asked.Store(true)
			return nil, nil //nolint:nilnil // "as configured" in package ssh
		},
		HostKeyAlgorithms: hop.HostKey.algorithms(hop.Addr),
		HostKeyCallback: func(addr string, remote net.Addr, key ssh.PublicKey) error {
			err := hop.HostKey.check(addr, remote, key)
			if err == nil {
				shown = key
				return nil
			}
			refused = &HostKeyError{Addr: hop.Addr, Fingerprint: ssh.FingerprintSHA256(key), Err: err}
			return refused
		},
	}
	sc, channels, requests, err := ssh.NewClientConn(conn, hop.Addr, config)
	switch {
	case err == nil:
		return ssh.NewClient(sc, channels, requests), shown, nil
	case refused != nil:
		return nil, nil, refused
	case asked.Load() && ctx.Err() == nil && (l.err != nil || !isConnError(err)):
		return nil, nil, &AuthError{Addr: hop.Addr, User: hop.User, Err: err}
	default:
		return nil, nil, fmt.Errorf("%s: %w", hop.Addr, err)
	}
}

// lost reports whether err is a connection that broke.
func isConnError(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &network)
}

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

// An AuthError reports that a server still refused every configured login at the
// end of Config.AuthGrace.
type AuthError struct {
	Addr string // the server's "host:port"
	User string // the login name
	Err  error  // the failure, naming the methods tried
}

// Error names the server, the login and the methods tried.
func (e *AuthError) Error() string {
	return fmt.Sprintf("%s refused login as %s: %v", e.Addr, e.User, e.Err)
}

// Unwrap returns Err.
func (e *AuthError) Unwrap() error { return e.Err }

// A route is an open path to a machine: the SSH client at its end and everything
// to close along with it, in order.
type route struct {
	client  *ssh.Client
	hostKey ssh.PublicKey // presented by the client's server
	key     string        // the public key that logged in, in wire format; empty if none did
	network *countingConn // to the nearest hop
	prompt  *promptConn   // below it
	closers []io.Closer

	// serve answers the requests of the client's server until the connection is
	// lost, and returns the cause. The connection stalls unless it runs.
	serve func() error
}

// close closes the network connection first, so nothing blocks in a write.
func (r *route) close() {
	for _, c := range r.closers {
		_ = c.Close()
	}
}

// serveInBackground runs serve, if there is a client that nothing else serves. The
// goroutine ends with the connection.
func (r *route) serveInBackground() {
	if serve := r.serve; serve != nil {
		r.serve = nil
		go func() { _ = serve() }() // the client's calls return the cause
	}
}

// dial makes one attempt to log in to the machine.
func dial(ctx context.Context, cfg *Config) (*route, error) {
	return dialHops(ctx, cfg, append(slices.Clone(cfg.Via), cfg.target()))
}

// dialHops logs in to each hop through the one before.
func dialHops(ctx context.Context, cfg *Config, hops []Hop) (*route, error) {
	network, err := dialFirst(ctx, cfg, hops[0].Addr)
	if err != nil {
		return nil, err
	}
	prompt := &promptConn{Conn: network}
	r := &route{closers: []io.Closer{network}, network: &countingConn{Conn: prompt}, prompt: prompt}
	var conn net.Conn = r.network
	// Closing the network connection is the only way to interrupt package ssh.
	stop := context.AfterFunc(ctx, func() { _ = network.Close() })
	for i, hop := range hops {
		if i > 0 {
			if conn, err = r.client.DialContext(ctx, "tcp", hop.Addr); err != nil {
				err = fmt.Errorf("dial %s from %s: %w", hop.Addr, hops[i-1].Addr, err)
				break
			}
			r.closers = append(r.closers, conn)
			r.serveInBackground()
		}
		if err = r.handshake(ctx, conn, hop); err != nil {
			break
		}
		r.closers = append(r.closers, r.client)
	}
	if !stop() {
		err = errors.Join(context.Cause(ctx), err)
	}
	if err != nil {
		r.close()
		r.serveInBackground()
		return nil, err
	}
	return r, nil
}

// dialFirst opens the network connection, through the proxy if one is configured.
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
		return nil, errors.New("proxy: dialer does not support contexts")
	}
	conn, err := through.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	return conn, nil
}

// forward adapts Config.Dial to the dialer that package proxy expects.
type forward func(ctx context.Context, network, addr string) (net.Conn, error)

// Dial is never called, because forward has DialContext.
func (f forward) Dial(string, string) (net.Conn, error) {
	return nil, errors.New("dial without a context")
}

// DialContext calls f.
func (f forward) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return f(ctx, network, addr)
}

// handshake runs the SSH handshake and login over conn, and sets the client, the
// host key it accepted, and serve.
func (r *route) handshake(ctx context.Context, conn net.Conn, hop Hop) error {
	var refused *HostKeyError
	var hostKey ssh.PublicKey
	var asked atomic.Bool // the server asked for authentication
	var l login
	defer l.close()
	config := &ssh.ClientConfig{
		User: hop.User,
		Auth: l.methods(ctx, hop.Auth),
		BannerCallback: func(message string) error {
			l.banner = plainText(message)
			return nil
		},
		AuthCallback: func(*ssh.ClientAuthContext) (ssh.AuthMethod, error) {
			asked.Store(true)
			return nil, nil //nolint:nilnil // "as configured" in package ssh
		},
		HostKeyAlgorithms: hop.HostKey.algorithms(hop.Addr),
		HostKeyCallback: func(addr string, remote net.Addr, key ssh.PublicKey) error {
			err := hop.HostKey.check(addr, remote, key)
			if err == nil {
				hostKey = key
				return nil
			}
			refused = &HostKeyError{Addr: hop.Addr, Fingerprint: ssh.FingerprintSHA256(key), Err: err}
			return refused
		},
	}
	sc, channels, requests, err := ssh.NewClientConn(conn, hop.Addr, config)
	switch {
	case err == nil:
		// Not ssh.NewClient, which needs three goroutines where serve is one.
		r.client, r.hostKey, r.key = &ssh.Client{Conn: sc}, hostKey, l.signed
		r.serve = func() error { return serve(sc, channels, requests) }
		return nil
	case refused != nil:
		return refused
	case asked.Load() && ctx.Err() == nil && (l.err != nil || !isConnError(err)):
		return &AuthError{Addr: hop.Addr, User: hop.User, Err: l.explain(err)}
	case asked.Load() && ctx.Err() == nil && l.offered != "" && errors.Is(err, io.EOF):
		// As sshd does for an expired or locked account.
		return &AuthError{Addr: hop.Addr, User: hop.User, Err: fmt.Errorf("server hung up during the login: %w", l.explain(err))}
	default:
		return fmt.Errorf("%s: %w", hop.Addr, err)
	}
}

// serve refuses the channels and requests that a server opens or sends, as
// ssh.Client does, until the connection is lost. It returns the cause.
func serve(conn ssh.Conn, channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) error {
	for channels != nil || requests != nil {
		select {
		case channel, ok := <-channels:
			if !ok {
				channels = nil
				continue
			}
			_ = channel.Reject(ssh.UnknownChannelType, "unknown channel type: "+channel.ChannelType())
		case request, ok := <-requests:
			if !ok {
				requests = nil
				continue
			}
			_ = request.Reply(false, nil)
		}
	}
	return conn.Wait()
}

// isConnError reports whether err is a failure of the network connection.
func isConnError(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &network)
}

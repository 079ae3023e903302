package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/bakestone-go/bakestone/bake"
)

var _ bake.SSHReacher = (*Machine)(nil)

// ReachSSH implements [bake.SSHReacher]. It lets another program log in to the
// machine until use returns, with the [PrivateKey] or [Certificate] that logged in, or
// else the first one, the first [AgentSocket] and the first [Password] of [Config.Auth]. Without any of
// these it returns an error wrapping [bake.ErrNoSSH]. If Dial, Proxy or Via is set,
// access leads to a relay on the loopback interface.
//
// If ctx has ended when use returns, ReachSSH kills the processes on the machine
// that have access.Mark in their environment, and their descendants. This requires
// /proc. It does not try if the cause matches [bake.ErrMachineEnded].
func (m *Machine) ReachSSH(ctx context.Context, use func(ctx context.Context, access bake.SSHAccess) error) error {
	access, err := m.sshAccess("")
	if err != nil {
		return err
	}
	c, err := m.conn(ctx)
	if err != nil {
		return err
	}
	if access, err = m.sshAccess(c.route.key); err != nil {
		return err
	}
	run := func(ctx context.Context, addr string) error {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return err
		}
		access.Host = host
		if access.Port, err = strconv.Atoi(port); err != nil {
			return fmt.Errorf("invalid port in %s: %w", addr, err)
		}
		access.KnownHosts = knownHostsLine(addr, c.route.hostKey)
		tag := m.cfg.newTag()
		access.Mark = markVariable + "=" + tag
		err = use(ctx, access)
		if ctx.Err() != nil && !errors.Is(context.Cause(ctx), bake.ErrMachineEnded) {
			m.killMarked(context.WithoutCancel(ctx), tag)
		}
		return err
	}
	if m.direct {
		return run(ctx, m.cfg.Addr)
	}
	return m.relay(ctx, run)
}

// killMarked kills the processes that another program left on the machine. If it is gone,
// they are too.
func (m *Machine) killMarked(ctx context.Context, tag string) {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	const reconnecting = 15 * time.Second
	limited, stop := context.WithTimeout(ctx, reconnecting)
	defer stop()
	c, err := m.conn(limited)
	if err != nil {
		m.cfg.Logger.WarnContext(ctx, "command may still be running on the machine", slog.String("addr", m.cfg.Addr), slog.Any("error", err))
		return
	}
	p := &process{tag: tag}
	if su, err := c.detectSudo(ctx); err == nil {
		p.sudo = su // to kill processes that run as root
	}
	c.kill(ctx, p, true)
}

// sshAccess returns the credentials that can be handed to another program, preferably
// the private key of the given public one.
func (m *Machine) sshAccess(used string) (bake.SSHAccess, error) {
	access := bake.SSHAccess{User: m.cfg.User, SudoPassword: m.cfg.SudoPassword}
	var errs []error
	for _, a := range m.cfg.Auth {
		switch {
		case !a.pem.IsZero() && (access.Key.IsZero() || string(a.signer.PublicKey().Marshal()) == used):
			access.Key, access.Certificate = a.pem, a.certificate
		case a.socket != nil && access.Agent == "":
			path, err := a.socket()
			if err != nil {
				errs = append(errs, err)
			}
			access.Agent = path
		case !a.secret.IsZero() && access.Password.IsZero():
			access.Password = a.secret
		}
	}
	if access.Key.IsZero() && access.Agent == "" && access.Password.IsZero() {
		errs = append(errs, errors.New("Config.Auth has no PrivateKey, Certificate, AgentSocket or Password to hand on"))
		return access, fmt.Errorf("%w: %w", bake.ErrNoSSH, errors.Join(errs...))
	}
	return access, nil
}

// knownHostsLine returns a known_hosts line that pins key for addr.
func knownHostsLine(addr string, key ssh.PublicKey) string {
	if cert, ok := key.(*ssh.Certificate); ok { //lint:concrete package ssh passes certificates to callbacks as this type
		// The certificate is not valid for a relay's address, so pin its key.
		key = cert.Key
	}
	return strings.TrimSpace(knownhosts.Line([]string{addr}, key)) + "\n"
}

// relay calls use with the address of a loopback listener that forwards connections
// to the machine along m's route. It only copies bytes: the ends authenticate each
// other.
func (m *Machine) relay(ctx context.Context, use func(ctx context.Context, addr string) error) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	serving, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { m.relayConn(serving, near) })
		}
	})
	err = use(ctx, listener.Addr().String())
	stop()
	_ = listener.Close() // nothing was written
	wg.Wait()
	return err
}

// relayConn connects near to the machine until either side or ctx ends.
func (m *Machine) relayConn(ctx context.Context, near net.Conn) {
	defer near.Close() //nolint:errcheck // nothing is buffered
	limited, cancel := context.WithTimeoutCause(ctx, m.cfg.AttemptTimeout, errAttemptTimeout)
	far, closeRoute, err := m.dialMachine(limited)
	cancel()
	if err != nil {
		m.cfg.Logger.WarnContext(ctx, "relay: connection to the machine failed", slog.String("addr", m.cfg.Addr), slog.Any("error", err))
		return
	}
	end := sync.OnceFunc(func() {
		_ = near.Close()
		_ = far.Close()
		closeRoute()
	})
	defer end()
	stop := context.AfterFunc(ctx, end)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(far, near); end() })
	wg.Go(func() { _, _ = io.Copy(near, far); end() })
	wg.Wait()
}

// dialMachine opens a connection to the machine's port through the proxy and
// bastions.
func (m *Machine) dialMachine(ctx context.Context) (conn net.Conn, closeRoute func(), err error) {
	if len(m.cfg.Via) == 0 {
		conn, err = dialFirst(ctx, m.cfg, m.cfg.Addr)
		return conn, func() {}, err
	}
	r, err := dialHops(ctx, m.cfg, m.cfg.Via)
	if err != nil {
		return nil, nil, err
	}
	r.serveInBackground()
	conn, err = r.client.DialContext(ctx, "tcp", m.cfg.Addr)
	if err != nil {
		r.close()
		return nil, nil, err
	}
	return conn, r.close, nil
}

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

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/bakestone-go/bakestone/bake"
)

var _ bake.SSHReacher = (*Machine)(nil)

// ReachSSH lets another program log in to the machine as m does, until use
// returns: by the first Key or Certificate of Config.Auth, the first AgentSocket
// and the first Password. Without any of them the error is bake.ErrNoSSH. If ctx
// has ended by then, the processes on the machine that have access.Mark in their
// environment, and their descendants, are killed; there must be a /proc for that.
func (m *Machine) ReachSSH(ctx context.Context, use func(ctx context.Context, access bake.SSHAccess) error) error {
	access, err := m.sshAccess()
	if err != nil {
		return err
	}
	c, err := m.conn(ctx)
	if err != nil {
		return err
	}
	run := func(ctx context.Context, addr string) error {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return err
		}
		access.Host = host
		if access.Port, err = strconv.Atoi(port); err != nil {
			return fmt.Errorf("port of %s: %w", addr, err)
		}
		access.KnownHosts = knownHostsLine(addr, c.route.hostKey)
		tag := newTag()
		access.Mark = markVariable + "=" + tag
		err = use(ctx, access)
		if ctx.Err() != nil {
			m.killMarked(context.WithoutCancel(ctx), tag)
		}
		return err
	}
	if m.direct {
		return run(ctx, m.cfg.Addr)
	}
	return m.relay(ctx, run)
}

// killMarked ends what another program left running on the machine.
func (m *Machine) killMarked(ctx context.Context, tag string) {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	c, err := m.conn(ctx)
	if err != nil {
		m.cfg.Logger.WarnContext(ctx, "a command may still run on the machine", slog.String("addr", m.cfg.Addr), slog.Any("error", err))
		return
	}
	p := &process{tag: tag}
	if root, err := c.detectSudo(ctx); err == nil {
		p.sudo = root // what runs as root is killed by nobody else
	}
	c.kill(ctx, p, true)
}

// access is what of the login can be handed on.
func (m *Machine) sshAccess() (bake.SSHAccess, error) {
	access := bake.SSHAccess{User: m.cfg.User, SudoPassword: m.cfg.SudoPassword}
	var why []error
	for _, a := range m.cfg.Auth {
		switch {
		case !a.pem.IsZero() && access.Key.IsZero():
			access.Key, access.Certificate = a.pem, a.certificate
		case a.socket != nil && access.Agent == "":
			path, err := a.socket()
			if err != nil {
				why = append(why, err)
			}
			access.Agent = path
		case !a.secret.IsZero() && access.Password.IsZero():
			access.Password = a.secret
		}
	}
	if access.Key.IsZero() && access.Agent == "" && access.Password.IsZero() {
		why = append(why, errors.New("they can use a key in PEM, an agent's socket or a password, and the login is by none"))
		return access, fmt.Errorf("%w: %w", bake.ErrNoSSH, errors.Join(why...))
	}
	return access, nil
}

// knownHostsLine pins key, or the authority behind it, for addr.
func knownHostsLine(addr string, key ssh.PublicKey) string {
	if cert, ok := key.(*ssh.Certificate); ok {
		// A certificate is for names, and a relay's address is none of them.
		key = cert.Key
	}
	return strings.TrimSpace(knownhosts.Line([]string{addr}, key)) + "\n"
}

// relay listens on loopback while use runs, and connects whoever comes with the
// machine, the way that m itself takes. It only moves bytes: the two at its ends
// authenticate each other.
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
	_ = listener.Close() // nothing was written to it
	wg.Wait()
	return err
}

// join connects near with the machine until either side or ctx ends.
func (m *Machine) relayConn(ctx context.Context, near net.Conn) {
	defer near.Close() //nolint:errcheck // both sides have been told all there is
	limited, cancel := context.WithTimeoutCause(ctx, m.cfg.AttemptTimeout, errAttemptTimeout)
	far, closeWay, err := m.dialMachine(limited)
	cancel()
	if err != nil {
		m.cfg.Logger.WarnContext(ctx, "relay: cannot reach the machine", slog.String("addr", m.cfg.Addr), slog.Any("error", err))
		return
	}
	end := sync.OnceFunc(func() {
		_ = near.Close()
		_ = far.Close()
		closeWay()
	})
	defer end()
	stop := context.AfterFunc(ctx, end)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(far, near); end() })
	wg.Go(func() { _, _ = io.Copy(near, far); end() })
	wg.Wait()
}

// dialRaw makes a connection to the machine's port, through proxy and hops.
func (m *Machine) dialMachine(ctx context.Context) (conn net.Conn, closeWay func(), err error) {
	if len(m.cfg.Via) == 0 {
		conn, err = dialFirst(ctx, m.cfg, m.cfg.Addr)
		return conn, func() {}, err
	}
	way, err := dialHops(ctx, m.cfg, m.cfg.Via)
	if err != nil {
		return nil, nil, err
	}
	conn, err = way.client.DialContext(ctx, "tcp", m.cfg.Addr)
	if err != nil {
		way.close()
		return nil, nil, err
	}
	return conn, way.close, nil
}

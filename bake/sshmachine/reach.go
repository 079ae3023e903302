package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"

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
	access, err := m.access()
	if err != nil {
		return err
	}
	l, err := m.link(ctx)
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
		access.KnownHosts = knownHostsLine(addr, l.route.hostKey)
		tag := newTag()
		access.Mark = mark + "=" + tag
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
	l, err := m.link(ctx)
	if err != nil {
		m.cfg.Logger.WarnContext(ctx, "a command may still run on the machine", slog.String("addr", m.cfg.Addr), slog.Any("error", err))
		return
	}
	p := &process{tag: tag}
	if root, err := l.becomeRoot(ctx); err == nil {
		p.root = root // what runs as root is killed by nobody else
	}
	l.kill(ctx, p, true)
}

// access is what of the login can be handed on.
func (m *Machine) access() (bake.SSHAccess, error) {
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

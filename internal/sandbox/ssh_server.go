package sandbox

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"
)

// A CloseWriter is a connection whose write side can be closed separately.
// Connections from Options.Dial may implement it.
type CloseWriter interface{ CloseWrite() error }

var _ CloseWriter = (*net.TCPConn)(nil)

// ServeConn serves one SSH connection on c. It returns when the connection has
// ended, and closes c. As with sshd, only commands with a terminal end with it;
// others live on until they write. If the machine is off or booting, it closes c
// immediately. The end of ctx drops the connection. c must buffer writes, as a
// socket does: both sides of SSH write first.
func (h *Host) ServeConn(ctx context.Context, c net.Conn) {
	defer shut(c)
	h.mu.Lock()
	b := h.up
	h.mu.Unlock()
	if b == nil || !b.addConn(c) {
		return
	}
	defer b.removeConn(c)
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if err := h.serve(b.ctx, c); err != nil && !errors.Is(err, io.EOF) { //nolint:contextcheck // guest processes end with the machine
		h.o.Logger.LogAttrs(ctx, slog.LevelDebug, "ssh connection ended", slog.String("error", err.Error()))
	}
}

// addConn adds a connection that end closes and waits for. It reports false if
// the machine is shutting down.
func (b *boot) addConn(c net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conns == nil {
		return false
	}
	b.conns[c] = true
	b.wg.Add(1)
	return true
}

func (b *boot) removeConn(c net.Conn) {
	b.mu.Lock()
	delete(b.conns, c)
	b.mu.Unlock()
	b.wg.Done()
}

var errAccess = errors.New("permission denied")

func (h *Host) serverConfig() (*ssh.ServerConfig, error) {
	config := &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-OpenSSH_9.6p1-sandbox",
		PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, h.authorized(meta.User(), key)
		},
	}
	if len(h.o.Passwords) > 0 {
		check := func(name, password string) error {
			want, ok := h.o.Passwords[name]
			if _, known := lookupUser(h.FS(), name); !ok || !known || subtle.ConstantTimeCompare([]byte(want), []byte(password)) != 1 {
				return errAccess
			}
			return nil
		}
		config.PasswordCallback = func(meta ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			return nil, check(meta.User(), string(password))
		}
		config.KeyboardInteractiveCallback = func(meta ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			answers, err := ask("", "", []string{"Password: "}, []bool{false})
			if err != nil {
				return nil, err
			}
			if len(answers) != 1 {
				return nil, errAccess
			}
			return nil, check(meta.User(), answers[0])
		}
	}
	signers, err := h.hostKey()
	if err != nil {
		return nil, err
	}
	for _, signer := range signers {
		config.AddHostKey(signer)
	}
	return config, nil
}

// authorized returns an error unless key is in the user's authorized_keys, which
// it reads from the disk each time.
func (h *Host) authorized(name string, key ssh.PublicKey) error {
	u, ok := lookupUser(h.FS(), name)
	if !ok {
		return errAccess
	}
	data, err := h.FS().ReadFile(u.home + "/.ssh/authorized_keys")
	if err != nil {
		return errAccess
	}
	for line := range bytes.Lines(data) {
		allowed, _, _, _, err := ssh.ParseAuthorizedKey(line) //nolint:dogsled // options have no effect here
		if err == nil && bytes.Equal(allowed.Marshal(), key.Marshal()) {
			return nil
		}
	}
	return errAccess
}

func (h *Host) serve(ctx context.Context, c net.Conn) error {
	config, err := h.serverConfig()
	if err != nil {
		return err
	}
	conn, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return err
	}
	u, ok := lookupUser(h.FS(), conn.User())
	if !ok {
		return conn.Close()
	}
	life := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(signal("HUP"))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(signal("HUP"))
	wg.Go(func() { answer(requests) })
	for ch := range channels {
		switch ch.ChannelType() {
		case "session":
			channel, reqs, err := ch.Accept()
			if err != nil {
				continue
			}
			wg.Go(func() { h.session(ctx, life, conn, u, channel, reqs) })
		case "direct-tcpip":
			wg.Go(func() { h.forward(ctx, ch) })
		default:
			_ = ch.Reject(ssh.UnknownChannelType, "unknown channel type")
		}
	}
	return nil
}

// answer replies to global requests. Like sshd, it fails keepalives, which is
// enough for the client.
func answer(requests <-chan *ssh.Request) {
	for r := range requests {
		if r.WantReply {
			_ = r.Reply(false, nil)
		}
	}
}

// forward connects a channel to the requested address, as on a bastion.
func (h *Host) forward(ctx context.Context, ch ssh.NewChannel) {
	var to struct {
		Host     string
		Port     uint32
		FromHost string
		FromPort uint32
	}
	if err := ssh.Unmarshal(ch.ExtraData(), &to); err != nil || h.o.Dial == nil {
		_ = ch.Reject(ssh.Prohibited, "administratively prohibited: open failed")
		return
	}
	conn, err := h.o.Dial(ctx, "tcp", net.JoinHostPort(to.Host, strconv.FormatUint(uint64(to.Port), 10)))
	if err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer shut(conn)
	channel, reqs, err := ch.Accept()
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close(); _ = channel.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { ssh.DiscardRequests(reqs) })
	wg.Go(func() {
		_, _ = io.Copy(conn, channel)
		if cw, ok := conn.(CloseWriter); ok {
			_ = cw.CloseWrite()
		} else {
			_ = conn.Close()
		}
	})
	_, _ = io.Copy(channel, conn)
	_ = channel.CloseWrite()
	_ = channel.Close()
	wg.Wait()
}

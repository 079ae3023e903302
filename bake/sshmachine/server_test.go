package sshmachine_test

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// A host is an in-process SSH server that runs commands with /bin/sh and can be made
// to misbehave.
type host struct {
	key    *sshmachine.KeyPair
	client *sshmachine.KeyPair // accepted by default
	config *ssh.ServerConfig
	env    []string

	mu     sync.Mutex
	run    func(line string) string         // if not nil, rewrites command lines
	sftp   func(channel io.ReadWriteCloser) // if not nil, serves the SFTP subsystem
	conns  []net.Conn
	logins int
	wg     sync.WaitGroup
}

func newHost(t testing.TB) *host {
	t.Helper()
	h := &host{env: os.Environ()}
	var err error
	h.key, err = sshmachine.NewKeyPair("host")
	must(t, err)
	h.client, err = sshmachine.NewKeyPair("")
	must(t, err)
	h.config = &ssh.ServerConfig{PublicKeyCallback: h.allow}
	h.config.AddHostKey(h.key.Signer)
	return h
}

func (h *host) allow(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	if string(key.Marshal()) != string(h.client.Signer.PublicKey().Marshal()) {
		return nil, errors.New("unknown key")
	}
	return &ssh.Permissions{}, nil
}

// configFor returns a Config for h at addr.
func (h *host) configFor(addr string) *sshmachine.Config {
	return &sshmachine.Config{
		Addr: addr, User: "me",
		Auth:    []sshmachine.Auth{sshmachine.Signer(h.client.Signer)},
		HostKey: sshmachine.FixedHostKey(h.key.Signer.PublicKey()),
	}
}

// listen serves h on loopback for the duration of the test and returns the address.
// It skips the test on systems without a shell.
func (h *host) listen(t testing.TB) string {
	t.Helper()
	testenv.Need(t, "sh")
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	h.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			h.wg.Go(func() { h.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		h.drop()
		h.wg.Wait()
	})
	return l.Addr().String()
}

// drop closes all connections.
func (h *host) drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.conns {
		_ = c.Close()
	}
	h.conns = nil
}

func (h *host) serve(conn net.Conn) {
	h.mu.Lock()
	h.conns = append(h.conns, conn)
	h.mu.Unlock()
	sc, channels, requests, err := ssh.NewServerConn(conn, h.config)
	if err != nil {
		_ = conn.Close()
		return
	}
	h.mu.Lock()
	h.logins++
	h.mu.Unlock()
	h.wg.Go(func() { ssh.DiscardRequests(requests) })
	for channel := range channels {
		if channel.ChannelType() != "session" {
			_ = channel.Reject(ssh.Prohibited, "sessions only")
			continue
		}
		ch, reqs, err := channel.Accept()
		if err == nil {
			h.wg.Go(func() { h.session(ch, reqs) })
		}
	}
	_ = sc.Close()
}

func (h *host) session(ch ssh.Channel, requests <-chan *ssh.Request) {
	defer ch.Close()
	var cmd *exec.Cmd
	done := make(chan error, 1)
	for {
		select {
		case r, ok := <-requests:
			if !ok { // the channel is closed
				if cmd != nil {
					_ = cmd.Process.Kill()
					<-done //nolint:errcheck // it was killed
				}
				return
			}
			if r.Type == "subsystem" && h.sftp != nil {
				_ = r.Reply(true, nil)
				go ssh.DiscardRequests(requests)
				h.sftp(ch)
				return
			}
			if r.Type != "exec" {
				_ = r.Reply(false, nil)
				continue
			}
			line := string(r.Payload[4:])
			h.mu.Lock()
			if h.run != nil {
				line = h.run(line)
			}
			h.mu.Unlock()
			cmd = exec.Command("/bin/sh", "-c", line) //nolint:noctx // killed with its session
			cmd.Env, cmd.Stdout, cmd.Stderr = h.env, ch, ch.Stderr()
			cmd.WaitDelay = 100 * time.Millisecond // for outputs held by its children
			stdin, err := cmd.StdinPipe()
			if err == nil {
				err = cmd.Start()
			}
			_ = r.Reply(err == nil, nil)
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(stdin, ch)
				_ = stdin.Close()
			}()
			go func() { done <- cmd.Wait() }()
		case <-done: //nolint:errcheck // ProcessState has the result
			if cmd.ProcessState.ExitCode() < 0 {
				signal := struct {
					Name          string
					Core          bool
					Text, Unicode string
				}{Name: "TERM"}
				_, _ = ch.SendRequest("exit-signal", false, ssh.Marshal(&signal))
				return
			}
			status := struct{ Status uint32 }{uint32(cmd.ProcessState.ExitCode())} //nolint:gosec // small
			_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(&status))
			return
		}
	}
}

// fakeSudo makes h's login appear unprivileged, with a sudo that requires the given
// password unless it is empty.
func (h *host) fakeSudo(t testing.TB, password string) {
	t.Helper()
	bin := t.TempDir()
	script := func(name, text string) {
		must(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text), 0o755))
	}
	script("id", `case $1 in -u) echo "${FAKE_UID:-1000}";; *) exec /usr/bin/id "$@";; esac`)
	script("sudo", `ask=no
while :; do case $1 in
-n) ask=never;; -S) ask=yes;; -k|-H) ;; -p) shift;; --) shift; break;; *) break;;
esac; shift; done
want='`+password+`'
if [ -n "$want" ]; then
	if [ $ask != yes ]; then echo "sudo: a password is required" >&2; exit 1; fi
	for try in 1 2 3; do
		IFS= read -r got || { echo "sudo: no password was provided" >&2; exit 1; }
		[ "$got" = "$want" ] && break
		echo "Sorry, try again." >&2
		[ $try = 3 ] && exit 1
	done
fi
exec env -i PATH="$PATH" HOME=/root FAKE_UID=0 "$@"
`)
	h.env = append(h.env, "PATH="+bin+":"+os.Getenv("PATH"))
}

// A pipeEnd is an end of a buffered connection in memory. net.Pipe would deadlock,
// since both sides of SSH begin with a write. Blocking on it is durable in the
// sense of testing/synctest.
type pipeEnd struct {
	read, write *pipeBuffer
}

type pipeBuffer struct {
	mu     sync.Mutex
	change sync.Cond
	data   []byte
	closed bool
	frozen bool // writes are discarded
}

func newPipe() (a, b *pipeEnd) {
	one, two := &pipeBuffer{}, &pipeBuffer{}
	one.change.L, two.change.L = &one.mu, &two.mu
	return &pipeEnd{one, two}, &pipeEnd{two, one}
}

// freeze discards all later writes to b.
func (b *pipeBuffer) freeze() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frozen = true
}

func (p *pipeEnd) Read(to []byte) (int, error) {
	b := p.read
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.data) == 0 {
		if b.closed {
			return 0, io.EOF
		}
		b.change.Wait()
	}
	n := copy(to, b.data)
	b.data = b.data[n:]
	return n, nil
}

func (p *pipeEnd) Write(data []byte) (int, error) {
	b := p.write
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, net.ErrClosed
	}
	if !b.frozen {
		b.data = append(b.data, data...)
		b.change.Broadcast()
	}
	return len(data), nil
}

func (p *pipeEnd) Close() error {
	for _, b := range []*pipeBuffer{p.read, p.write} {
		b.mu.Lock()
		b.closed = true
		b.change.Broadcast()
		b.mu.Unlock()
	}
	return nil
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "192.0.2.1:22" }

func (p *pipeEnd) LocalAddr() net.Addr              { return pipeAddr{} }
func (p *pipeEnd) RemoteAddr() net.Addr             { return pipeAddr{} }
func (p *pipeEnd) SetDeadline(time.Time) error      { return nil }
func (p *pipeEnd) SetReadDeadline(time.Time) error  { return nil }
func (p *pipeEnd) SetWriteDeadline(time.Time) error { return nil }

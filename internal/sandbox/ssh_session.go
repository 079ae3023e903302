package sandbox

import (
	"bytes"
	"context"
	"io"
	"net"
	"path"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// session is an SSH session channel.
type session struct {
	h       *Host
	p       *Process
	channel ssh.Channel
	started bool
	kill    context.CancelCauseFunc // of a command without a terminal; nil before it starts
	pty     bool
}

func (h *Host) session(ctx, life context.Context, conn ssh.ConnMetadata, u user, channel ssh.Channel, requests <-chan *ssh.Request) {
	defer shut(channel)
	ctx, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	s := &session{h: h, p: h.process(u), channel: channel}
	client, clientPort := splitAddr(conn.RemoteAddr(), "50022")
	server, serverPort := splitAddr(conn.LocalAddr(), "22")
	s.p.Env["SSH_CONNECTION"] = strings.Join([]string{client, clientPort, server, serverPort}, " ")
	s.p.Env["SSH_CLIENT"] = strings.Join([]string{client, clientPort, serverPort}, " ")
	var wg sync.WaitGroup
	defer wg.Wait()
	for r := range requests {
		ok := true
		var run func(context.Context) int
		switch r.Type {
		case "env":
			ok = s.env(r.Payload)
		case "pty-req":
			s.pty, s.p.tty = true, true
			s.setTerminal(r.Payload)
		case "window-change":
		case "signal":
			var req struct{ Name string }
			sig, known := signal(""), false
			if ssh.Unmarshal(r.Payload, &req) == nil {
				sig, known = parseSignal(req.Name)
			}
			if ok = known; ok && sig != "" {
				kill(sig)
				if s.kill != nil {
					s.kill(sig)
				}
			}
		case "exec":
			var req struct{ Command string }
			if ok = ssh.Unmarshal(r.Payload, &req) == nil; ok {
				run = s.exec(req.Command)
			}
		case "shell":
			run = s.exec("")
		case "subsystem":
			var req struct{ Name string }
			if ok = ssh.Unmarshal(r.Payload, &req) == nil && req.Name == "sftp"; ok {
				run = s.sftp
			}
		default: // x11-req, auth-agent-req@openssh.com and others
			ok = false
		}
		if run != nil && s.started {
			ok, run = false, nil
		}
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		if run != nil {
			s.started = true
			if s.pty {
				wg.Go(func() { s.run(ctx, run) })
			} else { // it outlives the connection
				running, end := context.WithCancelCause(life)
				s.kill = end
				h.outlive(life, func() {
					defer end(nil)
					s.run(running, run)
				})
			}
		}
	}
	kill(signal("HUP")) // the client closed the channel
}

// splitAddr returns the host and port of an address, or those of the machine itself
// if it is not a network address.
func splitAddr(a net.Addr, port string) (string, string) {
	if host, p, err := net.SplitHostPort(a.String()); err == nil {
		return host, p
	}
	return "127.0.0.1", port
}

// env sets an environment variable if sshd accepts it by default.
func (s *session) env(payload []byte) bool {
	var req struct{ Name, Value string }
	if ssh.Unmarshal(payload, &req) != nil || req.Name != "LANG" && !strings.HasPrefix(req.Name, "LC_") {
		return false
	}
	s.p.Env[req.Name] = req.Value
	return true
}

func (s *session) setTerminal(payload []byte) {
	var req struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}
	if ssh.Unmarshal(payload, &req) == nil {
		s.p.Env["TERM"], s.p.Env["SSH_TTY"] = req.Term, "/dev/pts/0"
	}
}

// exec returns a func that runs a command line in the user's shell, or the shell
// itself if line is empty.
func (s *session) exec(line string) func(context.Context) int {
	return func(ctx context.Context) int {
		shell := s.p.Env["SHELL"]
		if shell == "" {
			shell = "/bin/sh"
		}
		s.p.Args = []string{shell}
		if line != "" {
			s.p.Args = append(s.p.Args, "-c", line)
		} else if base := path.Base(shell); base == "bash" || base == "sh" {
			s.p.Args = append(s.p.Args, "-l")
		}
		s.p.by = "sshd"
		return s.p.exec(ctx)
	}
}

// run runs the session's command and sends its exit status before closing the
// channel.
func (s *session) run(ctx context.Context, run func(context.Context) int) {
	in := newInput(ctx, s.channel) // unblocks readers when the command is killed
	s.p.Stdin, s.p.Stdout, s.p.Stderr = in, s.p.session.output(s.channel), s.p.session.output(s.channel.Stderr())
	if s.pty {
		out := s.p.session.output(&terminal{w: s.channel})
		s.p.Stdout, s.p.Stderr = out, out
	}
	ctx, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	defer s.p.session.limitTime(ctx, kill)()
	status := run(ctx)
	if sig, ok := signalOf(ctx); ok {
		_, _ = s.channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Signal     string
			CoreDumped bool
			Message    string
			Language   string
		}{Signal: string(sig)}))
	} else {
		_, _ = s.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)})) //nolint:gosec // eight bits
	}
	_ = s.channel.CloseWrite()
	_ = s.channel.Close()
	in.wait()
}

// terminal converts line ends like a terminal driver. It is safe for concurrent
// use.
type terminal struct {
	mu sync.Mutex
	w  io.Writer
}

func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := t.w.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n"))); err != nil {
		return 0, err
	}
	return len(p), nil
}

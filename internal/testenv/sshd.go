package testenv

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// startTries bounds the attempts to start a server, since another program may
// take its port first.
const startTries = 20

// SSHDOptions configures a server started by SSHD. The zero value, or nil, is a
// server with SFTP and one authorized key.
type SSHDOptions struct {
	// AuthorizedKeys may log in besides Server.Signer.
	AuthorizedKeys []ssh.PublicKey

	// HostKeyPEM is the private host key in OpenSSH's format. If nil, a new
	// ed25519 key is generated.
	HostKeyPEM []byte

	// NoSFTP disables the SFTP subsystem.
	NoSFTP bool

	// Config holds lines of sshd_config. They precede the default ones and so
	// override them, since sshd uses the first value of a keyword.
	Config []string
}

// A Server is an OpenSSH server on a loopback port with its own configuration
// and keys. Its login is the user who runs the test, with that user's
// permissions, so tests must keep to their own directories. HOME is an empty
// directory, so that the user's profile is not read, but sessions start in the
// user's real home directory.
type Server struct {
	Addr         string        // host and port
	User         string        // the login
	HostKey      ssh.PublicKey // expected by clients
	Signer       ssh.Signer    // authorized to log in
	ClientKeyPEM []byte        // Signer's private key, in OpenSSH's format
	Dir          string        // configuration, keys ("client_key" is Signer's) and log

	launch   []string // command that runs sshd, without sshd's arguments
	emulated []string // the same in an emulated machine, where the server runs unless this is nil
	inside   string   // Dir as sshd sees it
	home     string   // HOME of sessions; if empty, that of the login
	marker   string
	config   []string
	process  *process
}

// SSHD starts an OpenSSH server for t and returns once Signer can log in. If
// sshd is missing, it skips t, as Need does.
//
// When t ends, the server is stopped with all its sessions and their processes,
// and its log is shown if t has failed. Password logins are disabled: they would
// need PAM or the password of a real account.
func SSHD(t testing.TB, opts *SSHDOptions) *Server {
	t.Helper()
	sshd := Need(t, "sshd")
	if opts == nil {
		opts = &SSHDOptions{}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	if me.Uid == "0" {
		// As root, sshd requires this directory even if it does not use it.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatalf("testenv: %v", err)
		}
	}
	s := &Server{User: me.Username, Dir: t.TempDir(), launch: []string{sshd}}
	s.inside = s.Dir
	s.home = filepath.Join(s.Dir, "home")
	if err := os.Mkdir(s.home, 0o700); err != nil {
		t.Fatalf("testenv: %v", err)
	}
	s.marker = "BAKESTONE_TEST_SSHD=" + s.Dir
	s.serve(t, opts)
	return s
}

// serve writes the configuration and runs the server until t ends.
func (s *Server) serve(t testing.TB, opts *SSHDOptions) {
	t.Helper()
	s.writeKeys(t, opts)
	s.config = s.settings(opts)
	// Newer releases block an address after failed logins, which some tests cause;
	// older ones do not support the keyword.
	if penalties := "PerSourcePenalties no"; s.supports(t, penalties) {
		s.config = append(s.config, penalties)
	}
	t.Cleanup(func() {
		if s.process == nil {
			return
		}
		s.Stop()
		if t.Failed() {
			t.Logf("testenv: end of sshd's log:\n%s", s.process.tail())
		}
	})
	for range startTries {
		s.Addr = freeAddr(t)
		if s.try(t) {
			return
		}
	}
	t.Fatalf("testenv: sshd did not start:\n%s", s.process.tail())
}

// Drop kills all sessions and their processes and waits for them. Clients see a
// lost connection; the server keeps listening. It works only on Linux.
func (s *Server) Drop() { s.process.killDescendants() }

// Stop stops the server with all sessions and their processes. Addr then refuses
// connections, like a machine that is booting.
func (s *Server) Stop() { s.process.stop() }

// Start starts the server at the same Addr after Stop and returns once Signer
// can log in.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	for range startTries {
		if s.try(t) {
			return
		}
	}
	t.Fatalf("testenv: sshd did not start again at %s:\n%s", s.Addr, s.process.tail())
}

// Dial connects to the server as Signer. The caller must close the client.
func (s *Server) Dial(ctx context.Context) (*ssh.Client, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	client, channels, requests, err := ssh.NewClientConn(conn, s.Addr, &ssh.ClientConfig{
		User:            s.User,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(s.Signer)},
		HostKeyCallback: ssh.FixedHostKey(s.HostKey),
	})
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("testenv: %w", err)
	}
	_ = conn.SetDeadline(time.Time{})
	return ssh.NewClient(client, channels, requests), nil
}

// try starts sshd at s.Addr and waits until it accepts Signer. It reports false
// if sshd ended first, most likely because the port was taken.
func (s *Server) try(t testing.TB) bool {
	t.Helper()
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	s.write(t, "sshd_config", []byte("Port "+port+"\n"+strings.Join(s.config, "\n")+"\n"))
	launch := s.launch
	if s.emulated != nil {
		launch = s.emulated
	}
	command := slices.Concat(launch, []string{"-D", "-e", "-f", path.Join(s.inside, "sshd_config")})
	s.process, err = start(t, filepath.Join(s.Dir, "sshd.log"), s.marker, nil, command[0], command[1:]...)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	limit, attempt := readyTimeout, readyTimeout
	if s.emulated != nil {
		limit, attempt = emulatedTimeout, emulatedAttempt
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		// The pinned host key distinguishes this server from another on the port.
		dialing, done := context.WithTimeout(ctx, attempt)
		client, err := s.Dial(dialing)
		done()
		if err == nil {
			_ = client.Close()
			return true
		}
		if s.process.exited() {
			return false
		}
		if !pause(ctx) {
			t.Fatalf("testenv: sshd does not respond at %s: %v", s.Addr, err)
		}
	}
}

// supports reports whether this release of sshd accepts a configuration line.
func (s *Server) supports(t testing.TB, line string) bool {
	t.Helper()
	s.write(t, "probe_config", []byte("HostKey "+path.Join(s.inside, "host_key")+"\n"+line+"\n"))
	command := slices.Concat(s.launch, []string{"-t", "-f", path.Join(s.inside, "probe_config")})
	return exec.CommandContext(t.Context(), command[0], command[1:]...).Run() == nil
}

// settings returns the lines of sshd_config without the port.
func (s *Server) settings(opts *SSHDOptions) []string {
	in := func(name string) string { return `"` + path.Join(s.inside, name) + `"` }
	lines := append([]string{}, opts.Config...)
	environment := `SetEnv "` + s.marker + `"` // identifies sessions, even those that became daemons
	if s.home != "" {
		environment += ` "HOME=` + s.home + `"`
	}
	listen := "127.0.0.1"
	if s.emulated != nil { // on the loopback interface of the host in any case
		listen = "0.0.0.0"
	}
	lines = append(lines,
		"ListenAddress "+listen,
		"HostKey "+in("host_key"),
		"AuthorizedKeysFile "+in("authorized_keys"),
		"PidFile none",
		"StrictModes no",
		"UsePAM no",
		"UseDNS no",
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"PermitRootLogin yes",
		"PermitUserEnvironment no",
		"PrintMotd no",
		"PrintLastLog no",
		"MaxStartups 1000",
		"MaxSessions 1000",
		"MaxAuthTries 100",
		"LogLevel VERBOSE",
		environment,
	)
	if !opts.NoSFTP {
		lines = append(lines, "Subsystem sftp internal-sftp")
	}
	return lines
}

// freeAddr returns a loopback address that is currently free.
func freeAddr(t testing.TB) string {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	defer l.Close() //nolint:errcheck // nothing was accepted
	return l.Addr().String()
}

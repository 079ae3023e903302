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

// startTries bounds how often a port is picked anew because another program
// took it first.
const startTries = 20

// SSHDOptions say how SSHD sets up its server. The zero value, and nil, is a
// server with SFTP that one fresh key may use.
type SSHDOptions struct {
	// AuthorizedKeys may log in beside Server.Signer.
	AuthorizedKeys []ssh.PublicKey

	// HostKeyPEM is the private key of the host, in OpenSSH's format. Nil is a
	// fresh ed25519 key.
	HostKeyPEM []byte

	// NoSFTP leaves the SFTP subsystem out.
	NoSFTP bool

	// Config is lines of sshd_config that stand before the usual ones; sshd
	// takes the first value it finds for a keyword.
	Config []string
}

// A Server is OpenSSH's sshd on a loopback port, with a configuration and keys
// of its own. Its one login is the user who runs the test, with that user's
// rights: a test keeps to directories of its own. HOME is an empty directory,
// so that no profile of that user's is read, but sessions begin in the home
// directory that the system knows.
type Server struct {
	Addr         string        // host and port
	User         string        // the one login
	HostKey      ssh.PublicKey // what a client must see
	Signer       ssh.Signer    // may log in
	ClientKeyPEM []byte        // the private key of Signer, in OpenSSH's format
	Dir          string        // configuration, keys ("client_key" is Signer's) and log

	launch  []string // the command that runs sshd with the arguments after it
	inside  string   // Dir as sshd sees it
	home    string   // HOME of sessions; empty is the login's own
	marker  string
	config  []string
	process *process
}

// SSHD starts an OpenSSH server for t and returns when it has let Signer in.
// Without an sshd it skips t, as Need does. Nil options are the zero value.
//
// The server ends, with all its sessions and what runs in them, when t does;
// its log is shown if t has failed. Password logins are not offered: they would
// need PAM, or the password of a real account.
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
		// As root, sshd wants this directory even where it never uses it.
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
	// Newer releases shut out an address whose logins fail, and some tests make
	// them fail; older ones do not know the keyword.
	if penalties := "PerSourcePenalties no"; s.knows(t, penalties) {
		s.config = append(s.config, penalties)
	}
	t.Cleanup(func() {
		if s.process == nil {
			return
		}
		s.Stop()
		if t.Failed() {
			t.Logf("testenv: the end of sshd's log:\n%s", s.process.tail())
		}
	})
	for range startTries {
		s.Addr = freeAddr(t)
		if s.try(t) {
			return
		}
	}
	t.Fatal("testenv: sshd does not start")
}

// Drop kills every session and what runs in it, and waits for that; the server
// goes on listening. To the clients it is a lost connection. It works on Linux
// only.
func (s *Server) Drop() { s.process.dropChildren() }

// Stop ends the server with every session and what runs in it, and waits for
// that. Addr then refuses connections, as a machine does while it boots.
func (s *Server) Stop() { s.process.stop() }

// Start runs the server again at the same Addr after Stop, and returns when it
// lets Signer in.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	for range startTries {
		if s.try(t) {
			return
		}
	}
	t.Fatalf("testenv: sshd does not start again at %s:\n%s", s.Addr, s.process.tail())
}

// Dial opens a connection to the server as Signer, which the caller closes.
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

// try runs sshd at s.Addr. It reports false when sshd ended instead of
// answering, most likely because the port was taken.
func (s *Server) try(t testing.TB) bool {
	t.Helper()
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	s.write(t, "sshd_config", []byte("Port "+port+"\n"+strings.Join(s.config, "\n")+"\n"))
	command := s.command("-D", "-e", "-f", path.Join(s.inside, "sshd_config"))
	s.process, err = start(t, filepath.Join(s.Dir, "sshd.log"), s.marker, nil, command[0], command[1:]...)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), readyLimit)
	defer cancel()
	for {
		// The pinned host key tells this server from another on the same port.
		client, err := s.Dial(ctx)
		if err == nil {
			_ = client.Close()
			return true
		}
		if s.process.exited() {
			return false
		}
		if !pause(ctx) {
			t.Fatalf("testenv: sshd does not answer at %s: %v", s.Addr, err)
		}
	}
}

// knows reports whether this release of sshd takes a line of configuration.
func (s *Server) knows(t testing.TB, line string) bool {
	t.Helper()
	s.write(t, "probe_config", []byte("HostKey "+path.Join(s.inside, "host_key")+"\n"+line+"\n"))
	command := s.command("-t", "-f", path.Join(s.inside, "probe_config"))
	return exec.CommandContext(t.Context(), command[0], command[1:]...).Run() == nil
}

// command is how sshd is run with args.
func (s *Server) command(args ...string) []string { return slices.Concat(s.launch, args) }

// settings is the sshd_config without its port.
func (s *Server) settings(opts *SSHDOptions) []string {
	in := func(name string) string { return `"` + path.Join(s.inside, name) + `"` }
	lines := append([]string{}, opts.Config...)
	environment := `SetEnv "` + s.marker + `"` // sessions are found by it, even those that make themselves daemons
	if s.home != "" {
		environment += ` "HOME=` + s.home + `"`
	}
	lines = append(lines,
		"ListenAddress 127.0.0.1",
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

// freeAddr is a loopback address that nothing listens on just now.
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

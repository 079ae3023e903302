package sandbox_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/internal/memconn"
	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// keyPair returns a new key and its line for authorized_keys.
func keyPair(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	signer, _ := privateKey(t)
	return signer, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

// privateKey returns a new key and its PEM encoding.
func privateKey(t *testing.T) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

// dial connects to h in memory.
func dial(t *testing.T, h *sandbox.Host, config *ssh.ClientConfig) (*ssh.Client, error) {
	t.Helper()
	near, far := memconn.Pipe(memconn.Addr("client"), memconn.Addr("guest"))
	served := make(chan struct{})
	go func() {
		defer close(served)
		h.ServeConn(t.Context(), far)
	}()
	t.Cleanup(func() {
		_ = near.Close()
		<-served
	})
	if config.HostKeyCallback == nil {
		config.HostKeyCallback = ssh.InsecureIgnoreHostKey() //nolint:gosec // another test checks the key
	}
	if config.User == "" {
		config.User = "ubuntu"
	}
	conn, channels, requests, err := ssh.NewClientConn(near, "guest", config)
	if err != nil {
		return nil, err
	}
	c := ssh.NewClient(conn, channels, requests)
	t.Cleanup(func() { _ = c.Close() })
	return c, nil
}

// login boots a machine and connects to it as the default user.
func login(t *testing.T, o sandbox.Options) (*sandbox.Host, *ssh.Client) {
	t.Helper()
	signer, line := keyPair(t)
	o.AuthorizedKeys = append(o.AuthorizedKeys, line)
	h := boot(t, o)
	c, err := dial(t, h, &ssh.ClientConfig{Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}})
	if err != nil {
		t.Fatal(err)
	}
	return h, c
}

func session(t *testing.T, c *ssh.Client) *ssh.Session {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSSHExec(t *testing.T) {
	t.Parallel()
	_, c := login(t, sandbox.Options{Hostname: "guest"})
	s := session(t, c)
	var out, errs bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = strings.NewReader("input"), &out, &errs
	err := s.Run("hostname; whoami; pwd; cat; echo oops >&2; exit 7")
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.ExitStatus() != 7 {
		t.Errorf("got error %v, want exit status 7", err)
	}
	if got, want := out.String(), "guest\nubuntu\n/home/ubuntu\ninput"; got != want {
		t.Errorf("got output %q, want %q", got, want)
	}
	if got := errs.String(); got != "oops\n" {
		t.Errorf("got error output %q, want %q", got, "oops\n")
	}
}

func TestSSHShell(t *testing.T) {
	t.Parallel()
	_, c := login(t, sandbox.Options{})
	s := session(t, c)
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 2)
	for _, want := range []string{"a\n", "b\n"} { // read each output before sending the next command
		_, _ = fmt.Fprintf(in, "x=%secho $x\n", want)
		if _, err := io.ReadFull(out, line); err != nil || string(line) != want {
			t.Fatalf("got %q, %v, want %q", line, err, want)
		}
	}
	_, _ = fmt.Fprintln(in, "exit 3")
	var exit *ssh.ExitError
	if err := s.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 3 {
		t.Errorf("got error %v, want exit status 3", err)
	}
}

func TestSSHRequests(t *testing.T) {
	t.Parallel()
	_, c := login(t, sandbox.Options{})
	s := session(t, c)
	if err := s.Setenv("SECRET", "x"); err == nil {
		t.Error("Setenv(SECRET) succeeded, want refusal as by sshd")
	}
	if err := s.Setenv("LC_ALL", "C"); err != nil {
		t.Error(err)
	}
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Error(err)
	}
	out, err := s.Output("echo $LC_ALL $TERM; echo err >&2; [ -t 0 ] && echo tty")
	if want := "C xterm\r\nerr\r\ntty\r\n"; err != nil || string(out) != want {
		t.Errorf("output on terminal = %q, %v, want %q", out, err, want)
	}
	if ok, _, err := c.SendRequest("keepalive@openssh.com", true, nil); ok || err != nil {
		t.Errorf("keepalive = %v, %v, want false, nil as from sshd", ok, err)
	}
}

func TestSSHSignals(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"sleep 1000", "cat", "while :; do :; done", "sleep 1000 | cat", "read x", "sleep 1000 & wait", "sudo sh -c 'cat; echo no'"} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			_, c := login(t, sandbox.Options{})
			s := session(t, c)
			if _, err := s.StdinPipe(); err != nil { // never closed
				t.Fatal(err)
			}
			if err := s.Start(line); err != nil {
				t.Fatal(err)
			}
			if err := s.Signal(ssh.SIGTERM); err != nil {
				t.Fatal(err)
			}
			var exit *ssh.ExitError
			if err := s.Wait(); !errors.As(err, &exit) || exit.Signal() != "TERM" {
				t.Errorf("got error %v, want signal TERM", err)
			}
		})
	}
}

func TestSSHSessionCloseKillsTerminalCommand(t *testing.T) {
	t.Parallel()
	started, killed := make(chan struct{}), make(chan struct{})
	_, c := login(t, sandbox.Options{Commands: map[string]sandbox.Command{
		"serve": func(ctx context.Context, _ *sandbox.Process) int {
			close(started)
			<-ctx.Done()
			close(killed)
			return 0
		},
	}})
	s := session(t, c)
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Start("serve"); err != nil {
		t.Fatal(err)
	}
	<-started // otherwise the session may end before the command starts
	_ = s.Close()
	<-killed
}

func TestSSHConcurrentSessions(t *testing.T) {
	t.Parallel()
	_, c := login(t, sandbox.Options{})
	errs := make(chan error)
	for i := range 20 {
		go func() {
			s, err := c.NewSession()
			if err != nil {
				errs <- err
				return
			}
			out, err := s.Output(fmt.Sprintf("echo %d >f%d; cat f%d", i, i, i))
			if err == nil && string(out) != fmt.Sprintln(i) {
				err = fmt.Errorf("output of session %d = %q", i, out)
			}
			errs <- err
		}()
	}
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestSSHAuthentication(t *testing.T) {
	t.Parallel()
	signer, line := keyPair(t)
	other, otherLine := keyPair(t)
	h := boot(t, sandbox.Options{AuthorizedKeys: []string{line}, Passwords: map[string]string{"ubuntu": "hunter2"}})
	interactive := func(answer string) ssh.AuthMethod {
		return ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
			answers := make([]string, len(questions))
			for i := range answers {
				answers[i] = answer
			}
			return answers, nil
		})
	}
	for _, c := range []struct {
		name string
		user string
		auth ssh.AuthMethod
		ok   bool
	}{
		{"key", "ubuntu", ssh.PublicKeys(signer), true},
		{"unknown key", "ubuntu", ssh.PublicKeys(other), false},
		{"key of another user", "root", ssh.PublicKeys(signer), false},
		{"unknown user", "stranger", ssh.PublicKeys(signer), false},
		{"password", "ubuntu", ssh.Password("hunter2"), true},
		{"wrong password", "ubuntu", ssh.Password("hunter3"), false},
		{"keyboard-interactive", "ubuntu", interactive("hunter2"), true},
		{"wrong keyboard-interactive", "ubuntu", interactive("x"), false},
	} {
		client, err := dial(t, h, &ssh.ClientConfig{User: c.user, Auth: []ssh.AuthMethod{c.auth}})
		if (err == nil) != c.ok {
			t.Errorf("%s: login error = %v, want success %v", c.name, err, c.ok)
		}
		if err == nil {
			_ = client.Close()
		}
	}
	// The server reads the file at each login.
	run(t, h, sandbox.Exec{Line: "echo '" + otherLine + "' >.ssh/authorized_keys", User: "ubuntu"})
	if _, err := dial(t, h, &ssh.ClientConfig{Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}}); err == nil {
		t.Error("login with a removed key succeeded")
	}
	if _, err := dial(t, h, &ssh.ClientConfig{Auth: []ssh.AuthMethod{ssh.PublicKeys(other)}}); err != nil {
		t.Error(err)
	}
}

func TestSSHHostKeyFromUserData(t *testing.T) {
	t.Parallel()
	signer, line := keyPair(t)
	host, file := privateKey(t)
	want := host.PublicKey()
	indent := strings.ReplaceAll(string(file), "\n", "\n    ")
	h := boot(t, sandbox.Options{UserData: fmt.Appendf(nil,
		"#cloud-config\nssh_deletekeys: true\nssh_keys:\n  ed25519_private: |\n    %s\n  ed25519_public: %s\nssh_authorized_keys: [%q]\n",
		indent, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(want))), line)})
	_, err := dial(t, h, &ssh.ClientConfig{Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(want)})
	if err != nil {
		t.Error(err)
	}
	if got := h.Console(); !strings.Contains(got, ssh.FingerprintSHA256(want)) {
		t.Errorf("Console() lacks the host key fingerprint:\n%s", got)
	}
}

func TestSSHForward(t *testing.T) {
	t.Parallel()
	dialed := make(chan string, 1)
	_, c := login(t, sandbox.Options{Dial: func(_ context.Context, _, address string) (net.Conn, error) {
		dialed <- address
		near, far := net.Pipe()
		go func() {
			_, _ = io.WriteString(far, "behind")
			_ = far.Close()
		}()
		return near, nil
	}})
	conn, err := c.Dial("tcp", "10.0.0.5:22")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "behind" {
		t.Errorf("data from forwarded connection = %q, %v, want %q", got, err, "behind")
	}
	if got, want := <-dialed, "10.0.0.5:22"; got != want {
		t.Errorf("dialed %s, want %s", got, want)
	}
	_ = conn.Close()
	_, c = login(t, sandbox.Options{})
	if _, err := c.Dial("tcp", "10.0.0.5:22"); err == nil {
		t.Error("forwarding without Options.Dial succeeded")
	}
}

// TestSynctest runs commands that sleep on the clock of a synctest bubble.
func TestSynctest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		powered := make(chan sandbox.Power, 1)
		_, c := login(t, sandbox.Options{OnPower: func(p sandbox.Power) { powered <- p }})
		start := time.Now()
		for _, line := range []string{
			"sleep 3600", "sleep 60 | cat", "yes | (sleep 60; head -n 1)", "(sleep 60; echo x) | while read y; do echo $y; done",
			"sleep 60 & wait", "timeout 60 sleep 100 || true", "sudo shutdown -P +10",
		} {
			s := session(t, c)
			if out, err := s.CombinedOutput(line); err != nil {
				t.Errorf("%s: %v: %s", line, err, out)
			}
		}
		if got, want := time.Since(start), 3600*time.Second+5*60*time.Second; got < want || got > want+time.Minute {
			t.Errorf("commands took %v, want %v", got, want)
		}
		if p := <-powered; p != sandbox.PowerOff {
			t.Errorf("OnPower(%v), want power off", p)
		}
		if got, want := time.Since(start), 3600*time.Second+15*60*time.Second; got < want || got > want+time.Minute {
			t.Errorf("shutdown after %v, want %v", got, want)
		}
	})
}
